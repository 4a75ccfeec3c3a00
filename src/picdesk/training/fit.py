"""One fit: score the start, train, keep the best. The start is a candidate like every epoch after it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.training.averaging import Interpolation, Weights, copy_into, wise_ft
from picdesk.training.checkpoint import snapshot
from picdesk.training.collapse import Stopped
from picdesk.training.datamodule import FeatureData, Features
from picdesk.training.module import MONITOR, Retrieval, validation_metrics

log = logging.getLogger(__name__)


@dataclass
class Best(pl.Callback):
    """Remembers each validation and the weights of the best one; equal scores keep the earlier."""

    trained: list[tuple[str, nn.Parameter]]
    history: list[dict[str, float]] = field(default_factory=list)
    best: int = -1
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take down one row; say it; copy the weights if they are the best so far."""
        epoch = trainer.current_epoch + 1 if trainer.state.fn == "fit" else 0
        row = {"epoch": float(epoch)}
        row |= {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        self.history.append(row)
        better = self.best < 0 or row[MONITOR] > self.history[self.best][MONITOR]
        if better:
            self.best, self.weights = len(self.history) - 1, snapshot(self.trained)
        log.info(
            "epoch %2d  val hits@1  t2i %.4f  i2t %.4f%s",
            epoch,
            row["val/t2i/hits@1"],
            row["val/i2t/hits@1"],
            "  best" if better else "",
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The training loss is known only now: add it to the epoch's row."""
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and self.history:
            self.history[-1]["train/loss"] = float(loss)


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
    trained: list[tuple[str, nn.Parameter]],
    loss: nn.Module,
    optimizer: Callable[..., Any],
    scheduler: Callable[..., Any],
    data: FeatureData,
    make_trainer: Callable[..., pl.Trainer],
    callbacks: list[pl.Callback],
    seed: int,
) -> Fitted:
    """Train; leave in the backbone what scores best on validation data between the start and the best epoch.

    `make_trainer` takes `callbacks`.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    module = Retrieval(backbone, trained, loss, optimizer, scheduler, data.val)
    best = Best(trained)
    start = snapshot(trained)
    backbone.image_head.train()  # trunks stay in evaluation mode: their dropout and batch statistics are not to move
    backbone.text_head.train()
    with quiet_lightning():
        trainer = make_trainer(callbacks=[best, *callbacks])
        trainer.validate(module, data, verbose=False)
        with suppress(Stopped):  # it has said why; the best so far stands
            trainer.fit(module, data)
    backbone.eval().cpu()

    def score(weights: Weights) -> float:
        copy_into(dict(trained), weights)
        return validation_metrics(data.val, *embedded(backbone, data.val))[MONITOR]

    path = wise_ft(start, best.weights, score)
    copy_into(dict(trained), path.weights)
    log.info(
        "weights: %.0f%% of the way from the start to the best epoch score best on validation data", 100 * path.alpha
    )
    noticed = [note for callback in callbacks for note in getattr(callback, "notes", ())]
    return Fitted(best.history, best.best, path, tuple(noticed))


def embedded(backbone: TwoTower, features: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures and texts of one part in the shared space."""
    with torch.inference_mode():
        images = backbone.embed("image", torch.from_numpy(features.images))
        texts = backbone.embed("text", torch.from_numpy(features.texts))
    return images.float().numpy(), texts.float().numpy()
