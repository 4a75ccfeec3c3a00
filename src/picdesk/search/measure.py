"""How good and how quick a search is: recall against exact search, true percentiles of single queries, rate of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from time import perf_counter

import faiss
import numpy as np
from numpy.typing import NDArray

from picdesk.search.grouping import distinct
from picdesk.trec.runs import Floats, Ints

Nearest = Callable[[Floats, int], tuple[Ints, Floats]]
"""Queries [n, dim] and `top_k` to positions and scores, both [n, top_k]."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds that single queries took; each percentile is the time of one real query (nearest rank)."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    queries: int


def percentile(values: NDArray[np.float64], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = np.sort(values)
    return float(ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)])


def single_seconds(nearest: Nearest, queries: Floats, top_k: int) -> NDArray[np.float64]:
    """Seconds of each query asked on its own, in order, after five that are not counted."""
    for row in range(min(5, len(queries))):
        nearest(queries[row : row + 1], top_k)
    taken = np.empty(len(queries))
    for row in range(len(queries)):
        start = perf_counter()
        nearest(queries[row : row + 1], top_k)
        taken[row] = perf_counter() - start
    return taken


def latency(nearest: Nearest, queries: Floats, top_k: int) -> Latency:
    """Percentiles over all queries, each asked once."""
    taken = 1000 * single_seconds(nearest, queries, top_k)
    return Latency(percentile(taken, 0.50), percentile(taken, 0.95), percentile(taken, 0.99), len(taken))


def batch_seconds(nearest: Nearest, queries: Floats, top_k: int) -> float:
    """Seconds of one search for all queries together."""
    start = perf_counter()
    nearest(queries, top_k)
    return perf_counter() - start


def batch_rate(nearest: Nearest, queries: Floats, top_k: int) -> float:
    """Queries per second when all are asked together: median of three times, after one that is not counted."""
    batch_seconds(nearest, queries, top_k)
    return len(queries) / float(np.median([batch_seconds(nearest, queries, top_k) for _ in range(3)]))


def exact_positions(gallery: Floats, queries: Floats, top_k: int) -> Ints:
    """Positions [n, top_k] of the true nearest by inner product."""
    _, found = faiss.knn(queries, gallery, min(top_k, len(gallery)), metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found, np.int32)


@dataclass(frozen=True)
class Recall:
    """Mean share of the true nearest that were found, and its standard error over the queries."""

    mean: float
    error: float


def recall(found: Ints, exact: Ints, gallery: Floats | None = None) -> Recall:
    """Recall of `found` against `exact`, both [n, top_k] positions of the same gallery, -1 where there is none.

    With the `gallery` [items, dim] an item stands for any other of the same vector: which of equals is in a list is chance, and
    no index can find the ones that exact search happened to take. Raises `ValueError` for unlike numbers of lists.
    """
    if len(found) != len(exact):
        raise ValueError(f"{len(found)} lists for {len(exact)} queries")
    if gallery is not None:
        found, exact = _name_equals_alike(found, exact, gallery)
    shares = (exact[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1)
    return Recall(float(shares.mean()), float(shares.std() / sqrt(len(shares))))


def _name_equals_alike(found: Ints, exact: Ints, gallery: Floats) -> tuple[Ints, Ints]:
    """Numbers in place of the positions, the same for the first of equal vectors in each list, for the second, and so on."""
    listed = np.unique(np.concatenate([found, exact], axis=None))
    listed = listed[listed >= 0]
    group = distinct(gallery[listed])[1]
    most = max(found.shape[1], exact.shape[1])

    def numbers(lists: Ints) -> Ints:
        own = np.where(lists >= 0, group[np.searchsorted(listed, lists).clip(max=len(group) - 1)], -1)
        nth = np.tril(own[:, :, None] == own[:, None, :], -1).sum(axis=2)
        return np.where(own >= 0, own * most + nth, -1)

    return numbers(found), numbers(exact)
