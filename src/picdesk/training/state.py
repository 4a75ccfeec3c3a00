"""What lets a killed job go on: all that training has, written whole every while, and read without unpickling anything.

One file holds the trained weights, the optimizer, the schedule, the loops' counters, the other callbacks (best weights and
history, moving average, early stopping), where the order of the batches stands, and the state of the random numbers.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO

from picdesk.errors import DataError, MissingFileError, first_line
from picdesk.files import file_digest, written_whole
from picdesk.process import stops
from picdesk.training.datamodule import FeatureData
from picdesk.training.module import Retrieval
from picdesk.training.process_rows import gather_rows, place

STATE = "state.pt"
SEAL = "\npicdesk-state-1 "
SEAL_BYTES = len(SEAL) + 64 + 1


class WholeFiles(CheckpointIO):
    """Tensors and plain values in one file, written whole; `weights_only` when read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it."""
        with written_whole(Path(path)) as temporary:
            with temporary.open("wb") as stream:  # torch's own writer says of no fault of the machine which it was
                torch.save(checkpoint, stream)
            seal(temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read it. Raises `DataError` where it cannot be read."""
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete it."""
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a state file. Raises where there is none, or none that can be read."""
    if not path.is_file():
        raise MissingFileError(f"resume: {path} is missing: that job was not stopped in the middle of its training")
    check_seal(path)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make the reader raise nearly everything
        raise DataError(f"resume: {path} cannot be read ({first_line(error, 120)})") from error
    return content


def seal(path: Path) -> None:
    """Put a digest over the whole file at its end; the archive in it is read as before."""
    line = f"{SEAL}{file_digest(path)}\n".encode()
    with path.open("ab") as stream:
        stream.write(line)


def check_seal(path: Path) -> None:
    """Raise `DataError` unless the file is to the byte what was sealed."""
    size = path.stat().st_size - SEAL_BYTES
    with path.open("rb") as stream:
        digest, left = hashlib.sha256(), max(size, 0)
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
        line = stream.read()
    if size < 0 or line != f"{SEAL}{digest.hexdigest()}\n".encode():
        raise DataError(
            f"resume: {path} cannot be read (damaged, cut short, or of an earlier version); run the job anew"
        )


class KeepState(pl.callbacks.Checkpoint):
    """Writes the state to `path` before a step, or at the end of an epoch, when `seconds` have gone by since the last time.

    Not after a step: whether the epoch ends there, or a validation comes first (`max_steps`, `limit_train_batches`,
    `val_check_interval`), is Lightning's to know, and a fit that goes on from between the two has neither. Nor between steps
    whose gradients are added up, as the sum is no part of the state.

    A kind of Lightning's Checkpoint, so that it comes after every other callback and finds them up to date.
    """

    def __init__(self, path: Path, data: FeatureData, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self._data, self._last, self._stop, self._done = data, time.monotonic(), False, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where early stopping had spoken already, it is not asked again."""
        trainer.should_stop = trainer.should_stop or self._stop
        if trainer.world_size == 1:  # Lightning's handler ends a fit before its state is kept, and with status 0
            stops.take_back()
        self._last = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before a step that is not the epoch's first: what came before it is whole."""
        if batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            self._save(trainer, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the epoch's validation."""
        self._save(trainer, len(self._data.order))

    def _save(self, trainer: pl.Trainer, done: int) -> None:
        due = stops.is_requested() or time.monotonic() - self._last >= self.seconds
        if trainer.world_size > 1:  # clocks differ, and what one process writes all must take part in
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        if not due:
            return
        self._done = done
        trainer.save_checkpoint(self.path)
        self._last = time.monotonic()
        stops.check()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what no other part keeps."""
        assert isinstance(pl_module, Retrieval)
        total, count = pl_module.losses
        checkpoint["picdesk"] = {
            "order": self._data.order.state(self._done),
            "losses": [float(total), count],
            "stop": trainer.should_stop,
            "random": gather_rows(torch.get_rng_state()[None].to(trainer.strategy.root_device)).cpu(),
            "device_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put it back."""
        assert isinstance(pl_module, Retrieval)
        kept = checkpoint["picdesk"]
        self._data.order.go_on(kept["order"])
        pl_module.losses = (kept["losses"][0], kept["losses"][1])
        self._stop = kept["stop"]
        random = kept["random"].reshape(-1, kept["random"].shape[-1])  # of each process
        torch.set_rng_state(random[place()[0] % len(random)].clone())
        for device, state in enumerate(kept["device_random"][: torch.cuda.device_count()]):  # perhaps fewer than there
            torch.cuda.set_rng_state(state, device)
