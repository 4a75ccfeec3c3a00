"""95% confidence intervals of the metrics, from ranks alone.

Captions of one picture are not independent, so what is drawn again and again is the picture with all its queries: a cluster
bootstrap (Field and Welsh, "Bootstrapping clustered data", 2007). The interval is that of the percentiles; of mean_rank, whose
few large values would make that too short, the studentised one (bootstrap-t; Efron, 1981). Metrics that are one yes or no for
each picture have Wilson's interval (1927) instead, which is right at 0 and 1 too. Where all pictures agree a bootstrap sees
nothing to draw, and would give an interval of no width: there Wilson's bound is taken for every metric (`unseen`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.evaluation.metrics import KS, NAMES, Doubles, median_of, per_query
from picdesk.evaluation.ranks import Longs, Ranks
from picdesk.measures.listing import is_rank
from picdesk.measures.values import all_first_known
from picdesk.products import quick_product

RESAMPLES = 10_000
_CELLS = 1 << 18
_KEPT_CELLS = 1 << 24
_GRID = 64


@dataclass(frozen=True)
class Interval:
    """A value with the interval that holds the true one in 95 of 100 repetitions; shown as `0.412 [0.391, 0.434]`.

    Shares have three `digits` behind the point, ranks one.
    """

    value: float
    low: float
    high: float
    digits: int = 3

    def __str__(self) -> str:
        value, low, high = (f"{number:.{self.digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def intervals(
    ranks: Ranks,
    ks: Sequence[int] = KS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    names: Sequence[str] = NAMES,
) -> dict[str, Interval]:
    """The interval of every chosen metric of `metrics_of` that is an average or a median; the same seed gives the same intervals.

    With a single picture only hits@k and recall@k have one. Meant for 50 pictures or more: fewer give intervals that are a
    little too short.
    """
    values = per_query(ranks, ks, names)
    sizes = np.bincount(ranks.cluster).astype(np.float64)
    sums = {name: cluster_sums(ranks.cluster, value) for name, value in values.items()}
    simple = [name for name in values if name != "mean_rank" and _yes_or_no(sizes, sums[name], values[name])]
    result = {name: wilson(float(sums[name].clip(max=1).sum()), len(sizes), level) for name in simple}
    averaged = [name for name in values if name not in simple]
    if len(sizes) > 1:
        with_median = "median_rank" in names
        own = {name: sums[name] for name in averaged}
        result |= _bootstrap(ranks, own, sizes, resamples, seed, level, with_median)
    order = [*values, "median_rank"]
    return {name: with_digits(name, result[name]) for name in order if name in result}


def with_digits(metric: str, interval: Interval) -> Interval:
    """The interval as the metric is shown."""
    return replace(interval, digits=1) if is_rank(metric) else interval


def _bootstrap(
    ranks: Ranks,
    sums: dict[str, Doubles],
    sizes: Doubles,
    resamples: int,
    seed: int,
    level: float,
    with_median: bool = True,
) -> dict[str, Interval]:
    """Intervals of the averages whose sums are given for each cluster, and of the median."""
    grid = _median_grid(ranks, sizes) if with_median else np.empty(0)
    columns = {"size": sizes, **sums}
    if "mean_rank" in sums:
        rank = sums["mean_rank"]
        columns |= {"size*size": sizes * sizes, "size*rank": sizes * rank, "rank*rank": rank * rank}
    if len(grid):
        steps = [cluster_sums(ranks.cluster, (ranks.first <= edge).astype(np.float64)) for edge in grid]
        columns["within"] = np.stack(steps, axis=1)
    drawn = resample_sums(columns, resamples, seed)
    result = {
        name: percentiles(
            float(sum_.sum() / sizes.sum()), drawn[name] / drawn["size"], level, len(sizes), ends_of(name, ranks)
        )
        for name, sum_ in sums.items()
    }
    if "mean_rank" in sums:
        whole = {name: column.sum(keepdims=True) for name, column in columns.items()}
        most = float(ranks.gallery_size)
        result["mean_rank"] = _studentised_interval(whole, drawn, level, most) or result["mean_rank"]
    if len(grid):
        reached = 2 * drawn["within"] >= drawn["size"][:, None]
        place = np.where(reached.any(axis=1), reached.argmax(axis=1), len(grid) - 1)
        median = _of_steps(float(np.median(ranks.first)), grid, np.bincount(place, minlength=len(grid)), level)
        # as many pictures as these could all have had the luck of one side
        few = share_unseen(len(sizes), level) >= 0.5
        result["median_rank"] = replace(median, low=1.0, high=float(ranks.gallery_size)) if few else median
    return result


def wilson(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    reach = z / shrink * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Interval(share, middle - reach if successes > 0 else 0.0, middle + reach if successes < trials else 1.0)


def resample_sums(columns: Mapping[str, Doubles], resamples: int, seed: int) -> dict[str, Doubles]:
    """Draw as many clusters as there are, with replacement, `resamples` times, and add up each column over what was drawn.

    A column is [clusters] or [clusters, n] and becomes [resamples] or [resamples, n].
    """
    stacked = np.column_stack(list(columns.values()))
    single = _single_is_exact(stacked)
    values: NDArray[Any] = np.ascontiguousarray(stacked.T, np.float32 if single else np.float64)
    counts = _counts if len(stacked) * resamples <= _KEPT_CELLS else _fresh_counts
    drawn, at = np.empty((resamples, stacked.shape[1])), 0
    room: NDArray[Any] = np.empty((0, len(stacked)), values.dtype)
    for block in counts(len(stacked), resamples, seed):
        room = room if len(room) >= len(block) else np.empty(block.shape, values.dtype)
        wide = room[: len(block)]
        wide[:] = block
        sums = quick_product(wide, values) if single else quick_product(values, wide).T  # each the quicker way round
        drawn[at : at + len(block)] = sums
        at += len(block)
    widths = [1 if column.ndim == 1 else column.shape[1] for column in columns.values()]
    parts = np.split(drawn, np.cumsum(widths)[:-1], axis=1)
    return {
        name: part[:, 0] if column.ndim == 1 else part
        for (name, column), part in zip(columns.items(), parts, strict=True)
    }


def _single_is_exact(columns: Doubles) -> bool:
    """Whether sums over any draw of these columns [clusters, n] are exact in float32: whole numbers and halves, and none beyond
    2^23."""
    halves = 2 * columns
    if not (halves.min(initial=0) >= 0 and halves.max(initial=0) * len(columns) <= 1 << 24):
        return False
    return bool((halves == np.rint(halves)).all())


def _fresh_counts(clusters: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint16]]:
    """Blocks [some resamples, clusters]: how often each cluster was drawn."""
    generator = np.random.Generator(np.random.SFC64(seed))
    step = max(1, _CELLS // clusters)
    offset = np.arange(step, dtype=np.int64)[:, None] * clusters
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        draws = generator.integers(0, clusters, (rows, clusters))
        draws += offset[:rows]
        yield np.bincount(draws.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.uint16)


@lru_cache(maxsize=2)
def _counts(clusters: int, resamples: int, seed: int) -> tuple[NDArray[np.uint16], ...]:
    """The same, kept: both directions, and all jobs of a sweep, draw alike."""
    return tuple(_fresh_counts(clusters, resamples, seed))


def cluster_sums(cluster: Longs, value: Doubles) -> Doubles:
    """Add up the values of the queries of each cluster [clusters]."""
    return np.bincount(cluster, weights=value).astype(np.float64)


def percentiles(value: float, drawn: Doubles, level: float, clusters: int, ends: tuple[float, float]) -> Interval:
    """The middle `level` of what was drawn, stretched where it must be to hold the value itself.

    Where all draws are alike, no picture told another thing, and a share `unseen` of all pictures still may: at the worst
    they hold one of the `ends` of what the metric can be.
    """
    if float(np.ptp(drawn)) <= 1e-12 * max(1.0, abs(value)):
        share = share_unseen(clusters, level)
        return Interval(value, value + share * (ends[0] - value), value + share * (ends[1] - value))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def share_unseen(clusters: int, level: float) -> float:
    """The share of all pictures that may be otherwise though none of `clusters` is: Wilson's upper bound of 0 of them."""
    return wilson(0, clusters, level).high


def ends_of(metric: str, ranks: Ranks) -> tuple[float, float]:
    """The least and the most that a metric can be for one query."""
    if is_rank(metric):
        return 1.0, float(ranks.gallery_size)
    return (1.0 / ranks.gallery_size if metric == "mrr" else 0.0), 1.0


def apart_ends(metric: str, ranks: Ranks) -> tuple[float, float]:
    """The least and the most that the difference of a metric between two runs can be for one query."""
    low, high = ends_of(metric, ranks)
    return low - high, high - low


def _yes_or_no(sizes: Doubles, sums: Doubles, value: Doubles) -> bool:
    """Whether the metric is one yes or no for each cluster: values 0 and 1, on which all queries of a cluster agree."""
    if not ((value == 0) | (value == 1)).all():
        return False
    alike = bool(((sums == 0) | (sums == sizes)).all())
    return alike and bool((sizes == sizes[0]).all() or (value == value[0]).all())


def _studentised_interval(
    whole: Mapping[str, Doubles], drawn: Mapping[str, Doubles], level: float, most: float
) -> Interval | None:
    """Bootstrap-t of the mean rank, which is 1 at least and `most` at most; None where too few pictures differ for a resample
    to have a spread of its own."""
    (value,), (own,) = _mean_and_spread(whole)
    if own <= 1e-6 * value:  # of pictures that all have one mean, rounding leaves that much
        return None
    mean, spread = _mean_and_spread(drawn)
    if (spread < 1e-6 * own).mean() > (1 - level) / 20:
        return None
    steps = (mean - value) / np.maximum(spread, 1e-6 * own)
    low, high = value - own * np.quantile(steps, [(1 + level) / 2, (1 - level) / 2])
    return Interval(float(value), max(1.0, float(low)), min(most, float(high)))


def _mean_and_spread(sums: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
    """A ratio of sums over clusters, and its standard error by the delta method."""
    mean = sums["mean_rank"] / sums["size"]
    squares = sums["rank*rank"] - 2 * mean * sums["size*rank"] + mean**2 * sums["size*size"]
    return mean, np.sqrt(np.maximum(squares, 0)) / sums["size"]


def _of_steps(value: float, steps: Doubles, counts: Longs, level: float) -> Interval:
    """The middle `level` of what fell on few steps: half of a step's draws count as below it (mid-p), or it would be too long."""
    below = (counts.cumsum() - counts / 2) / counts.sum()
    inside = steps[(below >= (1 - level) / 2) & (below <= (1 + level) / 2)]
    ends = inside if len(inside) else steps[[counts.argmax()]]
    return Interval(value, min(float(ends[0]), value), max(float(ends[-1]), value))


def _error_of_share(sums: Doubles, sizes: Doubles) -> float:
    share = sums.sum() / sizes.sum()
    return float(np.sqrt(((sums - share * sizes) ** 2).sum()) / sizes.sum())


def _median_grid(ranks: Ranks, sizes: Doubles) -> Doubles:
    """The ranks between which the median of a resample can fall: those within 4.5 standard errors, `_GRID` at most.

    Empty where the median itself is not known. Beyond what lists that are cut tell there is one more, the worst: a median of
    which no more is known than that it lies there counts as the gallery's size.
    """
    first, cluster = ranks.first, ranks.cluster
    median = median_of(ranks)
    if median is None:
        return np.empty(0)
    error = max(
        _error_of_share(cluster_sums(cluster, flags.astype(float)), sizes)
        for flags in (first < median, first <= median)
    )
    ordered = np.sort(first)
    ends = np.array([0.5 - 4.5 * error, 0.5 + 4.5 * error]).clip(0, 1) * (len(first) - 1)
    window = np.unique(ordered[int(ends[0]) : int(np.ceil(ends[1])) + 1])
    window = window[np.isfinite(window)]
    if len(window) > _GRID:
        window = window[np.linspace(0, len(window) - 1, _GRID).round().astype(int)]
    return window if all_first_known(ranks) else np.append(window[window <= ranks.depth], float(ranks.gallery_size))
