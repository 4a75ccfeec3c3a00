"""A callback that notes which random numbers each process draws."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch


class NoteChance(pl.Callback):
    """Writes the state of the random numbers, as text, into a file of its own for each process and step."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """As a step begins."""
        noted = self.folder / f"rank{trainer.global_rank}-step{trainer.global_step}"
        noted.write_text(str(torch.get_rng_state().sum().item()))
