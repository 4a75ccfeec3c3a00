"""The kinds of index, one class an option. Scores are inner products of unit vectors in all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

import faiss
import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.interfaces import Embeddings
from picdesk.parts import config_part
from picdesk.products import NEAR, settle, whole_row
from picdesk.search import making
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec.runs import Floats, Ints, Run

DEEPER = 2
"""How many more items than asked the exact index looks at, to see whether a tie crosses the end of the list."""

DEEP_IN_A_GRAPH = 1_000
"""Length of a list from which a graph is slower than exact search over the few items that a filter admits."""

ITEMS_A_LIST = 39
"""Fewest training items per inverted list that faiss advises."""


@config_part
class FlatIndex(FaissIndex):
    """Exact search. The order of a list depends on the vectors and ids alone: not on batch, threads or gallery order."""

    kind = "flat"
    exact = True
    searches_among = True

    def __init__(self) -> None:
        super().__init__({}, {})

    def factory_for(self, count: int, dim: int) -> str:
        """Every vector as it is."""
        return "Flat"

    def _set_ids(self, at_place: list[str | None]) -> None:
        super()._set_ids(at_place)
        stored = faiss.rev_swig_ptr(self._faiss.get_xb(), self._faiss.ntotal * self.dim)
        self._matrix = stored.reshape(self._faiss.ntotal, self.dim)

    def take_in(self, matrix: Floats, ids: list[str]) -> None:
        """Be ready to search these, without a fingerprint: for an index that lives as long as one search."""
        self._faiss = making.empty_index("Flat", int(matrix.shape[1]))
        self._faiss.add(np.ascontiguousarray(matrix))
        self._set_ids([*ids])

    @property
    def vectors(self) -> Embeddings:
        """What is in the index, in the order of `ids`."""
        return Embeddings(self.ids, np.array(self._matrix))

    def _drop(self, gone: NDArray[np.bool_]) -> None:
        kept = np.ascontiguousarray(self._matrix[~gone])
        self._faiss = making.empty_index("Flat", self.dim)
        self._faiss.add(kept)
        self._folder = None
        self._set_ids([item for item, out in zip(self._at_place, gone, strict=True) if not out])

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """Positions in `ids` and scores, both [n, top_k], of the best items; `top_k` at most the size of the gallery."""
        queries = np.ascontiguousarray(queries, np.float32)
        depth = min(top_k + DEEPER, len(self.ids))
        scores, found = self._faiss.search(queries, depth)
        index = found.astype(np.int32)
        if (scores[:, :-1] - scores[:, 1:] < NEAR).any():
            index, scores = self._settle(index, scores, queries, top_k)
        return index[:, :top_k], scores[:, :top_k]

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items costs less than a list of that depth over all: a quarter is copied as fast."""
        return 4 * admitted < len(self.ids)

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the admitted items [ids]: exact search over their vectors, which are copied, alone."""
        rows = np.flatnonzero(admitted)
        return among_copied(queries, top_k, self.ids, rows, self._matrix[rows])

    def _settle(self, index: Ints, scores: Floats, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """The same lists with near-equal neighbours in their exact order, ties across the end of the list included."""
        index, scores = settle(index, scores, queries, self._matrix, self.id_rank)
        if index.shape[1] == len(self.ids):
            return index, scores
        floor = scores[:, top_k - 1] - NEAR
        for row in np.flatnonzero(scores[:, -1] >= floor):
            best = whole_row(queries[row], self._matrix, top_k, floor[row], self.id_rank)
            index[row, :top_k], scores[row, :top_k] = best
        return index, scores


def among_copied(queries: Embeddings, top_k: int, ids: Sequence[str], rows: NDArray[np.int64], matrix: Floats) -> Run:
    """Exact search over some items alone: those that stand at `rows` of `ids`, with their vectors [rows, dim]."""
    part = FlatIndex()
    part.take_in(matrix, [ids[row] for row in rows])
    found = part.search(queries, top_k)
    index = np.where(found.index >= 0, rows[np.maximum(found.index, 0)], -1).astype(np.int32)
    return replace(found, item_ids=tuple(ids), index=index, gallery_size=len(ids))


@config_part
class HnswIndex(FaissIndex):
    """A navigable graph (Malkov and Yashunin, 2018): `m` links an item, `ef_construction` and `ef_search` items in view.

    Built on one thread unless `repeatable` is off: two threads link the items in another order each time.
    """

    kind = "hnsw"
    searches_among = True

    def __init__(self, m: int = 32, ef_construction: int = 200, ef_search: int = 100, repeatable: bool = True) -> None:
        need_positive(m=m, ef_construction=ef_construction, ef_search=ef_search)
        super().__init__({"m": m, "ef_construction": ef_construction}, {"efSearch": ef_search})
        self._threads = int(repeatable)

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text."""
        return f"HNSW{self.recipe['m']}"

    def start(self, sample: Floats, count: int) -> None:
        """Make an empty graph."""
        super().start(sample, count)
        making.set_search(self._faiss, {"efConstruction": self.recipe["ef_construction"]})

    def _take(self, matrix: Floats) -> None:
        with making.on_threads(self._threads):
            super()._take(matrix)

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among some items costs less than a list of that depth over all, which a graph gives slowly."""
        return depth > DEEP_IN_A_GRAPH

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the admitted items [ids]: exact search over their vectors, which are copied, alone."""
        rows = np.flatnonzero(admitted)
        places = np.flatnonzero(self._position >= 0)[rows]
        return among_copied(queries, top_k, self.ids, rows, self._faiss.reconstruct_batch(places))

    def ladders(self, count: int) -> list[list[dict[str, float]]]:
        """efSearch from 16 to 1024."""
        return [[{"efSearch": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]]


@config_part
class IvfFlatIndex(FaissIndex):
    """Inverted lists of whole vectors: only the `probes` lists nearest to the query are searched.

    `lists`: how many; None for four times the square root of the number of items, fewer if those would be short.
    """

    kind = "ivf_flat"

    def __init__(self, lists: int | None = None, probes: int = 16) -> None:
        need_positive(lists=1 if lists is None else lists, probes=probes)
        super().__init__({"lists": lists}, {"nprobe": probes})

    def lists_for(self, count: int) -> int:
        """Number of inverted lists for `count` items."""
        if self.recipe["lists"] is not None:
            return int(self.recipe["lists"])
        return max(1, min(int(2 ** round(np.log2(4 * sqrt(count)))), count // ITEMS_A_LIST))

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text."""
        return f"IVF{self.lists_for(count)},Flat"

    def ladders(self, count: int) -> list[list[dict[str, float]]]:
        """nprobe up to all lists, by a factor of about 1.4 a step."""
        lists = self.lists_for(count)
        return [[{"nprobe": p} for p in sorted({lists, *(round(2 ** (e / 2)) for e in range(40))}) if p <= lists]]


@config_part
class FactoryIndex(FaissIndex):
    """Any faiss factory text (`IVF256,SQ8`, `PCAR128,HNSW32`) that scores by inner product; `settings` by faiss's names."""

    kind = "factory"

    def __init__(self, factory: str, settings: Mapping[str, float] | None = None) -> None:
        super().__init__({"factory": factory}, settings or {})

    def factory_for(self, count: int, dim: int) -> str:
        """The text as given."""
        return str(self.recipe["factory"])


def need_positive(**values: float) -> None:
    """Raise `ConfigError` for the first value that is not above zero."""
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"index.{name}={value}: it must be above 0")
