"""A search among some items of an index alone: those that a filter admits.

An index that can looks among them by itself (`search_among`); any other is asked for more and more until enough of what it
found is admitted, which of an exact index gives exactly the same.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from picdesk.interfaces import Embeddings
from picdesk.search.among import Among, Probing
from picdesk.trec.runs import Run

Flags = NDArray[np.bool_]
ROOM = 1.5
"""How many times as many items are asked for as would do if those admitted were spread evenly."""


class Searches(Protocol):
    """As much of an index as a search needs."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The items that can be found."""

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query."""


def search_among(index: Searches, queries: Embeddings, top_k: int, admitted: Flags) -> Run:
    """The `top_k` best of the admitted items [index.ids]; lists are padded with -1 where fewer are found."""
    index, count = getattr(index, "chosen", index), int(admitted.sum())
    if not count:
        return nothing(queries.ids, index.ids)
    wanted, depth = min(top_k, count), depth_for(top_k, admitted)
    if not isinstance(index, Among):
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


def looking_deeper(index: Searches, queries: Embeddings, wanted: int, admitted: Flags) -> Run:
    """The same by longer and longer lists; one that ends early has its index look into more of its inverted lists."""
    depth = depth_for(wanted, admitted)
    with Probing(index) as probing:
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
