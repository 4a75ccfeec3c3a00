"""The one implementation of the metrics; definitions and their reasons stand in `docs/metrics.md`.

ranks = ranks_of_run(run, qrels, "t2i")      or      exact_ranks_both(texts, pictures, t2i, i2t)
metrics_of(ranks) -> {"hits@1": 0.412, ..., "median_rank": 2.0, "queries": 5000, "gallery": 1000}
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.exact import exact_ranks, exact_ranks_both
from picdesk.evaluation.ranks import Ranks, align, ranks_of_run
from picdesk.evaluation.tail import add_tail

__all__ = [
    "KS",
    "Ranks",
    "add_tail",
    "align",
    "chance",
    "exact_ranks",
    "exact_ranks_both",
    "metrics_of",
    "per_query",
    "ranks_of_run",
]

KS = (1, 5, 10)
MRR = ("mrr", "mrr_at_least", "mrr_at_most")
Doubles = NDArray[np.float64]


class HasBounds(Protocol):
    """`Qrels` or `Ranks`: bounds of the relevant items of each query."""

    @property
    def bounds(self) -> NDArray[np.int64]: ...


def per_query(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, Doubles]:
    """The value of each query [queries] for every metric that is a mean over queries.

    Left out is what cannot be known: hits@k and recall@k beyond `ranks.depth`, and mrr and mean_rank where a query found
    nothing in a list that is cut.
    """
    _check(ks)
    if not ranks.query_ids:
        raise DataError(f"{ranks.direction}: there are no queries to score")
    known = [k for k in ks if k <= ranks.depth or ranks.depth == ranks.gallery_size]
    first, found = ranks.first, np.where(ranks.ranks > 0, ranks.ranks, np.inf)
    values = {f"hits@{k}": (first <= k).astype(np.float64) for k in known}
    for k in known:
        inside = np.add.reduceat((found <= k).astype(np.int64), ranks.bounds[:-1])
        values[f"recall@{k}"] = inside / ranks.relevant_counts
    if _whole(ranks):
        values["mrr"] = 1 / first
    if np.isfinite(first).all():
        values["mean_rank"] = first
    return values


def metrics_of(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, float]:
    """All metrics of one direction, with the numbers of queries and gallery items.

    Where queries found none of their relevant items `unfound` counts them. If their lists are cut, their ranks are not known:
    mean_rank is left out, mrr gives way to the bounds between which it lies (`mrr_at_least`, `mrr_at_most`), and median_rank
    is left out where it is beyond `ranks.depth`.
    """
    result = {name: float(value.mean()) for name, value in per_query(ranks, ks).items()}
    if "mrr" not in result:
        result |= _mrr_bounds(ranks)
    median = float(np.median(ranks.first))
    if np.isfinite(median) and (_whole(ranks) or _upper_median(ranks.first) <= ranks.depth):
        result["median_rank"] = median
    unfound = int(np.isinf(ranks.first).sum())
    if unfound:
        result["unfound"] = unfound
    order = [*(key for key in result if "@" in key), *MRR, "median_rank", "mean_rank", "unfound"]
    counts = {"queries": len(ranks.query_ids), "gallery": ranks.gallery_size}
    return {key: result[key] for key in order if key in result} | counts


def _whole(ranks: Ranks) -> bool:
    """Whether the first rank of every query is known, or known not to be."""
    return bool(np.isfinite(ranks.first).all()) or ranks.depth == ranks.gallery_size


def _mrr_bounds(ranks: Ranks) -> dict[str, float]:
    """Mean reciprocal rank if whatever was not found stood as far behind as it can, or next after the shortest list."""
    lost = np.isinf(ranks.first)
    known = np.where(lost, 0, 1 / ranks.first)
    last = ranks.gallery_size - ranks.relevant_counts + 1
    ends = [known + np.where(lost, 1 / place, 0) for place in (last, np.minimum(ranks.depth + 1, last))]
    return dict(zip(MRR[1:], (float(end.mean()) for end in ends), strict=True))


def _upper_median(first: Doubles) -> float:
    """The larger of the two middle values, or the middle one."""
    return float(np.sort(first)[len(first) // 2])


def chance(relevant: HasBounds, gallery_size: int, ks: Sequence[int] = KS) -> dict[str, float]:
    """What a uniformly random order of the gallery scores on average: exact, by the hypergeometric distribution.

    With R of G items relevant, P(first relevant at rank j) = C(G - j, R - 1) / C(G, R). `median_rank` is the median of that
    distribution, pooled over the queries.
    """
    _check(ks)
    counts, times = np.unique(np.diff(relevant.bounds), return_counts=True)
    share = times / times.sum()
    first = np.stack([_first_rank(int(count), gallery_size) for count in counts])
    reached = share @ first.cumsum(axis=1)
    rank = np.arange(1, gallery_size + 1)
    result = {f"hits@{k}": float(reached[min(k, gallery_size) - 1]) for k in ks}
    result |= {f"recall@{k}": min(k, gallery_size) / gallery_size for k in ks}
    result["mrr"] = float(share @ (first / rank).sum(axis=1))
    low, high = np.searchsorted(reached, 0.5 - 1e-12), np.searchsorted(reached, 0.5 + 1e-12)
    result["median_rank"] = float(low + high) / 2 + 1
    result["mean_rank"] = float(share @ ((gallery_size + 1) / (counts + 1)))
    return result


def _first_rank(relevant: int, gallery: int) -> Doubles:
    """P(first relevant item at rank 1 ... gallery) in a random order."""
    rank = np.arange(1, gallery)
    ratios = np.maximum(gallery - rank - relevant + 1, 0) / (gallery - rank)
    first: Doubles = relevant / gallery * np.concatenate([[1.0], np.cumprod(ratios)])
    return first


def _check(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise ConfigError(f"ks={list(ks)}: a cut-off k must be 1 or more")
