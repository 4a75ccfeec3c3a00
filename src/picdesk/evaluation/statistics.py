"""95% confidence intervals of the metrics, from ranks alone.

Captions of one picture are not independent, so what is drawn again and again is the picture with all its queries (a cluster
bootstrap; Field and Welsh, "Bootstrapping clustered data", 2007), and the interval is that of the percentiles. Metrics that
are one yes or no for each picture have Wilson's interval instead, which is right at 0 and 1 too (Wilson, 1927).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from picdesk.evaluation.metrics import KS, Doubles, per_query
from picdesk.evaluation.ranks import Longs, Ranks

RESAMPLES = 10_000
_CELLS = 1 << 21
_GRID = 64


@dataclass(frozen=True)
class Interval:
    """A value with the interval that holds the true one in 95 of 100 repetitions; shown as `0.412 [0.391, 0.434]`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{shown(self.value)} [{shown(self.low)}, {shown(self.high)}]"


def shown(value: float) -> str:
    """Three decimals for a share, one for a rank."""
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.1f}"


def intervals(
    ranks: Ranks, ks: Sequence[int] = KS, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """The interval of every metric of `metrics_of` that is an average or a median; the same seed gives the same intervals.

    With a single picture only hits@k and recall@k have one. Intended for 50 pictures or more; fewer give intervals that are
    a little too short.
    """
    values = per_query(ranks, ks)
    sizes = np.bincount(ranks.cluster)
    simple = [name for name, value in values.items() if _yes_or_no(ranks.cluster, sizes, value)]
    result = {
        name: wilson(float(cluster_sums(ranks.cluster, values[name]).clip(max=1).sum()), len(sizes), level)
        for name in simple
    }
    averaged = [name for name in values if name not in simple]
    if len(sizes) > 1:
        grid = _median_grid(ranks.first, ranks.cluster, sizes)
        columns = [sizes.astype(np.float64), *(cluster_sums(ranks.cluster, values[name]) for name in averaged)]
        columns += [cluster_sums(ranks.cluster, (ranks.first <= edge).astype(np.float64)) for edge in grid]
        drawn = np.concatenate(list(resampled(np.stack(columns, axis=1), resamples, seed)))
        for i, name in enumerate(averaged, 1):
            result[name] = percentiles(float(values[name].mean()), drawn[:, i] / drawn[:, 0], level)
        if len(grid):
            reached = 2 * drawn[:, 1 + len(averaged) :] >= drawn[:, :1]
            medians = grid[np.where(reached.any(axis=1), reached.argmax(axis=1), -1)]
            result["median_rank"] = percentiles(float(np.median(ranks.first)), medians, level)
    order = [*values, "median_rank"]
    return {name: result[name] for name in order if name in result}


def wilson(successes: float, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    reach = z / shrink * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Interval(share, middle - reach if successes > 0 else 0.0, middle + reach if successes < trials else 1.0)


def resampled(sums: Doubles, resamples: int, seed: int) -> Iterator[Doubles]:
    """Draw as many clusters as there are, with replacement, `resamples` times; add up the rows of `sums` [clusters, columns].

    Gives blocks [some, columns]: counts of how often each cluster was drawn, times the sums.
    """
    generator = np.random.Generator(np.random.SFC64(seed))
    clusters = len(sums)
    step = max(1, _CELLS // clusters)
    offset = np.arange(step, dtype=np.int64)[:, None] * clusters
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        draws = generator.integers(0, clusters, (rows, clusters))
        draws += offset[:rows]
        counts = np.bincount(draws.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield counts.astype(np.float64) @ sums


def cluster_sums(cluster: Longs, value: Doubles) -> Doubles:
    """Add up the values of the queries of each cluster [clusters]."""
    return np.bincount(cluster, weights=value).astype(np.float64)


def _yes_or_no(cluster: Longs, sizes: Longs, value: Doubles) -> bool:
    """Whether the metric is one yes or no for each cluster: values 0 and 1, on which all queries of a cluster agree."""
    if not ((value == 0) | (value == 1)).all():
        return False
    sums = cluster_sums(cluster, value)
    alike = bool(((sums == 0) | (sums == sizes)).all())
    return alike and bool((sizes == sizes[0]).all() or (value == value[0]).all())


def percentiles(value: float, drawn: Doubles, level: float) -> Interval:
    """The middle `level` of what was drawn, stretched where it must be to hold the value itself."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def _median_grid(first: Doubles, cluster: Longs, sizes: Longs) -> Doubles:
    """The ranks between which the median of a resample can fall: those within 4.5 standard errors, `_GRID` at most."""
    median = np.median(first)
    if not np.isfinite(median):
        return np.empty(0)
    below = cluster_sums(cluster, (first <= median).astype(np.float64))
    share = below.sum() / sizes.sum()
    error = float(np.sqrt(((below - share * sizes) ** 2).sum())) / sizes.sum()
    ordered = np.sort(first)
    ends = np.array([0.5 - 4.5 * error, 0.5 + 4.5 * error]).clip(0, 1) * (len(first) - 1)
    window = np.unique(ordered[int(ends[0]) : int(np.ceil(ends[1])) + 1])
    window = window[np.isfinite(window)]
    if len(window) > _GRID:
        window = window[np.linspace(0, len(window) - 1, _GRID).round().astype(int)]
    return window
