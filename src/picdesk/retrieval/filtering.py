"""A search among some items of an index alone: those that a filter admits.

An index that `searches_among` its items does so by itself; any other is asked for more and more until enough of what it
found is admitted, which of an exact index gives exactly the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from threading import RLock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from picdesk.filters.columns import Columns
from picdesk.interfaces import Embeddings, Index
from picdesk.trec.runs import Run

_ONE_AT_A_TIME = RLock()
STEP = 4

Flags = NDArray[np.bool_]
ROOM = 1.5
"""How many times as many items are asked for as would do if those admitted were spread evenly."""


def tell(index: Index, known: Callable[[], Columns]) -> None:
    """Give an index that keeps columns those of the items that it will take in."""
    if index.keeps_columns:
        index.know(known())


def search_among(index: Index, queries: Embeddings, top_k: int, admitted: Flags) -> Run:
    """The `top_k` best of the admitted items [index.ids]; lists are padded with -1 where fewer are found."""
    index, count = index.at_work, int(admitted.sum())
    if not count:
        return nothing(queries.ids, index.ids)
    wanted, depth = min(top_k, count), depth_for(top_k, admitted)
    if not index.searches_among:
        return looking_deeper(index, queries, wanted, admitted)
    if not index.costs_less(count, depth):
        run = kept_of(index.search(queries, depth), admitted, wanted)
        if (run.index[:, -1] >= 0).all():
            return run
    return index.search_among(queries, wanted, admitted)


def depth_for(wanted: int, admitted: Flags) -> int:
    """How long a list is to be to hold so many admitted items if they are spread evenly, and some more."""
    return min(len(admitted), ceil(ROOM * wanted * len(admitted) / int(admitted.sum())) + 8)


def nothing(query_ids: tuple[str, ...], item_ids: tuple[str, ...]) -> Run:
    """A run in which nothing is found."""
    shape = (len(query_ids), 1)
    return Run(query_ids, item_ids, np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32), len(item_ids))


def looking_deeper(index: Index, queries: Embeddings, wanted: int, admitted: Flags) -> Run:
    """The same by longer and longer lists. Of inverted lists so many more are looked into that as many admitted items are seen as
    without a filter, and still more where a list ends early."""
    depth = depth_for(wanted, admitted)
    with Probing(index) as probing:
        probing.more(len(admitted) / int(admitted.sum()))
        while True:
            found = index.search(queries, depth)
            run = kept_of(found, admitted, wanted)
            short = (run.index >= 0).sum(axis=1) < wanted
            ended = bool((found.index[short][:, -1:] < 0).any())
            deepest = depth >= len(admitted)
            if not short.any() or (deepest and not ended) or (ended and not probing.more() and deepest):
                return run
            depth = min(2 * depth, len(admitted))


def kept_of(run: Run, admitted: Flags, wanted: int) -> Run:
    """The first `wanted` admitted items of each list, moved up."""
    out = (run.index < 0) | ~admitted[np.maximum(run.index, 0)]
    order = np.argsort(out, axis=1, kind="stable")[:, :wanted]
    index = np.take_along_axis(np.where(out, -1, run.index), order, axis=1).astype(np.int32)
    scores = np.take_along_axis(np.where(out, -np.inf, run.scores), order, axis=1).astype(np.float32)
    return replace(run, index=index, scores=scores)


class Probing:
    """Within, more inverted lists may be looked into; at the end it is as it was. One search at a time has this."""

    def __init__(self, index: Index) -> None:
        self.index, self.lists = index, index.inverted_lists

    def __enter__(self) -> Self:
        if self.lists:
            _ONE_AT_A_TIME.acquire()
            self.probes = self.usual = self.index.probes
        return self

    def more(self, times: float = STEP) -> bool:
        """Look into so many times as many lists from now on; false where all are looked into, or there are none."""
        if not self.lists or self.probes >= self.lists:
            return False
        self.probes = min(ceil(times * self.probes), self.lists)
        self.index.probe(self.probes)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lists:
            self.index.probe(self.usual)
            _ONE_AT_A_TIME.release()
