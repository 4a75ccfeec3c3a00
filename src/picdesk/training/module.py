"""The LightningModule: step and log. What a metric is stands in `evaluation/metrics.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.evaluation.metrics import KS, NAMES, choose_measures, exact_ranks_both, metrics_of
from picdesk.evaluation.ranks import Ranks
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Modality
from picdesk.training.chunks import embed_in_chunks
from picdesk.training.datamodule import Pairs
from picdesk.training.features import Features
from picdesk.training.inputs import Inputs, embed_inputs
from picdesk.training.losses import Contrastive, further_inputs
from picdesk.training.probes import check_result
from picdesk.training.trained import MODALITIES, RATE, Trained

log = logging.getLogger(__name__)
MONITOR = "val/hits@1"
Sides = Sequence[tuple[Direction, Modality]]
BOTH: Sides = tuple((DIRECTIONS[0], modality) for modality in MODALITIES)


class Retrieval(pl.LightningModule):
    """Trains what the adaptation left thawed, and scores both directions over all validation embeddings each epoch.

    `chunk` items at a time go through a trunk that learns (0: the whole batch). `sides` are those that are validated, in the
    order of the loaders; see `FeatureData.val_sides`.
    """

    def __init__(
        self,
        backbone: TwoTower,
        trained: Trained,
        loss: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        val: Features,
        chunk: int = 0,
        sides: Sides = BOTH,
    ) -> None:
        super().__init__()
        self.backbone, self.loss, self.val, self.chunk, self.sides = backbone, loss, val, chunk, sides
        self.strict_loading = False  # a state holds what is trained alone
        self._trained, self._optimizer, self._scheduler = trained, optimizer, scheduler
        self._seen: list[list[torch.Tensor]] = [[] for _ in sides]
        self.validated: tuple[torch.Tensor, ...] = ()
        self._steps = 1
        self.losses: tuple[float | torch.Tensor, int] = (0.0, 0)

    def training_step(self, batch: Pairs, batch_index: int) -> torch.Tensor:
        """Loss of one batch of pairs."""
        images, texts, picture, text, turned = batch
        if isinstance(self.loss, Contrastive):
            self.loss.advance(min(1.0, self.global_step / self._steps))
        u = embed_in_chunks(self.backbone, "image", images, self.chunk)
        v = embed_in_chunks(self.backbone, "text", texts, self.chunk)
        more: dict[str, Any] = dict(further_inputs(self.loss, text))
        if turned:
            facing = self.backbone.facing(DIRECTIONS[1])
            sides = {m: embed_in_chunks(facing, m, side, self.chunk) for m, side in turned.items()}
            more["turned"] = sides.get("image", u), sides.get("text", v)
        loss: torch.Tensor = self.loss(u, v, picture, self.backbone.logit_scale, **more)
        check_result(self.loss, loss)
        self.losses = (self.losses[0] + loss.detach(), self.losses[1] + 1)
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, after which the temperature is back within the loss's bound."""
        super().optimizer_step(*args, **kwargs)
        if isinstance(self.loss, Contrastive):
            self.backbone.logit_scale.data.clamp_(max=self.loss.ceiling)

    def on_train_epoch_start(self) -> None:
        """Begin the mean of the epoch's losses."""
        self.losses = (0.0, 0)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch, over all processes."""
        self.log("train/loss", self.mean_loss())

    def mean_loss(self) -> float:
        """Mean over the batches of this epoch, and over all processes."""
        mean = torch.as_tensor(self.losses[0], dtype=torch.float32, device=self.device) / max(1, self.losses[1])
        return float(self.trainer.strategy.reduce(mean, reduce_op="mean"))

    def validation_step(self, batch: Inputs, batch_index: int, dataloader_idx: int = 0) -> None:
        """Embed one batch of one of the `sides`."""
        direction, modality = self.sides[dataloader_idx]
        self._seen[dataloader_idx].append(embed_inputs(self.backbone.facing(direction), modality, batch).float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Rank every validation query against the whole validation gallery, both directions."""
        found = [torch.cat(side) for side in self._seen]
        self.validated = tuple(found[: len(MODALITIES)])
        self._seen = [[] for _ in self.sides]
        for name, value in side_metrics(self.val, self.sides, [side.numpy() for side in found]).items():
            self.log(name, value, prog_bar=name == MONITOR)

    def configure_optimizers(self) -> Any:
        """The optimizer over what is trained, each group at its share of the rate; the scheduler steps once a batch."""
        optimizer = self._optimizer(self._trained.groups(self.loss.named_parameters()))
        for group in optimizer.param_groups:
            group["lr"] *= group[RATE]
        self._steps = max(1, int(self.trainer.estimated_stepping_batches))
        return [optimizer], [{"scheduler": self._scheduler(optimizer, total_steps=self._steps), "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: the rest comes with the backbone."""
        names = {name for name, value in self.named_parameters() if value.requires_grad}
        checkpoint["state_dict"] = {name: v for name, v in checkpoint["state_dict"].items() if name in names}


def side_metrics(val: Features, sides: Sides, embeddings: Sequence[NDArray[np.float32]]) -> Mapping[str, float]:
    """`validation_metrics` of the embeddings [n, dim] of each of the `sides`."""
    found = dict(zip(sides, embeddings, strict=True))
    images, texts = (found[side] for side in BOTH)
    if len(found) == len(BOTH):
        return validation_metrics(val, images, texts)
    asking, shown = (found.get((DIRECTIONS[1], side[1]), found[side]) for side in BOTH)
    return validation_metrics(val, images, texts, (asking, shown))


def validation_metrics(
    val: Features,
    images: NDArray[np.float32],
    texts: NDArray[np.float32],
    turned: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> Mapping[str, float]:
    """`val/<direction>/<metric>` of all, and `val/hits@1`, the mean of both directions, which picks the checkpoint.

    `turned` are pictures and texts as they are embedded from picture to text; None: as given. Embeddings that are not finite
    find nothing: they score as if all were one vector, where every tie counts against it.
    """
    both = (images, texts, *(turned or ()))
    if not all(map(sound, both)):
        log.warning(
            "the embeddings are no longer finite: the weights have run away; a lower optimizer.lr may hold them"
        )
        both = tuple(np.full_like(side, side.shape[1] ** -0.5) for side in both)
    t2i, i2t = ranks_of(val, *both[:2])
    i2t = ranks_of(val, *both[2:])[1] if turned else i2t
    logged: dict[str, float] = {}
    for direction, ranks in (("t2i", t2i), ("i2t", i2t)):
        found = metrics_of(ranks)
        logged |= {f"val/{direction}/{k}": v for k, v in found.items() if k not in ("queries", "gallery")}
    logged[MONITOR] = (logged["val/t2i/hits@1"] + logged["val/i2t/hits@1"]) / 2
    return logged


def ranks_of(val: Features, images: NDArray[np.float32], texts: NDArray[np.float32]) -> tuple[Ranks, Ranks]:
    """Ranks in both directions, t2i and i2t."""
    return exact_ranks_both(Embeddings(val.text_ids, texts), Embeddings(val.picture_ids, images), val.t2i, val.i2t)


def monitored_names() -> tuple[str, ...]:
    """The names of all that a fit logs, by which it can be stopped."""
    logged = [key for measure in choose_measures(NAMES) for key in measure.keys(KS)]
    return (MONITOR, *(f"val/{direction}/{key}" for direction in DIRECTIONS for key in logged), "loss")


def sound(embeddings: NDArray[np.float32]) -> bool:
    """Whether all rows are finite and of length 1."""
    return bool((np.abs(np.linalg.norm(embeddings, axis=1) - 1) <= 1e-3).all())
