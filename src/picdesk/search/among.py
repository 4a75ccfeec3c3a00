"""Searching among some of the items: what an index may offer, and how one with inverted lists is made to look into more."""

from __future__ import annotations

from threading import RLock
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import faiss
import numpy as np
from numpy.typing import NDArray

from picdesk.interfaces import Embeddings
from picdesk.search import making
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec.runs import Run

_ONE_AT_A_TIME = RLock()
STEP = 4


@runtime_checkable
class Among(Protocol):
    """An index that searches among some of its items by itself."""

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query."""

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items costs less than a list of that depth over all."""

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the items that are admitted [ids]."""


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
        if self.inner is None or self.probes >= lists_of(self.inner.faiss):
            return False
        self.probes = min(STEP * self.probes, lists_of(self.inner.faiss))
        making.set_search(self.inner.faiss, {"nprobe": self.probes})
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.inner is not None:
            making.set_search(self.inner.faiss, self.inner.settings)
            _ONE_AT_A_TIME.release()


def lists_of(index: Any) -> int:
    """How many inverted lists there are in an index; 0 for none."""
    return max((int(part.nlist) for part in making.parts(index) if isinstance(part, faiss.IndexIVF)), default=0)
