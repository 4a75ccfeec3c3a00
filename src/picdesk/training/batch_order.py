"""The order in which training sees its pairs, epoch after epoch: seeded, shared out over processes, resumable anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from picdesk.training.process_rows import place


class EveryText(Sampler[int]):
    """Every epoch, each text once, in a new order."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count, self._generator = count, generator

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """Positions of texts."""
        return iter(torch.randperm(self._count, generator=self._generator).tolist())


class OneTextEach(Sampler[int]):
    """Every epoch, each picture once, in a new order, with one of its texts drawn anew."""

    def __init__(self, picture_of: NDArray[np.int64], generator: torch.Generator) -> None:
        order = np.argsort(picture_of, kind="stable")
        pictures, first, counts = np.unique(picture_of[order], return_index=True, return_counts=True)
        self._texts, self._first, self._counts = (
            torch.from_numpy(order),
            torch.from_numpy(first),
            torch.from_numpy(counts),
        )
        self._pictures, self._generator = len(pictures), generator

    def __len__(self) -> int:
        return self._pictures

    def __iter__(self) -> Iterator[int]:
        """Positions of texts."""
        drawn = (torch.rand(self._pictures, generator=self._generator) * self._counts).long()
        mixed = torch.randperm(self._pictures, generator=self._generator)
        return iter(self._texts[self._first + drawn][mixed].tolist())


class Batches:
    """Whole batches of positions, each with the number of its epoch. Where processes train together, each has its own share of
    every batch, by rank. `state` and `go_on` let another process continue in the middle of an epoch."""

    def __init__(self, sampler: Sampler[int], generator: torch.Generator, batch_size: int) -> None:
        self._sampler, self._generator, self.batch_size = sampler, generator, batch_size
        self._epoch, self._skip = -1, 0
        self._begun = generator.get_state()

    def __len__(self) -> int:
        return len(self._sampler) // self.batch_size  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """Nothing is drawn before the first batch is asked for."""
        self._begun = self._generator.get_state()
        self._epoch += 1
        rows = list(self._sampler)
        start, self._skip = self._skip, 0
        rank, processes = place()
        share = self.batch_size // processes
        for i in range(start, len(self)):
            first = i * self.batch_size + rank * share
            yield self._epoch, rows[first : first + share]

    def state(self, done: int) -> dict[str, Any]:
        """Where the order stands after `done` batches of the epoch that was begun last."""
        if done >= len(self):
            return {"epoch": self._epoch, "done": 0, "generator": self._generator.get_state()}
        return {"epoch": self._epoch - 1, "done": done, "generator": self._begun}

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up where `state` was taken."""
        self._epoch, self._skip = int(state["epoch"]), int(state["done"])
        self._generator.set_state(state["generator"])


class Loader:
    """Makes the batches of an order, the next one while the last is being trained on."""

    def __init__(self, order: Batches, make: Callable[[list[int], int], Any], ahead: bool) -> None:
        self._order, self._make, self._ahead = order, make, ahead

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch."""
        if not self._ahead:
            for epoch, rows in self._order:
                yield self._make(rows, epoch)
            return
        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[Any]] = []
            for epoch, rows in self._order:
                waiting.append(pool.submit(self._make, rows, epoch))
                if len(waiting) > 1:
                    yield waiting.pop(0).result()
            for last in waiting:
                yield last.result()
