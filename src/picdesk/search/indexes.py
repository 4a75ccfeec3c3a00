"""The kinds of index, one class an option. Scores are inner products of unit vectors in all of them."""

from collections.abc import Mapping
from math import sqrt

import faiss
import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.interfaces import Embeddings
from picdesk.search import making, ties
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec import Floats, Ints

DEEPER = 2
"""How many more items than asked the exact index looks at, to see whether a tie crosses the end of the list."""

ITEMS_A_LIST = 39
"""Fewest training items per inverted list that faiss advises."""


class FlatIndex(FaissIndex):
    """Exact search. The order of a list depends on the vectors and ids alone: not on batch, threads or gallery order."""

    kind = "flat"
    exact = True

    def __init__(self) -> None:
        super().__init__({}, {})

    def factory_for(self, count: int) -> str:
        """Every vector as it is."""
        return "Flat"

    def _set_ids(self, at_place: list[str | None]) -> None:
        super()._set_ids(at_place)
        stored = faiss.rev_swig_ptr(self._faiss.get_xb(), self._faiss.ntotal * self.dim)
        self._matrix = stored.reshape(self._faiss.ntotal, self.dim)

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
        if (scores[:, :-1] - scores[:, 1:] < ties.NEAR).any():
            index, scores = self._settled(index, scores, queries, top_k)
        return index[:, :top_k], scores[:, :top_k]

    def _settled(self, index: Ints, scores: Floats, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """The same lists with near-equal neighbours in their exact order, ties across the end of the list included."""
        index, scores = ties.settle(index, scores, queries, self._matrix, self.id_rank)
        if index.shape[1] == len(self.ids):
            return index, scores
        floor = scores[:, top_k - 1] - ties.NEAR
        for row in np.flatnonzero(scores[:, -1] >= floor):
            best = ties.whole_row(queries[row], self._matrix, top_k, floor[row], self.id_rank)
            index[row, :top_k], scores[row, :top_k] = best
        return index, scores


class HnswIndex(FaissIndex):
    """A navigable graph (Malkov and Yashunin, 2018): `m` links an item, `ef_construction` and `ef_search` items in view.

    Built on one thread unless `repeatable` is off: two threads link the items in another order each time.
    """

    kind = "hnsw"

    def __init__(self, m: int = 32, ef_construction: int = 200, ef_search: int = 100, repeatable: bool = True) -> None:
        _positive(m=m, ef_construction=ef_construction, ef_search=ef_search)
        super().__init__({"m": m, "ef_construction": ef_construction}, {"efSearch": ef_search})
        self._threads = int(repeatable)

    def factory_for(self, count: int) -> str:
        """faiss's text."""
        return f"HNSW{self.recipe['m']}"

    def start(self, sample: Floats, count: int) -> None:
        """Make an empty graph."""
        super().start(sample, count)
        making.set_search(self._faiss, {"efConstruction": self.recipe["ef_construction"]})

    def extend(self, more: Embeddings) -> None:
        """Link further items into the graph."""
        with making.on_threads(self._threads):
            super().extend(more)

    def grid(self, count: int) -> list[dict[str, float]]:
        """efSearch from 16 to 1024."""
        return [{"efSearch": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]


class IvfFlatIndex(FaissIndex):
    """Inverted lists of whole vectors: only the `probes` lists nearest to the query are searched.

    `lists`: how many; None for four times the square root of the number of items, fewer if those would be short.
    """

    kind = "ivf_flat"
    _codes = "Flat"

    def __init__(self, lists: int | None = None, probes: int = 16) -> None:
        _positive(lists=lists or 1, probes=probes)
        super().__init__({"lists": lists}, {"nprobe": probes})

    def lists_for(self, count: int) -> int:
        """Number of inverted lists for `count` items."""
        wanted = self.recipe["lists"] or 2 ** round(np.log2(4 * sqrt(count)))
        return int(wanted if self.recipe["lists"] else max(1, min(wanted, count // ITEMS_A_LIST)))

    def factory_for(self, count: int) -> str:
        """faiss's text."""
        return f"IVF{self.lists_for(count)},{self._codes}"

    def grid(self, count: int) -> list[dict[str, float]]:
        """nprobe doubling from 1 up to all lists."""
        lists = self.lists_for(count)
        return [{"nprobe": p} for p in sorted({lists, *(2**e for e in range(20) if 2**e < lists)})]


class IvfPqIndex(IvfFlatIndex):
    """Inverted lists of product-quantised vectors (Jegou et al., 2011), rotated first (OPQ, Ge et al., 2013), then refined.

    `code_bytes` a vector; `rotate` learns the rotation; `refine` is how the vectors are kept for looking again at the best
    `refine_factor * top_k` (`Flat`, `SQ8`, `SQ4`, or None for not at all).
    """

    kind = "ivf_pq"

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 16,
        code_bytes: int = 64,
        rotate: bool = True,
        refine: str | None = "SQ8",
        refine_factor: float = 10,
    ) -> None:
        _positive(code_bytes=code_bytes, refine_factor=refine_factor)
        super().__init__(lists, probes)
        self.recipe |= {"code_bytes": code_bytes, "rotate": rotate, "refine": refine}
        self.settings |= {"k_factor_rf": refine_factor} if refine else {}

    def factory_for(self, count: int) -> str:
        """faiss's text."""
        made = self.recipe
        turn = f"OPQ{made['code_bytes']}," if made["rotate"] else ""
        again = f",Refine({made['refine']})" if made["refine"] else ""
        return f"{turn}IVF{self.lists_for(count)},{self._code_text()}{again}"

    def _code_text(self) -> str:
        # np: no polysemous training, which takes fifty times as long and serves a search that nobody asks for here
        return f"PQ{self.recipe['code_bytes']}np"

    def grid(self, count: int) -> list[dict[str, float]]:
        """nprobe as for whole vectors, with a little and with much refinement."""
        again = [{"k_factor_rf": factor} for factor in (2, 4, 10, 30)] if self.recipe["refine"] else [{}]
        return [probes | factor for factor in again for probes in super(IvfPqIndex, self).grid(count)]


class IvfPqFastScanIndex(IvfPqIndex):
    """As `ivf_pq` with codes of 4 bits, compared many at a time in registers (Andre et al., 2015): quick and coarse."""

    kind = "ivf_pq_fastscan"

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 16,
        code_bytes: int = 128,
        rotate: bool = False,
        refine: str | None = "SQ8",
        refine_factor: float = 4,
    ) -> None:
        super().__init__(lists, probes, code_bytes, rotate, refine, refine_factor)

    def _code_text(self) -> str:
        return f"PQ{2 * self.recipe['code_bytes']}x4fs"


class FactoryIndex(FaissIndex):
    """Any faiss factory text (`IVF256,SQ8`, `PCAR128,HNSW32`) that scores by inner product; `settings` by faiss's names."""

    kind = "factory"

    def __init__(self, factory: str, settings: Mapping[str, float] | None = None) -> None:
        super().__init__({"factory": factory}, settings or {})

    def factory_for(self, count: int) -> str:
        """The text as given."""
        return str(self.recipe["factory"])


def _positive(**values: float) -> None:
    """Raise `ConfigError` for the first value that is not above zero."""
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"index.{name}={value}: it must be above 0")
