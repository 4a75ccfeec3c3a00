"""Averages of weights: along training (EMA), and between the start and the end of it (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from picdesk.errors import ConfigError
from picdesk.parts import config_part

Weights = Mapping[str, torch.Tensor]
STEPS = 10


@config_part
class Ema(pl.Callback):
    """Keeps an exponential moving average of the trained weights, and validates with it: average = d average + (1 - d) w.

    `decay` grows with the step as (1 + step) / (10 + step) until it reaches its value, so that a short fit is not held back
    by its start.
    """

    def __init__(self, decay: float = 0.98) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"callbacks.ema.decay={decay}: within [0, 1)")
        self.decay = decay
        self._average: dict[str, torch.Tensor] = {}
        self._live: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """The average, for a job that goes on after a stop."""
        return {"average": self._average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up."""
        self._average = dict(state_dict["average"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Move the average towards the weights."""
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))
        for name, value in trained_of(pl_module).items():
            kept = self._average.get(name, value.detach()).to(value.device)  # out of a state file it comes to the CPU
            self._average[name] = kept.lerp(value.detach(), 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in place of the weights."""
        own = trained_of(pl_module)
        self._live = {name: own[name].detach().clone() for name in self._average}
        copy_into(own, self._average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back, after the callbacks before this one have looked at the average."""
        copy_into(trained_of(pl_module), self._live)
        self._live = {}


@dataclass(frozen=True)
class Interpolation:
    """Scores of the weights between start and end: `scores[i]` belongs to `alphas[i]`; `best` is the position chosen."""

    alphas: tuple[float, ...]
    scores: tuple[float, ...]
    best: int
    weights: Weights

    @property
    def alpha(self) -> float:
        """The share of the trained weights in what was chosen: 0 is the start, 1 the end."""
        return self.alphas[self.best]


def wise_ft(start: Weights, end: Weights, score: Callable[[Weights], float]) -> Interpolation:
    """Score (1 - a) start + a end for a = 0, 0.1, ..., 1 on validation data; the best, and of equal ones the nearest to start.

    Source: Wortsman et al. 2022, arXiv 2109.01903, equation 1. The two ends are the given weights, to the bit. Where they are
    the same, as after a fit whose best weights are those it began with, they are scored once.
    """
    alphas = tuple(step / STEPS for step in range(STEPS + 1))
    if all(torch.equal(value, end[name]) for name, value in start.items()):
        scores = (score(start),) * len(alphas)
    else:
        scores = tuple(score(mix_weights(start, end, alpha)) for alpha in alphas)
    best = max(range(len(alphas)), key=lambda i: (scores[i], -i))
    return Interpolation(alphas, scores, best, mix_weights(start, end, alphas[best]))


def mix_weights(start: Weights, end: Weights, alpha: float) -> Weights:
    """Weights at `alpha` of the way."""
    if alpha in (0.0, 1.0):
        return dict(end if alpha else start)
    return {name: torch.lerp(start[name], end[name], alpha) for name in start}


def trained_of(module: pl.LightningModule) -> dict[str, nn.Parameter]:
    """Parameters of a module that are trained, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def copy_into(own: Mapping[str, nn.Parameter], weights: Weights) -> None:
    """Overwrite parameters, outside of any gradient."""
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
