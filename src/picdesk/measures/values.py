"""The value of each query for every metric, from ranks alone, and what a random order of the gallery scores.

`picdesk.measures.listing` lists them under their names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
FIRST_TEN = 10  # of a list: what is counted for the measures of hubs


class Judged(Protocol):
    """`Qrels` or `Ranks`: the bounds of the relevant items of each query, and how relevant each of them is (None: all alike)."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where the relevant items of each query begin and end [queries + 1]."""

    @property
    def grades(self) -> NDArray[np.int32] | None:
        """How relevant each item is; None: all alike."""


class Placed(Judged, Protocol):
    """What a measure is computed from: `picdesk.evaluation.ranks.Ranks`."""

    @property
    def ranks(self) -> NDArray[np.int32]:
        """The rank of each relevant item, from 1; 0: not found."""

    @property
    def gallery_size(self) -> int:
        """How many items were searched."""

    @property
    def depth(self) -> int:
        """The rank down to which every rank is known."""

    @property
    def first(self) -> Doubles:
        """The rank of the first relevant item of each query."""

    @property
    def relevant_counts(self) -> NDArray[np.int64]:
        """How many items are relevant to each query."""


@dataclass(frozen=True)
class RandomOrder:
    """A uniformly random order of the gallery: what it does to queries with these relevant items."""

    relevant: Judged
    gallery: int

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], Doubles]:
        """Numbers of relevant items that occur, and the share of the queries that have each."""
        counts, times = np.unique(np.diff(self.relevant.bounds), return_counts=True)
        return counts, times / times.sum()

    @cached_property
    def chance_of_first(self) -> Doubles:
        """P(first relevant item at rank j) [counts, gallery]: C(G - j, R - 1) / C(G, R)."""
        return np.stack([_first_rank(int(count), self.gallery) for count in self.counts[0]])

    @cached_property
    def chance_within(self) -> Doubles:
        """P(a relevant item at rank 1 to j) [gallery], over the queries."""
        reached: Doubles = self.counts[1] @ self.chance_of_first.cumsum(axis=1)
        return reached

    def mean(self, of_count: Callable[[Doubles], Doubles]) -> float:
        """The mean over the queries of what depends on the number of relevant items alone."""
        counts, share = self.counts
        return float(share @ of_count(counts.astype(np.float64)))


def _first_rank(relevant: int, gallery: int) -> Doubles:
    """P(first relevant item at rank 1 ... gallery) in a random order: exact, by the hypergeometric distribution."""
    rank = np.arange(1, gallery)
    ratios = np.maximum(gallery - rank - relevant + 1, 0) / (gallery - rank)
    first: Doubles = relevant / gallery * np.concatenate([[1.0], np.cumprod(ratios)])
    return first


def known_to(ranks: Placed, k: int) -> bool:
    """Whether every rank down to k is known."""
    return k <= ranks.depth or ranks.depth == ranks.gallery_size


def all_first_known(ranks: Placed) -> bool:
    """Whether the first rank of every query is known, or known not to be."""
    return bool(np.isfinite(ranks.first).all()) or ranks.depth == ranks.gallery_size


def found_ranks(ranks: Placed) -> Doubles:
    """The rank of each relevant item; infinity where it was not found."""
    return np.where(ranks.ranks > 0, ranks.ranks, np.inf)


def query_of(judged: Judged) -> NDArray[np.int64]:
    """The query of each relevant item."""
    return np.repeat(np.arange(len(judged.bounds) - 1), np.diff(judged.bounds))


def hits(ranks: Placed, k: int) -> Doubles | None:
    """1 where a relevant item is among the first k."""
    return (ranks.first <= k).astype(np.float64) if known_to(ranks, k) else None


def recall(ranks: Placed, k: int) -> Doubles | None:
    """The share of the relevant items that is among the first k."""
    if not known_to(ranks, k):
        return None
    inside = np.add.reduceat((found_ranks(ranks) <= k).astype(np.int64), ranks.bounds[:-1])
    return np.asarray(inside / ranks.relevant_counts)


def ndcg(ranks: Placed, k: int) -> Doubles | None:
    """Discounted cumulative gain over the first k, as a share of the best that there can be.

    The gain is the grade, the discount 1 / log2(rank + 1), as trec_eval has it (Järvelin and Kekäläinen, TOIS 2002).
    """
    if not known_to(ranks, k):
        return None
    place = found_ranks(ranks)
    gained = np.where(place <= k, gains(ranks) / np.log2(place + 1), 0.0)
    return np.asarray(np.add.reduceat(gained, ranks.bounds[:-1]) / ideal(ranks, k))


def gains(judged: Judged) -> Doubles:
    """The grade of each relevant item; 1 where they have none."""
    grades = judged.grades
    return np.ones(int(judged.bounds[-1])) if grades is None else grades.astype(np.float64)


def ideal(judged: Judged, k: int) -> Doubles:
    """The largest discounted gain of each query over k places: its relevant items by falling grade [queries]."""
    own, query = gains(judged), query_of(judged)
    order = np.lexsort((-own, query))
    nth = np.arange(len(own)) - judged.bounds[query]
    best = np.where(nth < k, own[order] / np.log2(nth + 2), 0.0)
    return np.asarray(np.add.reduceat(best, judged.bounds[:-1]))


def precision_at_r(ranks: Placed, _: int) -> Doubles | None:
    """R-Precision: of the first R, the share that is relevant; R is the number of relevant items."""
    if not known_to(ranks, int(ranks.relevant_counts.max())):
        return None
    inside = found_ranks(ranks) <= np.repeat(ranks.relevant_counts, ranks.relevant_counts)
    return np.asarray(np.add.reduceat(inside.astype(np.int64), ranks.bounds[:-1]) / ranks.relevant_counts)


def average_precision_at_r(ranks: Placed, _: int) -> Doubles | None:
    """mAP@R: over the first R places, the mean of the precision where there is a relevant item, and of 0 where there is none.

    Musgrave, Belongie and Lim, "A metric learning reality check" (ECCV 2020), equation 2; used by ECCV Caption.
    """
    if not known_to(ranks, int(ranks.relevant_counts.max())):
        return None
    query, place = query_of(ranks), found_ranks(ranks)
    order = np.lexsort((place, query))
    nth = np.arange(1, len(place) + 1) - ranks.bounds[query]
    sorted_place = place[order]
    precision = np.where(sorted_place <= ranks.relevant_counts[query], nth / sorted_place, 0.0)
    return np.asarray(np.add.reduceat(precision, ranks.bounds[:-1]) / ranks.relevant_counts)


def reciprocal(ranks: Placed, _: int) -> Doubles | None:
    """1 / rank of the first relevant item."""
    return np.asarray(1 / ranks.first) if all_first_known(ranks) else None


def first_rank(ranks: Placed, _: int) -> Doubles | None:
    """The rank of the first relevant item."""
    return ranks.first if np.isfinite(ranks.first).all() else None


def chance_of_ndcg(draw: RandomOrder, k: int) -> float:
    """Every place holds the mean grade."""
    total = np.add.reduceat(gains(draw.relevant), draw.relevant.bounds[:-1])
    discounts = (1 / np.log2(np.arange(2, min(k, draw.gallery) + 2))).sum()
    return float((total / draw.gallery * discounts / ideal(draw.relevant, k)).mean())


def chance_of_map(draw: RandomOrder, _: int) -> float:
    """E[precision at i, if place i is relevant] = (p + (i - 1) p2) / i; p2: that two given places are both relevant."""

    def of_count(counts: Doubles) -> Doubles:
        harmonic = np.array([(1 / np.arange(1, int(count) + 1)).sum() for count in counts])
        one = counts / draw.gallery
        two = one * (counts - 1) / max(draw.gallery - 1, 1)
        return np.asarray((harmonic * one + (counts - harmonic) * two) / counts)

    return draw.mean(of_count)


def chance_of_median(draw: RandomOrder, _: int) -> float:
    """The median of the first rank's distribution, pooled over the queries."""
    low, high = np.searchsorted(draw.chance_within, 0.5 - 1e-12), np.searchsorted(draw.chance_within, 0.5 + 1e-12)
    return float(low + high) / 2 + 1


def chance_of_mrr(draw: RandomOrder, _: int) -> float:
    """The mean of 1 / first rank."""
    return float(draw.counts[1] @ (draw.chance_of_first / np.arange(1, draw.gallery + 1)).sum(axis=1))


def chance_of_hits(draw: RandomOrder, k: int) -> float:
    """P(a relevant item among the first k)."""
    return float(draw.chance_within[min(k, draw.gallery) - 1])


def chance_of_recall(draw: RandomOrder, k: int) -> float:
    """The share of the gallery that is listed."""
    return min(k, draw.gallery) / draw.gallery


def chance_of_precision(draw: RandomOrder, _: int) -> float:
    """R of the gallery's items are relevant, wherever one looks."""
    return draw.mean(lambda counts: np.asarray(counts / draw.gallery))


def chance_of_mean(draw: RandomOrder, _: int) -> float:
    """(G + 1) / (R + 1)."""
    return draw.mean(lambda counts: np.asarray((draw.gallery + 1) / (counts + 1)))


def times_listed(index: NDArray[np.int32], gallery: int) -> NDArray[np.int64]:
    """N_10: in how many of the lists [queries, depth] each item of the gallery is among the first ten [gallery]."""
    listed = index[:, :FIRST_TEN]
    return np.bincount(listed[listed >= 0], minlength=gallery)


def lists_tell(index: NDArray[np.int32], gallery: int) -> bool:
    """Whether each of the lists [queries, depth] holds the first ten, or all of a smaller gallery.

    A shorter list does not tell N_10.
    """
    return int((index >= 0).sum(axis=1).min(initial=gallery)) >= min(FIRST_TEN, gallery)


def skewness(index: NDArray[np.int32], gallery: int) -> float:
    """Skewness of N_10: 0 where items are found alike, large where a few are in most lists.

    Radovanovic, Nanopoulos and Ivanovic, "Hubs in space" (JMLR 2010), section 3.
    """
    times = times_listed(index, gallery).astype(np.float64)
    spread = times.std()
    return float(((times - times.mean()) ** 3).mean() / spread**3) if spread > 0 else 0.0


def never_listed(index: NDArray[np.int32], gallery: int) -> float:
    """The share of the gallery that is among the first ten of no query."""
    return float((times_listed(index, gallery) == 0).mean())


def chance_of_skewness(queries: int, gallery: int) -> float:
    """N_10 of a random order is binomial."""
    p = min(FIRST_TEN, gallery) / gallery
    return float((1 - 2 * p) / np.sqrt(queries * p * (1 - p))) if 0 < p < 1 else 0.0


def chance_of_never(queries: int, gallery: int) -> float:
    """No list of ten has it."""
    return float((1 - min(FIRST_TEN, gallery) / gallery) ** queries)
