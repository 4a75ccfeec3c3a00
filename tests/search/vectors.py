"""Small sets of unit vectors that cluster as pictures do."""

from heapq import nsmallest

import numpy as np

from picdesk.interfaces import Embeddings
from picdesk.search.faiss_index import FaissIndex


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered_vectors(count: int, seed: int, dim: int = 32, noise: float = 0.6) -> np.ndarray:
    centres = unit(np.random.default_rng(7).normal(size=(40, dim)))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, 40, count)] + noise * unit(rng.normal(size=(count, dim))))


def embeddings(matrix: np.ndarray, prefix: str, seed: int = 0) -> Embeddings:
    """Ids in another order than the rows, so that no position passes for an id."""
    names = np.random.default_rng(seed).permutation(len(matrix))
    return Embeddings(tuple(f"{prefix}{i}" for i in names), np.ascontiguousarray(matrix, np.float32))


def lists_of(index: FaissIndex, queries: Embeddings, top_k: int) -> list[list[str]]:
    """The ids found, best first."""
    run = index.search(queries, top_k)
    return [[run.item_ids[i] for i in row if i >= 0] for row in run.index]


def brute_force(queries: Embeddings, gallery: Embeddings, top_k: int) -> list[list[str]]:
    """Exact lists by numpy and a heap, one query at a time."""
    lists, items = [], gallery.matrix.astype(np.float64)
    for query in queries.matrix.astype(np.float64):
        scores = np.einsum("d,nd->n", query, items).astype(np.float32)
        lists.append([item for _, item in nsmallest(top_k, zip((-scores).tolist(), gallery.ids, strict=True))])
    return lists


def overlap(found: list[list[str]], wanted: list[list[str]]) -> float:
    """Share of the wanted ids that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=True)]))
