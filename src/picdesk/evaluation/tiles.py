"""A tile of scores, and how many of its cells are not lower than a limit, decided as if every score were exact.

A quick float32 product decides all cells but those within its error of the limit; these few are worked out exactly. So equal
vectors tie in a tile of any shape, on any number of threads, and ranks are those of the exact search. Where very many cells lie
that near (a model that has collapsed), the whole tile is worked out exactly.
"""

from dataclasses import dataclass

import numpy as np

from picdesk.evaluation.counting import Longs, Scores, count_and_doubt, count_and_doubt_pairs, limits_of, split
from picdesk.products import exact_block, exact_scores, quick_product
from picdesk.trec.runs import Floats

_CROWDED = 16  # near cells: one in so many, and the tile is worked out exactly
_SAMPLED = 16  # one row in so many tells how many cells that would be
_SPARSE = 16  # cells above the lowest limit of their column: up to one in so many they are listed, else counted


@dataclass
class Tile:
    """The product of `left` [rows, dim] and `right` [columns, dim] in `scores`; `near` bounds its error.

    The cells `hidden` (rows, columns), those of relevant pairs, count nowhere: they are compared by their exact scores.
    """

    left: Floats
    right: Floats
    scores: Scores
    hidden: tuple[Longs, Longs]
    near: np.float32

    def __post_init__(self) -> None:
        quick_product(self.left, self.right, out=self.scores)
        self.scores[self.hidden] = -np.inf

    def make_exact(self) -> None:
        """Work out every cell exactly."""
        exact_block(self.left, self.right, self.scores)
        self.scores[self.hidden] = -np.inf
        self.near = np.float32(0)

    def count_rows(self, row: Longs, own: Floats) -> Longs:
        """How many cells of `row[i]`, ascending rows that may stand more than once, are not lower than `own[i]`."""
        low, high = limits_of(own, self.near)
        alone = len(row) == len(self.scores) and bool((row[1:] != row[:-1]).all())
        listed = self._list_cells(low[:, None]) if alone else None
        if listed is None:
            level, entry, column = count_and_doubt_pairs(self.scores, row, low, high)
        else:
            entry, column = split(listed, self.scores.shape[1])
            sure = self.scores.ravel()[listed] >= high[entry]
            level = np.bincount(entry[sure], minlength=len(row))
            entry, column = entry[~sure], column[~sure]
        if self._is_crowded(len(entry)):
            return self.count_rows(row, own)
        reached = exact_scores(self.left, self.right, row[entry], column) >= own[entry]
        return level + np.bincount(entry[reached], minlength=len(row))

    def count_columns(self, own: Floats) -> Longs:
        """How many cells of each column are not lower than each of its limits [limits, columns], which rise from row to row;
        infinity asks nothing."""
        low, high = limits_of(own, self.near)
        level = np.zeros(own.shape, np.int64)
        for n in range(len(own)):
            listed = self._list_cells(low[n][None])
            if listed is not None:
                return self._of_listed(listed, own, level, n)
            level[n], row, column = count_and_doubt(self.scores, low[n], high[n])
            if self._is_crowded(len(row)):
                return self.count_columns(own)
            level[n] += self._count_reached(row, column, own[n])
        return level

    def _list_cells(self, low: Floats) -> Longs | None:
        """Places, in the flat tile, of the cells that are not lower than `low`, [rows, 1] or [1, columns]; None where they are
        many."""
        sample = self.scores[::_SAMPLED] >= (low[::_SAMPLED] if len(low) > 1 else low)
        if np.count_nonzero(sample) * _SPARSE > sample.size:
            return None
        return np.flatnonzero(self.scores >= low)

    def _of_listed(self, cell: Longs, own: Floats, level: Longs, first: int) -> Longs:
        """`level` with the counts of the limits from `first` on, which no cell but those listed can reach."""
        low, high = limits_of(own, self.near)
        row, column = split(cell, own.shape[1])
        value = self.scores.ravel()[cell]
        for n in range(first, len(own)):
            kept = np.flatnonzero(value >= low[n][column])
            row, column, value = row[kept], column[kept], value[kept]
            sure = value >= high[n][column]
            level[n] = np.bincount(column[sure], minlength=own.shape[1])
            unsure = np.flatnonzero(~sure)
            if self._is_crowded(len(unsure)):
                return self.count_columns(own)
            level[n] += self._count_reached(row[unsure], column[unsure], own[n])
        return level

    def _is_crowded(self, unsure: int) -> bool:
        """Whether so many cells are near their limits that the whole tile had better be exact; if so, it is now."""
        crowded = unsure * _CROWDED > self.scores.size
        if crowded:
            self.make_exact()
        return crowded

    def _count_reached(self, row: Longs, column: Longs, own: Floats) -> Longs:
        """How many of these cells [columns] are exactly not lower than their column's limit."""
        reached = exact_scores(self.left, self.right, row, column) >= own[column]
        return np.bincount(column[reached], minlength=len(own))
