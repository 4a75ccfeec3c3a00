"""One piece of work on every rank of a Lightning trainer: `trainer=ddp` shares more than training."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from picdesk.training.fit import quiet_lightning

Work = Callable[[], list[int]]


class Once(pl.LightningModule):
    """Does its work in its only predict step; `totals` are the numbers that came of it, summed over the ranks."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work
        self.totals: list[int] = []

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Work, then wait for the other ranks."""
        mine = torch.tensor(self._work(), device=self.trainer.strategy.root_device)
        summed = self.trainer.strategy.reduce(mine, reduce_op="sum")
        self.totals = [int(value) for value in summed]


def on_every_rank(trainer: pl.Trainer, work: Work) -> list[int]:
    """Call `work` once on each rank; the sums over all ranks of the numbers it gives, the same on each."""
    module = Once(work)
    with quiet_lightning():
        places: DataLoader[torch.Tensor] = DataLoader(list(torch.arange(trainer.world_size)), batch_size=1)  # type: ignore[arg-type]
        trainer.predict(module, places, return_predictions=False)
    return module.totals
