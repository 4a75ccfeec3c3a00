"""The LightningModule: step and log. What a metric is stands in `evaluation/metrics.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.evaluation.metrics import exact_ranks_both, metrics_of
from picdesk.interfaces import Embeddings, Modality
from picdesk.training.adaptation import parameter_groups
from picdesk.training.datamodule import Features, Pairs
from picdesk.training.losses import MAX_LOGIT_SCALE

MONITOR = "val/hits@1"


class Retrieval(pl.LightningModule):
    """Trains what the adaptation left thawed, and scores both directions over all validation embeddings each epoch."""

    def __init__(
        self,
        backbone: TwoTower,
        trained: list[tuple[str, nn.Parameter]],
        loss: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        val: Features,
    ) -> None:
        super().__init__()
        self.backbone, self.loss, self.val = backbone, loss, val
        self._trained, self._optimizer, self._scheduler = trained, optimizer, scheduler
        self._seen: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        self.validated: tuple[torch.Tensor, ...] = ()

    def training_step(self, batch: Pairs, batch_index: int) -> torch.Tensor:
        """Loss of one batch of pairs."""
        images, texts, picture = batch
        u, v = self.backbone.embed("image", images), self.backbone.embed("text", texts)
        loss: torch.Tensor = self.loss(u, v, picture, self.backbone.logit_scale)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(picture))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Keep the temperature within CLIP's bound."""
        self.backbone.logit_scale.data.clamp_(max=MAX_LOGIT_SCALE)

    def validation_step(self, batch: torch.Tensor, batch_index: int, dataloader_idx: int = 0) -> None:
        """Embed one batch of pictures (loader 0) or texts (loader 1)."""
        modality: Modality = "image" if dataloader_idx == 0 else "text"
        self._seen[dataloader_idx].append(self.backbone.embed(modality, batch).float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Rank every validation query against the whole validation gallery, both directions."""
        self.validated = tuple(torch.cat(side) for side in self._seen)
        images, texts = (side.numpy() for side in self.validated)
        self._seen = ([], [])
        for name, value in validation_metrics(self.val, images, texts).items():
            self.log(name, value, prog_bar=name == MONITOR)

    def configure_optimizers(self) -> Any:
        """The optimizer over what is trained; the scheduler steps once a batch."""
        optimizer = self._optimizer(parameter_groups([*self._trained, *self.loss.named_parameters()]))
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        return [optimizer], [{"scheduler": self._scheduler(optimizer, total_steps=steps), "interval": "step"}]


def validation_metrics(val: Features, images: NDArray[np.float32], texts: NDArray[np.float32]) -> Mapping[str, float]:
    """`val/<direction>/<metric>` of all, and `val/hits@1`, the mean of both directions, which picks the checkpoint."""
    t2i, i2t = exact_ranks_both(Embeddings(val.text_ids, texts), Embeddings(val.picture_ids, images), val.t2i, val.i2t)
    logged: dict[str, float] = {}
    for direction, ranks in (("t2i", t2i), ("i2t", i2t)):
        found = metrics_of(ranks)
        logged |= {f"val/{direction}/{k}": v for k, v in found.items() if k not in ("queries", "gallery")}
    logged[MONITOR] = (logged["val/t2i/hits@1"] + logged["val/i2t/hits@1"]) / 2
    return logged
