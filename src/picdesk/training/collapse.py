"""Notices, while training runs, that it is going wrong; names the cause and the remedy in one line, once.

What is watched: loss that is not a number; a learning rate that turns the weights over in one step, or makes the loss rise;
loss that stays at the value it has when all embeddings are the same (ln of the batch size for InfoNCE, twice the margin for the
hardest negatives); spread and effective rank of the validation embeddings; the temperature; captions of one picture as each
other's negatives.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Protocol, cast, runtime_checkable

import pytorch_lightning as pl
import torch

from picdesk.errors import ConfigError
from picdesk.parts import config_part
from picdesk.training import probes
from picdesk.training.losses import Contrastive

log = logging.getLogger(__name__)
WATCHED_STEPS = 50  # steps whose change of the weights is measured
TURNED_OVER = 0.5  # change of the weights in one step, as a share of their size; what trains well stays below 0.3
ROSE, MATTERS = 1.5, 0.05  # loss of an epoch over that of the first step, and over that of collapsed embeddings
SAME_LOSS = 0.01  # how near the loss of an epoch is to that of collapsed embeddings to count as stuck there
DRAWN_TOGETHER = 0.2  # spread of the embeddings over that at the start; a training that succeeds spreads them out
FEWER = 0.1  # dimensions that the embeddings fill over those at the start
WANTED_STEP = 0.05  # change of the weights in a step that a suggested rate aims at
TWINS, LOOKED_AT = 0.05, 20_000  # share of pictures that stand under several ids, and how many rows are looked at
NEGATIVES = "captions of one picture are each other's negatives"


@runtime_checkable
class Noticing(Protocol):
    """A callback that keeps what it noticed, a line each, for the job's page."""

    notes: list[str]


class Stopped(Exception):  # noqa: N818  (no fault of the code: the training has ended itself, and its start is kept)
    """Training cannot go on; the text says why."""


@config_part
class Collapse(pl.Callback):
    """Writes a warning for each cause and keeps it in `notes`. Raises `Stopped` when loss or weights are no longer numbers.

    `stuck_epochs`: how many epochs in a row the loss must stay where all embeddings are the same.
    """

    def __init__(self, stuck_epochs: int = 2) -> None:
        if stuck_epochs < 1:
            raise ConfigError(f"callbacks.collapse.stuck_epochs={stuck_epochs}: at least 1 is needed")
        self.stuck_epochs = stuck_epochs
        self.notes: list[str] = []
        self._start: dict[str, tuple[float, float]] = {}
        self._said: set[str] = set()
        self._earlier: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a job that goes on after a stop must know: what was said, and what was there at the start."""
        seen = {"first": self._first, "epoch": self._epoch, "stuck": self._stuck, "scale": self._scale}
        return {"notes": self.notes, "said": sorted(self._said), "start": self._start, **seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it for the beginning of the fit, which comes after."""
        self._earlier = dict(state_dict)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier fit; ask the loss what it looks at."""
        self.notes.clear()
        self._said.clear()
        self._first: float | None = None
        self._epoch: list[float] = []
        self._before: dict[str, torch.Tensor] = {}
        self._ids_of: dict[bytes, set[int]] = {}
        self._stuck = 0
        self._scale = probes.scale_of(pl_module)
        device = trainer.strategy.root_device
        self._scale_matters = probes.depends_on_scale(pl_module.loss, device, probes.dim_of(pl_module))
        self._masks = probes.masks_same_picture(pl_module.loss, device, probes.dim_of(pl_module))
        self._take_up()

    def _take_up(self) -> None:
        if self._earlier:
            kept, self._earlier = self._earlier, {}
            self.notes.extend(kept["notes"])
            self._said.update(kept["said"])
            self._start = dict(kept["start"])
            self._first, self._epoch = kept["first"], list(kept["epoch"])
            self._stuck, self._scale = kept["stuck"], kept["scale"]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take a sample of the weights, to see what the step does to them."""
        if trainer.global_step < WATCHED_STEPS:
            self._before = probes.sample_of(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss, at what the step did, and at who is in the batch."""
        loss = probes.loss_of(outputs)
        if loss is not None:
            self._stop_if(trainer, not math.isfinite(loss), f"the loss is {loss}")
            self._epoch.append(loss)
            self._first = loss if self._first is None else self._first
        if self._before:
            self._look_at_step(trainer, probes.change(self._before, probes.sample_of(pl_module)))
            self._before = {}
        self._look_at_pictures(trainer, batch)
        self._batch = batch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the loss of the epoch and at the temperature."""
        if self._epoch:
            self._look_at_loss(trainer, pl_module, sum(self._epoch) / len(self._epoch))
        self._epoch = []
        self._look_at_twins()
        self._look_at_scale(trainer, probes.scale_of(pl_module), pl_module.loss)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Weights that are not numbers cannot be scored."""
        if trainer.global_step:
            self._stop_if(trainer, not probes.all_finite(pl_module), "the weights hold values that are not finite")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the spread and the effective rank of the validation embeddings."""
        found = {
            side: probes.spread_and_rank(vectors)
            for side, vectors in probes.validation_embeddings(cast(probes.Validated, pl_module)).items()
        }
        if not trainer.global_step:
            self._start = found
            return
        for side, (spread, rank) in found.items():
            first_spread, first_rank = self._start.get(side, (spread, rank))
            if spread < DRAWN_TOGETHER * first_spread:
                told = f"two {side} embeddings have a cosine of {1 - spread:.3f} in the mean, {1 - first_spread:.3f} at the start"
            elif rank < FEWER * first_rank:
                told = f"the {side} embeddings fill {rank:.1f} dimensions, {first_rank:.1f} at the start"
            else:
                continue
            self._say("embeddings", f"the embeddings collapse: {told}; {probes.remedy_of(pl_module.loss)}")

    def _look_at_step(self, trainer: pl.Trainer, share: float) -> None:
        if not TURNED_OVER < share < math.inf:
            return
        rate = probes.learning_rate(trainer)
        told = f"step {trainer.global_step} changed the trained weights by {share:.1f} times their size"
        self._say("rate", f"the learning rate is too high: {told}; try optimizer.lr={rate * WANTED_STEP / share:.0e}")

    def _look_at_loss(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: float) -> None:
        first = loss if self._first is None else self._first
        collapsed = probes.collapsed_loss(pl_module, self._batch)
        self._stuck = self._stuck + 1 if abs(loss - collapsed) <= SAME_LOSS * abs(collapsed) else 0
        if self._stuck >= self.stuck_epochs:
            told = f"it stays at {loss:.4g}, and {collapsed:.4g} is what it is when all embeddings are the same"
            self._say("stuck", f"the loss is stuck: {told}; {probes.remedy_of(pl_module.loss)}")
        if loss > max(ROSE * first, MATTERS * collapsed):
            told = f"the loss rose from {first:.4g} at the first step to {loss:.4g}"
            self._say(
                "rate",
                f"the learning rate is too high: {told}; try optimizer.lr={probes.learning_rate(trainer) / 10:.0e}",
            )

    def _look_at_scale(self, trainer: pl.Trainer, scale: float, loss: Any) -> None:
        if not self._scale_matters:
            return
        ceiling = loss.ceiling if isinstance(loss, Contrastive) else math.inf
        if scale == self._scale < ceiling:  # one that began at its bound, as CLIP's own does, may be held there
            told = f"logit_scale is {scale:.4g} as at the start, after {trainer.global_step} steps"
            self._say("fixed", f"the temperature does not move: {told}; let the adaptation train it, at a rate above 0")
        if scale >= ceiling - 1e-4 > self._scale:
            remedy = (
                "harmless while validation rises; else lower optimizer.lr, and look for the same pair standing twice"
            )
            self._say("bound", f"the temperature is at its bound: logit_scale rose to ln 100; {remedy}")

    def _look_at_pictures(self, trainer: pl.Trainer, batch: Any) -> None:
        if not self._masks and probes.repeats_picture(batch):
            told = "the loss does not look at which rows are of one picture"
            self._say("captions", f"{NEGATIVES}: {told}; let it leave such pairs out, or set training.sampler=pictures")
        if trainer.current_epoch == 0 and len(self._ids_of) < LOOKED_AT:
            for look, number in probes.looks(batch):
                self._ids_of.setdefault(look, set()).add(number)

    def _look_at_twins(self) -> None:
        twins = sum(len(ids) for ids in self._ids_of.values() if len(ids) > 1)
        if twins > TWINS * sum(len(ids) for ids in self._ids_of.values()):
            told = f"{twins} of the pictures in the first epoch are the same as one under another id"
            self._say("twins", f"{NEGATIVES}: {told}; give the same picture one id (data.picture_id_column)")

    def _stop_if(self, trainer: pl.Trainer, bad: bool, why: str) -> None:
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if bad:
            rate = probes.learning_rate(trainer)
            told = f"training ended at step {trainer.global_step}: {why}; try optimizer.lr={rate / 10:.0e}"
            self._say("finite", told)
            raise Stopped(told)

    def _say(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self.notes.append(text)
            log.warning("%s", text)
