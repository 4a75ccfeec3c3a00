"""Ranks under any weights, from scores that were made once: no sorting, only counting what stands before a relevant item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, align, ranks_of_run
from picdesk.evaluation.ranks import Ranks, locate
from picdesk.search.fusion import Mixture, arrange
from picdesk.trec.runs import Qrels, Run

MOST = 5000


class WeightSweep:
    """`ranks(weights)` equals the ranks of `fusion.fuse(run, scores, weights)`; `exact` settles what the lists do not hold.

    A query whose list has equal similarities, and besides an unscored candidate among the others or a relevant item that is not
    listed, is really fused: ties may then reach over what stands between, or past the end of the list.
    """

    def __init__(
        self, fusion: Mixture, run: Run, scores: Sequence[NDArray[np.float32]], qrels: Qrels, exact: Ranks
    ) -> None:
        self.fusion, self.run, self.qrels, self.exact = fusion, run, qrels, exact
        self.base = ranks_of_run(add_tail(run, exact, qrels), qrels, exact.direction)
        self.prepared = fusion.prepare(run, scores)
        self.movable = self.prepared.movable
        rows, places = align(run, qrels)
        query, item = rows[qrels.query_of], places[qrels.items]
        at = locate(run, query, item).place
        self.similarity = run.scores
        self.relevant = np.zeros(run.index.shape, bool)
        self.relevant[query[at >= 0], at[at >= 0]] = True
        self.slots = np.argsort(~self.movable, axis=1, kind="stable")
        touched = np.asarray(self.movable.any(axis=1))
        self.fused = np.flatnonzero(touched & self._find_tangled(query[at < 0]))
        self.entries = np.flatnonzero((at >= 0) & touched[query] & ~np.isin(query, self.fused))
        self.query, self.place = query[self.entries], at[self.entries]
        self.start = self._start(query, at, touched)
        self.asked = np.flatnonzero(np.isin(rows, self.fused))
        self.kept_rank = 1 + self.place + self._tied_behind()
        self.whole = bool(self.movable[self.query][run.index[self.query] >= 0].all())

    def ranks(self, weights: Sequence[float]) -> Ranks:
        """Ranks of the relevant items under these weights."""
        if not any(weights) or not self.movable.any():
            return self.base
        every = self.fusion.values(self.prepared, weights)
        ranks = self.start.copy()
        if len(self.entries):
            ranks[self.entries] = self._count_ranks(np.where(self.movable, every, -np.inf))
        if len(self.fused):
            self._fuse(every, ranks)
        return replace(self.base, ranks=ranks)

    def _find_tangled(self, missing: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Queries [queries] whose ties may reach beyond what counting sees; `missing` are those with an item not listed."""
        listed = self.run.index >= 0
        equal = ((self.similarity[:, 1:] == self.similarity[:, :-1]) & listed[:, 1:]).any(axis=1)
        between = (self.movable[:, 1:] & ~self.movable[:, :-1]).any(axis=1)
        lacking = np.zeros(len(listed), bool)
        lacking[missing] = True
        return np.asarray(equal & (between | lacking))

    def _start(self, query: NDArray[np.int64], at: NDArray[np.int64], touched: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The ranks that no weight changes: of what is not listed, behind a list that is reranked, and of untouched queries."""
        reranked = replace(self.run, reranked=touched)
        outside = ranks_of_run(add_tail(reranked, self.exact, self.qrels), self.qrels, self.exact.direction).ranks
        return np.where((at < 0) & touched[query], outside, self.base.ranks).astype(np.int32)

    def _fuse(self, every: NDArray[np.float64], ranks: NDArray[np.int32]) -> None:
        """Put in the ranks of the queries that are really fused."""
        some = replace(
            self.run,
            query_ids=tuple(self.run.query_ids[q] for q in self.fused),
            index=self.run.index[self.fused],
            scores=self.run.scores[self.fused],
        )
        counts = self.base.relevant_counts[self.asked]
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = np.arange(bounds[-1]) + np.repeat(self.base.bounds[self.asked] - bounds[:-1], counts)
        ids = tuple(self.qrels.query_ids[q] for q in self.asked)
        about = self.qrels.subjects[self.asked].astype(np.int32)
        qrels = Qrels(ids, self.qrels.item_ids, bounds, self.qrels.items[entries], about=about)
        assert self.exact.scores is not None
        exact = replace(self.exact.take(self.asked), scores=self.exact.scores[entries])
        fused = arrange(some, every[self.fused], self.movable[self.fused])
        ranks[entries] = ranks_of_run(add_tail(fused, exact, qrels), qrels, exact.direction).ranks

    def _count_ranks(self, value: NDArray[np.float64]) -> NDArray[np.int64]:
        """Ranks of the entries by counting what stands before them."""
        own = value[self.query, self.place][:, None]
        rows = value[self.query] if len(self.query) != len(value) or (np.diff(self.query) != 1).any() else value
        rank = (rows > own).sum(axis=1) + 1
        tied = ((rows == own).sum(axis=1) > 1) & self.movable[self.query, self.place]
        for entry in np.flatnonzero(tied):
            rank[entry] += self._ties(rows[entry], int(entry))
        return rank if self.whole else self._among_kept(rank)

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
