"""The one implementation of the metrics; definitions and their reasons stand in `docs/metrics.md`.

ranks = ranks_of_run(run, qrels, "t2i")      or      exact_ranks_both(texts, pictures, t2i, i2t)
metrics_of(ranks) -> {"hits@1": 0.412, ..., "median_rank": 2.0, "queries": 5000, "gallery": 1000}
"""

from collections.abc import Sequence

import numpy as np

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.exact import counts_on, exact_ranks, exact_ranks_both
from picdesk.evaluation.ranks import Ranks, align, ranks_of_run
from picdesk.evaluation.tail import add_tail
from picdesk.measures.listing import KS, MEASURES, NAMES, Measure, measure_of
from picdesk.measures.values import Doubles, Judged, RandomOrder, all_first_known

__all__ = [
    "KS",
    "NAMES",
    "Doubles",
    "Ranks",
    "add_tail",
    "align",
    "chance",
    "counts_on",
    "exact_ranks",
    "exact_ranks_both",
    "metrics_of",
    "per_query",
    "ranks_of_run",
    "value_of",
]

MRR = ("mrr", "mrr_at_least", "mrr_at_most")


def per_query(ranks: Ranks, ks: Sequence[int] = KS, names: Sequence[str] = NAMES) -> dict[str, Doubles]:
    """The value of each query [queries] for every chosen metric that is a mean over queries.

    Left out is what cannot be known: what is cut at a k beyond `ranks.depth`, and mrr and mean_rank where a query found
    nothing in a list that is cut. Raises `DataError` where there are no queries.
    """
    _check(ks)
    if not ranks.query_ids:
        raise DataError(f"{ranks.direction}: there are no queries to score")
    found: dict[str, Doubles] = {}
    for measure in choose_measures(names):
        for key, k in zip(measure.keys(ks), ks if measure.cut else (0,), strict=True):
            value = measure.of_queries(ranks, k) if measure.of_queries else None
            if value is not None:
                found[key] = value
    return found


def choose_measures(names: Sequence[str]) -> list[Measure]:
    """The measures of one direction among these names, in the order of the list."""
    return [measure for name, measure in MEASURES.items() if name in names]


def known_value(ranks: Ranks, key: str) -> Doubles | None:
    """The value of each query [queries] for one metric; None where it is no mean over queries, or not known."""
    measure, k = measure_of(key)
    return measure.of_queries(ranks, k) if measure.of_queries else None


def value_of(ranks: Ranks, key: str) -> Doubles:
    """The value of each query [queries] for one metric. Raises `ConfigError` where it is no mean over queries, or not known."""
    value = known_value(ranks, key)
    if value is None:
        raise ConfigError(f"metric={key}: runs are compared by one of {', '.join(per_query(ranks))}")
    return value


def metrics_of(ranks: Ranks, ks: Sequence[int] = KS, names: Sequence[str] = NAMES) -> dict[str, float]:
    """All chosen metrics of one direction, with the numbers of queries and gallery items.

    Where queries found none of their relevant items `unfound` counts them. If their lists are cut, their ranks are not known:
    mean_rank is left out, mrr gives way to the bounds between which it lies (`mrr_at_least`, `mrr_at_most`), and median_rank
    is left out where it is beyond `ranks.depth`.
    """
    result = {name: float(value.mean()) for name, value in per_query(ranks, ks, names).items()}
    if "mrr" in names and "mrr" not in result:
        result |= _mrr_bounds(ranks)
    median = median_of(ranks)
    if "median_rank" in names and median is not None:
        result["median_rank"] = median
    unfound = int(np.isinf(ranks.first).sum())
    if unfound:
        result["unfound"] = unfound
    order = [key for measure in choose_measures(names) for key in (MRR if measure.name == "mrr" else measure.keys(ks))]
    counts = {"queries": len(ranks.query_ids), "gallery": ranks.gallery_size}
    return {key: result[key] for key in [*order, "unfound"] if key in result} | counts


def _mrr_bounds(ranks: Ranks) -> dict[str, float]:
    """Mean reciprocal rank if whatever was not found stood as far behind as it can, or next after the shortest list."""
    lost = np.isinf(ranks.first)
    known = np.where(lost, 0, 1 / ranks.first)
    last = ranks.gallery_size - ranks.relevant_counts + 1
    ends = [known + np.where(lost, 1 / place, 0) for place in (last, np.minimum(ranks.depth + 1, last))]
    return dict(zip(MRR[1:], (float(end.mean()) for end in ends), strict=True))


def median_of(ranks: Ranks) -> float | None:
    """The median of the first relevant ranks; None where lists that are cut do not tell it."""
    median, upper = float(np.median(ranks.first)), float(np.sort(ranks.first)[len(ranks.first) // 2])
    known = np.isfinite(median) and (all_first_known(ranks) or upper <= ranks.depth)
    return median if known else None


def chance(
    relevant: Judged, gallery_size: int, ks: Sequence[int] = KS, names: Sequence[str] = NAMES
) -> dict[str, float]:
    """What a uniformly random order of the gallery scores on average in the chosen metrics: exact."""
    _check(ks)
    draw = RandomOrder(relevant, gallery_size)
    return {
        key: measure.by_chance(draw, k)
        for measure in choose_measures(names)
        for key, k in zip(measure.keys(ks), ks if measure.cut else (0,), strict=True)
    }


def _check(ks: Sequence[int]) -> None:
    if any(k < 1 for k in ks):
        raise ConfigError(f"ks={list(ks)}: a cut-off k must be 1 or more")
