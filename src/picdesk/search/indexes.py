"""The exact index."""

import faiss
import numpy as np

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings
from picdesk.search import ties
from picdesk.trec import Floats, Ints, Run, id_ranks

DEEPER = 2
"""How many more items than asked are looked at, to see whether a tie crosses the end of the list."""


class FlatIndex:
    """Exact inner-product search. The order of a list depends on the vectors and ids alone: not on batch or threads."""

    def __init__(self) -> None:
        self.ids: tuple[str, ...] = ()
        self._matrix: Floats = np.empty((0, 0), np.float32)

    def build(self, gallery: Embeddings) -> None:
        """Take in the whole gallery. Raises `DataError` if it is empty."""
        if not gallery.ids:
            raise DataError("index: the gallery is empty; there is nothing to search")
        self.ids = gallery.ids
        self._id_rank = id_ranks(gallery.ids)
        self._faiss = faiss.IndexFlatIP(gallery.dim)
        self._faiss.add(np.ascontiguousarray(gallery.matrix))
        stored = faiss.rev_swig_ptr(self._faiss.get_xb(), len(gallery.ids) * gallery.dim)
        self._matrix = stored.reshape(len(gallery.ids), gallery.dim)

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query (all of them, if there are fewer); equal scores by item id."""
        if not self.ids:
            raise DataError("index: nothing is in the index; build it from a gallery first")
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}: at least 1 is needed")
        if queries.dim != self._matrix.shape[1]:
            raise DataError(f"index: queries of dimension {queries.dim}, gallery of {self._matrix.shape[1]}")
        index, scores = self.nearest(queries.matrix, min(top_k, len(self.ids)))
        return Run(queries.ids, self.ids, index, scores, len(self.ids))

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """Positions and scores [n, top_k] of the best items; `top_k` at most the size of the gallery."""
        queries = np.ascontiguousarray(queries, np.float32)
        depth = min(top_k + DEEPER, len(self.ids))
        scores, found = self._faiss.search(queries, depth)
        index, scores = ties.settle(found.astype(np.int32), scores, queries, self._matrix, self._id_rank)
        floor = scores[:, top_k - 1] - ties.NEAR
        open_end = np.flatnonzero((scores[:, -1] >= floor) & (depth < len(self.ids)))
        for row in open_end:
            best = ties.whole_row(queries[row], self._matrix, top_k, floor[row], self._id_rank)
            index[row, :top_k], scores[row, :top_k] = best
        return np.ascontiguousarray(index[:, :top_k]), np.ascontiguousarray(scores[:, :top_k])
