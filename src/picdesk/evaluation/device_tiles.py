"""Tiles of scores on a torch device, with the counts of `tiles.Tile` to the last one.

The scheme is that of `tiles` and `products`: a float32 product decides all cells but those within its error of a limit. The
float64 sums of these few are made on the device too, and where one could be rounded to either of two float32 numbers,
`products.exact_scores` says to which. So a rank does not depend on where it was counted.
"""

from __future__ import annotations

import numpy as np
import torch

from picdesk.evaluation.counting import Longs, limits_of
from picdesk.process.float32 import true_float32
from picdesk.products import error_bound, exact_scores
from picdesk.trec.runs import Floats

PAIRS_AT_ONCE = 1 << 16
COLUMNS_AT_ONCE = 1024
CROWDED = 16  # near cells: one in so many, and the tile is worked out exactly


class DeviceTiles:
    """All rows of `left` [n, dim] and `right` [m, dim] on a device, to be multiplied tile by tile; `order` sorts the rows."""

    def __init__(self, left: Floats, right: Floats, device: str, order: Longs | None = None) -> None:
        near = error_bound(left, right)
        self.near, self.slack = np.float32(near), 2 * near * 2.0**-29
        rows = torch.from_numpy(np.ascontiguousarray(left)).to(device)
        self.left = rows if order is None else rows[torch.from_numpy(order).to(device)]
        self.right = torch.from_numpy(np.ascontiguousarray(right)).to(device)

    def cut(self, rows: slice, columns: slice, hidden: tuple[Longs, Longs]) -> DeviceTile:
        """One tile; the cells `hidden` (rows, columns, counted from its corner) count nowhere."""
        return DeviceTile(self.left[rows], self.right[columns], hidden, self.near, self.slack)


class DeviceTile:
    """The product of `left` [rows, dim] and `right` [columns, dim]; `near` bounds its error, `slack` that of a float64 one."""

    def __init__(
        self, left: torch.Tensor, right: torch.Tensor, hidden: tuple[Longs, Longs], near: np.float32, slack: float
    ) -> None:
        self.left, self.right, self.near, self.slack = left, right, near, slack
        self._hidden = tuple(torch.from_numpy(places).to(left.device) for places in hidden)
        with true_float32():
            self.scores = left @ right.T
        self.scores[self._hidden] = -torch.inf

    def count_rows(self, row: Longs, own: Floats) -> Longs:
        """How many cells of `row[i]` are not lower than `own[i]` [entries]; a row may stand more than once."""
        each = len(row) == len(self.scores) and bool((row == np.arange(len(row))).all())
        scores = self.scores if each else self.scores[torch.from_numpy(row).to(self.scores.device)]
        low, high = limits_of(own, self.near)
        level, entry, column = count_and_doubt(scores, low[:, None], high[:, None], 1)
        if self._is_crowded(entry, scores):
            return self.count_rows(row, own)
        reached = self._reaches(torch.from_numpy(row).to(entry.device)[entry], column, own, entry)
        return level + np.bincount(entry[reached].cpu().numpy(), minlength=len(own))

    def count_columns(self, own: Floats) -> Longs:
        """How many cells of each column are not lower than each of its limits [limits, columns]; infinity asks nothing."""
        low, high = limits_of(own, self.near)
        level = np.zeros(own.shape, np.int64)
        for n in range(len(own)):
            level[n], row, column = count_and_doubt(self.scores, low[n][None], high[n][None], 0)
            if self._is_crowded(row, self.scores):
                return self.count_columns(own)
            reached = self._reaches(row, column, own[n], column)
            level[n] += np.bincount(column[reached].cpu().numpy(), minlength=own.shape[1])
        return level

    def make_exact(self) -> None:
        """Work out every cell exactly."""
        wide = self.left.double()
        for start in range(0, len(self.right), COLUMNS_AT_ONCE):
            part = self.right[start : start + COLUMNS_AT_ONCE]
            cell = torch.arange(len(wide) * len(part), device=wide.device)
            row, column = cell // len(part), cell % len(part)
            rounded = self._round((wide @ part.double().T).flatten(), row, column + start)
            self.scores[:, start : start + len(part)] = rounded.view(len(wide), len(part))
        self.scores[self._hidden] = -torch.inf
        self.near = np.float32(0)

    def _is_crowded(self, unsure: torch.Tensor, scores: torch.Tensor) -> bool:
        """Whether so many cells are near their limits that the whole tile had better be exact; if so, it is now."""
        crowded = len(unsure) * CROWDED > scores.numel()
        if crowded:
            self.make_exact()
        return crowded

    def _reaches(self, row: torch.Tensor, column: torch.Tensor, own: Floats, limit: torch.Tensor) -> torch.Tensor:
        """Which of these cells are exactly not lower than their limit, `own[limit]`."""
        wanted = torch.from_numpy(own).to(row.device)[limit]
        parts = [
            self._round((self.left[r].double() * self.right[c].double()).sum(1), r, c)
            for r, c in zip(torch.split(row, PAIRS_AT_ONCE), torch.split(column, PAIRS_AT_ONCE), strict=True)
        ]
        return torch.cat(parts) >= wanted

    def _round(self, product: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Float64 sums [pairs] as `exact_scores` rounds them; it is asked where these sums leave open which way."""
        low = (product - self.slack).float()
        doubt = (low != (product + self.slack).float()).nonzero()[:, 0]
        if len(doubt):
            one, other = self.left[row[doubt]].cpu().numpy(), self.right[column[doubt]].cpu().numpy()
            each = np.arange(len(one))
            low[doubt] = torch.from_numpy(exact_scores(one, other, each, each)).to(low.device)
        return low


def count_and_doubt(
    scores: torch.Tensor, low: Floats, high: Floats, dim: int
) -> tuple[Longs, torch.Tensor, torch.Tensor]:
    """How many cells along `dim` surely count, and row and column of those in doubt; limits fit the scores when spread."""
    sure = scores >= torch.from_numpy(high).to(scores.device)
    row, column = ((scores >= torch.from_numpy(low).to(scores.device)) ^ sure).nonzero(as_tuple=True)
    return sure.sum(dim).cpu().numpy(), row, column
