"""A search among some items of an index alone: those that a filter admits.

An index that can looks among them by itself (`search_among`); any other is asked for more and more until enough of what it
found is admitted, which of an exact index gives exactly the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from threading import RLock
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from picdesk.filters.columns import Columns
from picdesk.filters.language import Filter
from picdesk.interfaces import Embeddings
from picdesk.search import making
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec.runs import Run

_ONE_AT_A_TIME = RLock()
STEP = 4

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


@runtime_checkable
class Among(Searches, Protocol):
    """An index that searches among some of its items by itself."""

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items costs less than a list of that depth over all."""

    def search_among(self, queries: Embeddings, top_k: int, admitted: Flags) -> Run:
        """The `top_k` best of the items that are admitted [ids]."""


@runtime_checkable
class Where(Searches, Protocol):
    """An index that has the columns of its items with it, and asks a filter by itself."""

    @property
    def knows(self) -> bool:
        """Whether it was given columns."""

    def know(self, known: Columns) -> None:
        """Take in what is known of the items that are put in from now on."""

    def count_where(self, wanted: Filter) -> int:
        """How many items fulfil a filter."""

    def search_where(self, queries: Embeddings, top_k: int, wanted: Filter) -> Run:
        """The `top_k` best of the items that fulfil a filter."""


def tell(index: object, known: Callable[[], Columns]) -> None:
    """Give an index that keeps columns those of the items that it will take in."""
    if isinstance(index, Where):
        index.know(known())


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


def inner_of(index: Any) -> FaissIndex | None:
    """The faiss index behind a correction or a choice; None where there is none."""
    while not isinstance(index, FaissIndex):
        index = getattr(index, "chosen", None) or getattr(index, "index", None)
        if index is None:
            return None
    return index


class Probing:
    """Within, more inverted lists may be looked into; at the end it is as it was. One search at a time has this."""

    def __init__(self, index: Any) -> None:
        inner = inner_of(index)
        self.inner = inner if inner is not None and "nprobe" in inner.settings else None

    def __enter__(self) -> Self:
        if self.inner is not None:
            _ONE_AT_A_TIME.acquire()
            self.probes = self.inner.settings["nprobe"]
        return self

    def more(self) -> bool:
        """Look into four times as many lists from now on; false where all are looked into, or there are none."""
        if self.inner is None or self.probes >= making.lists_of(self.inner.faiss):
            return False
        self.probes = min(STEP * self.probes, making.lists_of(self.inner.faiss))
        making.set_search(self.inner.faiss, {"nprobe": self.probes})
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.inner is not None:
            making.set_search(self.inner.faiss, self.inner.settings)
            _ONE_AT_A_TIME.release()
