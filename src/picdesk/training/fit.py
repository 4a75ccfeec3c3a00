"""One fit: score the start, train, keep the best. The start is a candidate like every epoch after it."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.progress import EVERY_S, Lines
from picdesk.process import stops
from picdesk.training.averaging import Interpolation, Weights, copy_into, wise_ft
from picdesk.training.collapse import Noticing, Stopped
from picdesk.training.datamodule import FeatureData
from picdesk.training.features import Features, Relevant
from picdesk.training.inputs import embed_inputs, move_inputs
from picdesk.training.losses import Contrastive, takes_text
from picdesk.training.module import MONITOR, Retrieval, side_metrics
from picdesk.training.state import KeepState, WholeFiles
from picdesk.training.trained import MODALITIES, Trained

log = logging.getLogger(__name__)
RANK_STEP = 1_000_003  # from the seed of one process to that of the next, far from the seeds of other jobs
KEPT = ("history", "best", "weights", "unscored", "scored_step")  # of `Best`, in the state of a job


@dataclass(repr=False)  # Lightning writes out what it is given for each trainer, whether anybody reads it or not
class Best(pl.Callback):
    """Remembers each validation and the weights of the best one; equal scores keep the earlier.

    `unscored`: epoch and training loss of an epoch after whose last step nothing was validated; empty once something is.
    """

    trained: Trained
    history: list[dict[str, float]] = field(default_factory=list)
    best: int = -1
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    unscored: dict[str, float] = field(default_factory=dict)
    scored_step: int = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take down one row; say it; copy the weights if they are the best so far."""
        fitting = trainer.state.fn == "fit"
        row = {"epoch": float(trainer.current_epoch + 1)} if fitting else {"epoch": 0.0, **self.unscored}
        row |= {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.history.append(row)
        self.unscored, self.scored_step = {}, trainer.global_step
        better = self.best < 0 or row[MONITOR] > self.history[self.best][MONITOR]
        if better:
            self.best, self.weights = len(self.history) - 1, self.trained.plain_weights()
        log.info(
            "epoch %2.0f  val hits@1  t2i %.4f  i2t %.4f%s",
            row["epoch"],
            row["val/t2i/hits@1"],
            row["val/i2t/hits@1"],
            "  best" if better else "",
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the training loss to the epoch's row, or keep it for the row that the epoch may still get."""
        if not isinstance(pl_module, Retrieval) or not self.history:
            return
        loss = pl_module.mean_loss()
        if self.scored_step == trainer.global_step:
            self.history[-1]["train/loss"] = loss
        else:
            self.unscored = {"epoch": float(trainer.current_epoch + 1), "train/loss": loss}

    def state_dict(self) -> dict[str, Any]:
        """What a job that goes on must know."""
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up."""
        for name in KEPT:
            setattr(self, name, state_dict.get(name, getattr(self, name)))


class Steps(pl.Callback):
    """Says how far an epoch is, every half minute, where no terminal shows it; and to a job that is stopped, in which it was."""

    def __init__(self) -> None:
        self._lines: Lines | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the epoch's first step."""
        name = f"epoch {trainer.current_epoch + 1}"
        stops.note_place(name)
        total = trainer.num_training_batches
        known = trainer.is_global_zero and not sys.stderr.isatty() and isinstance(total, int)
        self._lines = Lines(f"{name}, steps", int(total), EVERY_S) if known else None

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        """One more."""
        if self._lines is not None:
            self._lines.advance(1)


class OwnChance(pl.Callback):
    """Lets processes that train together draw dropout of their own, as their rows differ; the first draws as one alone does."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After Lightning, which seeds all processes alike as they meet."""
        if trainer.global_rank:
            torch.manual_seed(self._seed + RANK_STEP * trainer.global_rank)


@dataclass(frozen=True)
class Fitted:
    """What a fit found: a row of metrics for each validation, the best of them, the way from the start to it, and what the
    callbacks noticed."""

    history: list[dict[str, float]]
    best: int
    path: Interpolation
    notes: tuple[str, ...] = ()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's own chatter (devices, tips, its deprecated calls into torch); ours is said by `Best`."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for module in ("pytorch_lightning", "lightning_fabric", "torch", "torchmetrics"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        yield


def fit(
    backbone: TwoTower,
    trained: Trained,
    loss: nn.Module,
    optimizer: Callable[..., Any],
    scheduler: Callable[..., Any],
    data: FeatureData,
    make_trainer: Callable[..., pl.Trainer],
    callbacks: list[pl.Callback],
    seed: int,
    chunk: int = 0,
    logits_block: int = 0,
    state: Path | None = None,
    state_seconds: float = 60.0,
) -> Fitted:
    """Train; leave in the backbone what scores best on validation data between the start and the best epoch.

    `make_trainer` takes `callbacks`, and with a `state` also `plugins`. `chunk` items at a time go through a trunk that learns,
    `logits_block` queries at a time through the loss (0: all). What is needed to go on after a kill is written to the file
    `state` every `state_seconds`; where that file is there already, the fit goes on from it. A fit that ends on steps which no
    validation has seen (`max_steps` within an epoch, `check_val_every_n_epoch`) is validated once more. Of several processes
    that train together only the first comes back; the others end here, as all that is left to do is done once.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    learning = data.raw.learning if data.raw else ()
    with backbone.rest(modality for modality in MODALITIES if modality not in learning):
        if isinstance(loss, Contrastive):
            loss.begin(backbone)
            loss.block = logits_block
            further = data.train.further_pairs
            loss.relevant = Relevant(further, len(data.train.text_ids)) if len(further) and takes_text(loss) else None
            trained.add_bias()
        module = Retrieval(backbone, trained, loss, optimizer, scheduler, data.val, chunk, data.val_sides)
        best = Best(trained)
        start = trained.plain_weights()
        backbone.eval()  # the trunks stay so: their dropout and batch statistics are not to move
        backbone.image_head.train()
        backbone.text_head.train()
        kept: dict[str, Any] = {"callbacks": [best, Steps(), *callbacks]}
        going_on = state is not None and state.is_file()
        kept["callbacks"] += [] if going_on else [OwnChance(seed)]
        if state is not None:
            kept = {"callbacks": [*kept["callbacks"], KeepState(state, data, state_seconds)], "plugins": [WholeFiles()]}
        with quiet_lightning():
            trainer = make_trainer(**kept)
            if not going_on:
                trainer.validate(module, data, verbose=False)
            at_a_step = stops.gently() if state is not None and trainer.world_size == 1 else nullcontext()
            with suppress(Stopped), at_a_step:  # it has said why; the best so far stands
                trainer.fit(module, data, ckpt_path=state if going_on else None)
                if best.unscored:
                    trainer.validate(module, data, verbose=False)
        if not trainer.is_global_zero:
            sys.exit(0)
        path = best_between(backbone, trained, start, best.weights, data, trainer.strategy.root_device)
    noticed = [note for callback in callbacks if isinstance(callback, Noticing) for note in callback.notes]
    return Fitted(best.history, best.best, path, tuple(noticed))


def best_between(
    backbone: TwoTower,
    trained: Trained,
    start: Weights,
    end: Weights,
    data: FeatureData,
    device: torch.device,
) -> Interpolation:
    """Score the way from the start to the end on validation data; leave the best point in the backbone, as plain weights."""
    own = trained.fold()
    backbone.eval().to(device)

    def score(weights: Weights) -> float:
        copy_into(own, weights)
        return side_metrics(data.val, data.val_sides, val_embeddings(backbone, data, device))[MONITOR]

    path = wise_ft(start, end, score)
    backbone.cpu()
    copy_into(own, path.weights)
    backbone.note_tuned([name for name, value in path.weights.items() if not torch.equal(value, start[name])])
    if trained.learning:
        backbone.forget_fingerprints()
    log.info(
        "weights: %.0f%% of the way from the start to the best epoch score best on validation data", 100 * path.alpha
    )
    return path


def val_embeddings(backbone: TwoTower, data: FeatureData, device: torch.device) -> list[NDArray[np.float32]]:
    """The validation sides in the shared space, `data.val_sides`, through the trunks that learn."""
    sides: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for (direction, modality), loader in zip(data.val_sides, data.val_dataloader(), strict=True):
            facing = backbone.facing(direction)
            parts = [embed_inputs(facing, modality, move_inputs(batch, device)).float().cpu() for batch in loader]
            sides.append(torch.cat(parts).numpy())
    return sides


def embed_part(backbone: TwoTower, features: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures and texts of one part in the shared space."""
    with torch.inference_mode():
        images = backbone.embed("image", torch.from_numpy(features.images))
        texts = backbone.embed("text", torch.from_numpy(features.texts))
    return images.float().numpy(), texts.float().numpy()
