"""Ranks under any weights, from scores that were made once: no sorting, only counting what stands before a relevant item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, align, ranks_of_run
from picdesk.evaluation.ranks import Ranks, located
from picdesk.search.fusion import Mixture
from picdesk.trec import Qrels, Run

MOST = 5000


class WeightSweep:
    """`ranks(weights)` equals the ranks of `fusion.fuse(run, scores, weights)`; `exact` settles what the lists do not hold."""

    def __init__(
        self, fusion: Mixture, run: Run, scores: Sequence[NDArray[np.float32]], qrels: Qrels, exact: Ranks
    ) -> None:
        self.fusion = fusion
        self.base = ranks_of_run(add_tail(run, exact, qrels), qrels, exact.direction)
        self.prepared = fusion.prepare(run, scores)
        self.movable = self.prepared.movable
        rows, places = align(run, qrels)
        query, item = rows[qrels.query_of], places[qrels.items]
        at = located(run, query, item).place
        self.entries = np.flatnonzero(at >= 0)
        self.query, self.place = query[self.entries], at[self.entries]
        self.similarity = run.scores
        self.relevant = np.zeros(run.index.shape, bool)
        self.relevant[self.query, self.place] = True
        self.slots = np.argsort(~self.movable, axis=1, kind="stable")
        self.kept_rank = 1 + self.place + self._tied_behind()
        self.whole = bool(self.movable[run.index >= 0].all())

    def ranks(self, weights: Sequence[float]) -> Ranks:
        """Ranks of the relevant items under these weights."""
        if not any(weights) or not self.movable.any():
            return self.base
        value = np.where(self.movable, self.fusion.values(self.prepared, weights), -np.inf)
        own = value[self.query, self.place][:, None]
        rows = value[self.query] if len(self.query) != len(value) or (np.diff(self.query) != 1).any() else value
        before = (rows > own).sum(axis=1)
        rank = before + 1
        tied = (rows == own).sum(axis=1) > 1
        for entry in np.flatnonzero(tied):
            rank[entry] += self._ties(rows[entry], int(entry))
        if not self.whole:
            rank = self._among_kept(rank)
        ranks = self.base.ranks.copy()
        ranks[self.entries] = rank
        return replace(self.base, ranks=ranks)

    def _tied_behind(self) -> NDArray[np.int64]:
        """For each entry as if unscored: how many neighbours behind it are unscored too, equal to it, and not relevant."""
        behind = np.zeros(len(self.place), np.int64)
        for entry, (query, place) in enumerate(zip(self.query, self.place, strict=True)):
            alike = ~self.movable[query, place:] & (self.similarity[query, place:] == self.similarity[query, place])
            group = slice(place + 1, place + (len(alike) if alike.all() else int(alike.argmin())))
            behind[entry] = (~self.relevant[query, group]).sum()
        return behind

    def _ties(self, row: NDArray[np.float64], entry: int) -> int:
        """Equal values: what the search had before it, and, where the search scored it equal too, what is not relevant."""
        query, place = self.query[entry], self.place[entry]
        columns = np.arange(len(row))
        equal = (row == row[place]) & (columns != place) & self.movable[query]
        same = equal & (self.similarity[query] == self.similarity[query, place])
        return int((equal & (columns < place)).sum() + (same & (columns > place) & ~self.relevant[query]).sum())

    def _among_kept(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rank in a list in which unscored candidates keep their place."""
        moved = self.movable[self.query, self.place]
        slot = self.slots[self.query, np.minimum(rank - 1, self.slots.shape[1] - 1)] + 1
        return np.where(moved, slot, self.kept_rank)


def grid(parts: int, steps: int | None) -> list[tuple[float, ...]]:
    """Weights to try: 101 values for one reranker; for several a grid on the simplex, of `steps` steps (default 20) each.

    Raises `ConfigError` for a grid of more than 5,000 points.
    """
    count = steps if steps is not None else (100 if parts == 1 else 20)
    if count < 1:
        raise ConfigError(f"tune_weights.steps={steps}: at least 1")
    points = 1
    for n in range(1, parts + 1):
        points = points * (count + n) // n
    if points > MOST:
        raise ConfigError(
            f"tune_weights.steps={count}: {points:,} points for {parts} rerankers; at most {MOST:,}, take fewer steps"
        )
    whole = product(range(count + 1), repeat=parts)
    return [tuple(n / count for n in point) for point in whole if sum(point) <= count]
