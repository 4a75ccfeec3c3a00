"""Is one run better than another? Paired tests on the same queries, picture by picture.

The randomisation test swaps the two runs' values for all queries of a picture at once, or not, by the toss of a coin (Fisher;
Smucker, Allan and Carterette, CIKM 2007): were the runs alike, every outcome would be as likely as the one that was seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from picdesk.errors import ConfigError, DataError, examples
from picdesk.evaluation.metrics import KS, Doubles, per_query
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.statistics import RESAMPLES, Interval, cluster_sums, percentiles, resampled, with_digits

_CELLS = 1 << 22


@dataclass(frozen=True)
class Difference:
    """A metric of run a less that of run b, its 95% interval (paired bootstrap), and p (paired randomisation, two-sided)."""

    interval: Interval
    p: float


@dataclass(frozen=True)
class Standing:
    """One row of a leaderboard: its value, the difference to the best, and p after Holm's correction (1 for the best)."""

    value: float
    to_best: Difference
    p_holm: float

    @property
    def differs(self) -> bool:
        """Whether the row is really worse than the best, at 5% for the whole board."""
        return self.p_holm < 0.05


def compare(
    a: Ranks, b: Ranks, ks: Sequence[int] = KS, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Difference]:
    """Differences a - b of every metric that is a mean over queries. Negative mean_rank means that a is better.

    Raises `DataError` unless both runs answer the same queries, about the same pictures, over galleries of one size.
    """
    b = _in_order_of(a, b)
    left, right = per_query(a, ks), per_query(b, ks)
    names = [name for name in left if name in right]
    sizes = np.bincount(a.cluster).astype(np.float64)
    sums = {name: cluster_sums(a.cluster, left[name] - right[name]) for name in names}
    drawn = resampled({"size": sizes, **sums}, resamples, seed)
    chances = _randomised(np.stack(list(sums.values()), axis=1), resamples, seed)
    values = {name: float(sums[name].sum() / sizes.sum()) for name in names}
    spans = [with_digits(name, percentiles(values[name], drawn[name] / drawn["size"], level)) for name in names]
    return {name: Difference(span, float(p)) for name, span, p in zip(names, spans, chances, strict=True)}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number (Holm, 1979): below 5% after it, the whole family errs in at most 5% of cases."""
    corrected, worst = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = worst
    return {name: corrected[name] for name in p_values}


def against_best(
    runs: Mapping[str, Ranks], metric: str = "hits@1", resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Standing]:
    """Compare every run with the best by `metric`; the first of equals is the best. Best first in the result.

    The best is chosen by the same data, so the differences to it lean a little to its favour.
    """
    cut = [int(metric.partition("@")[2])] if "@" in metric else [1]
    values = {name: float(_values(ranks, metric, cut).mean()) for name, ranks in runs.items()}
    sign = 1 if metric == "mean_rank" else -1
    order = sorted(values, key=lambda name: sign * values[name])
    differences = {name: compare(runs[name], runs[order[0]], cut, resamples, seed)[metric] for name in order}
    corrected = holm({name: differences[name].p for name in order[1:]})
    return {name: Standing(values[name], differences[name], corrected.get(name, 1.0)) for name in order}


def _values(ranks: Ranks, metric: str, cut: list[int]) -> Doubles:
    values = per_query(ranks, cut)
    if metric not in values:
        raise ConfigError(f"metric={metric}: runs are compared by one of {', '.join(per_query(ranks))}")
    return values[metric]


def _in_order_of(a: Ranks, b: Ranks) -> Ranks:
    """The ranks of b with its queries in the order of a."""
    if a.gallery_size != b.gallery_size or a.direction != b.direction:
        sides = [f"{ranks.direction} over {ranks.gallery_size} items" for ranks in (a, b)]
        raise DataError(f"runs cannot be compared: one is {sides[0]}, the other {sides[1]}")
    if a.query_ids != b.query_ids:
        row_of = {query: i for i, query in enumerate(b.query_ids)}
        apart = set(a.query_ids) ^ row_of.keys()
        if apart:
            raise DataError(
                f"runs cannot be compared: {len(apart)} queries are in one alone, for example {_some(apart)}"
            )
        b = b.take(np.array([row_of[query] for query in a.query_ids], np.int64))
    same_clusters = len(set(zip(a.cluster, b.cluster, strict=True))) == len(set(a.cluster)) == len(set(b.cluster))
    if not same_clusters or not np.array_equal(a.relevant_counts, b.relevant_counts):
        raise DataError("runs cannot be compared: their qrels differ")
    return b


def _some(names: set[str]) -> str:
    return examples(sorted(names))


def _randomised(sums: Doubles, resamples: int, seed: int) -> Doubles:
    """Two-sided p of each column of `sums` [clusters, columns] under random signs of its rows; never 0."""
    sums = sums[(sums != 0).any(axis=1)]
    seen = np.abs(sums.sum(axis=0))
    slack = 1e-9 * np.abs(sums).sum(axis=0)  # outcomes that are equal but for rounding count as equal
    generator = np.random.Generator(np.random.SFC64([seed, 1]))
    wide = -(-len(sums) // 8)
    reached = np.zeros(sums.shape[1], np.int64)
    step = max(1, _CELLS // max(len(sums), 1))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        bits = np.frombuffer(generator.bytes(rows * wide), np.uint8).reshape(rows, wide)
        signs = 2.0 * np.unpackbits(bits, axis=1, count=len(sums)) - 1
        reached += (np.abs(signs @ sums) >= seen - slack).sum(axis=0)
    return np.asarray((reached + 1) / (resamples + 1), np.float64)
