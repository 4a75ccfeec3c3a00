"""Is one run better than another? Paired tests on the same queries, picture by picture.

The randomisation test swaps the two runs' values for all queries of a picture at once, or not, by the toss of a coin (Fisher;
Smucker, Allan and Carterette, CIKM 2007): were the runs alike, every outcome would be as likely as the one that was seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from picdesk.errors import DataError, examples
from picdesk.evaluation.families import all_pairs_p, family_p, random_signs
from picdesk.evaluation.metrics import KS, NAMES, Doubles, per_query, value_of
from picdesk.evaluation.ranks import PARTLY, Longs, Ranks, same_answers
from picdesk.evaluation.statistics import (
    RESAMPLES,
    Interval,
    apart_ends,
    cluster_sums,
    percentiles,
    resample_sums,
    with_digits,
)
from picdesk.interfaces import Direction
from picdesk.measures.listing import is_rank
from picdesk.products import quick_product

Compared = tuple[str, str]
"""A direction, or "both", and the name of a metric."""


@dataclass(frozen=True)
class Difference:
    """A metric of run a less that of run b, its 95% interval (paired bootstrap), and p (paired randomisation, two-sided).

    Interval and `p` are right for this one comparison by itself; `p_family` is corrected for all that were made with it.
    """

    interval: Interval
    p: float
    p_family: float


@dataclass(frozen=True)
class Standing:
    """One row of a board: its value, its difference to the best row, and p, corrected for all pairs of rows (1 for the best)."""

    value: float
    to_best: float
    p_family: float

    @property
    def differs(self) -> bool:
        """Whether the row really differs from the best: on a board of equal rows, any is called so in 5% of boards."""
        return self.p_family < 0.05


def compare(
    a: Ranks,
    b: Ranks,
    ks: Sequence[int] = KS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    names: Sequence[str] = NAMES,
) -> dict[str, Difference]:
    """Differences a - b of every chosen metric that is a mean over queries. Negative mean_rank means that a is better.

    `p_family` is corrected for these metrics. Raises `DataError` unless both runs answer the same queries, about the same
    pictures, over galleries of one size.
    """
    return compare_all({a.direction: (a, b)}, {}, ks, resamples, seed, level, names)[a.direction]


def compare_all(
    sides: Mapping[Direction, tuple[Ranks, Ranks]],
    pictures: Mapping[Direction, Sequence[str]],
    ks: Sequence[int] = KS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    names: Sequence[str] = NAMES,
) -> dict[Direction, dict[str, Difference]]:
    """`compare` for every direction, with one family of all metrics and directions.

    `pictures` says which picture each query of the first run is about, so that a picture is swapped in both directions at
    once; where it is not given, a direction's clusters are taken for pictures of its own.
    """
    found, columns = differences_alone(sides, pictures, ks, resamples, seed, level, names)
    together = in_one_family(found, columns, resamples, seed)
    return {direction: {name: one for (own, name), one in together.items() if own == direction} for direction in sides}


def differences_alone(
    sides: Mapping[Direction, tuple[Ranks, Ranks]],
    pictures: Mapping[Direction, Sequence[str]],
    ks: Sequence[int],
    resamples: int,
    seed: int,
    level: float,
    names: Sequence[str],
) -> tuple[dict[Compared, Difference], dict[Compared, Doubles]]:
    """Every difference of `compare_all` by itself, and what each picture adds to it [pictures], for a family of them."""
    paired = {direction: (a, in_order_of(a, b)) for direction, (a, b) in sides.items()}
    number = dict(zip(paired, number_names([_pictures(pictures, a) for a, _ in paired.values()]), strict=True))
    found: dict[Compared, Difference] = {}
    columns: dict[Compared, Doubles] = {}
    for direction, (a, b) in paired.items():
        apart = _paired_differences(a, b, ks, names)
        found |= {(direction, name): one for name, one in _differences(a, apart, resamples, seed, level).items()}
        columns |= {(direction, name): cluster_sums(number[direction], value) for name, value in apart.items()}
    return found, columns


def in_one_family(
    found: Mapping[Compared, Difference], columns: Mapping[Compared, Doubles], resamples: int, seed: int
) -> dict[Compared, Difference]:
    """The differences with `p_family` corrected for all of them; `columns` [pictures] are what each picture adds to each."""
    if not found:
        return {}
    many = max(map(len, columns.values()))
    sums = np.stack([np.zeros(many), *(_fill_up(columns[key], many) for key in found)], axis=1)
    pairs = np.stack([np.arange(1, sums.shape[1]), np.zeros(sums.shape[1] - 1, np.int64)], axis=1)
    p_values = family_p(sums, pairs, resamples, seed)
    return {
        key: replace(one, p_family=max(float(p), one.p)) for (key, one), p in zip(found.items(), p_values, strict=True)
    }


def against_best(
    runs: Mapping[str, Ranks], metric: str = "hits@1", resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Standing]:
    """Compare every run with the best by `metric`; the first of equals is the best. Best first in the result.

    The same data chose the best, so the family is every pair of runs: whichever row is on top, its pairs are among them.
    The differences to it lean a little to its favour all the same.
    """
    first = next(iter(runs.values()))
    aligned = {name: in_order_of(first, ranks) for name, ranks in runs.items()}
    sign = 1 if is_rank(metric) else -1
    order = sorted(aligned, key=lambda name: sign * value_of(aligned[name], metric).mean())
    board = {name: aligned[name] for name in order}
    return stand_to_first({first.direction: board}, {}, metric, resamples, seed)[first.direction]


def stand_to_first(
    boards: Mapping[Direction, Mapping[str, Ranks]],
    pictures: Mapping[Direction, Sequence[str]],
    metric: str = "hits@1",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Direction, dict[str, Standing]]:
    """How every row of each direction's board stands to its first row; one family of all pairs of rows in all directions.

    The rows of a board have their queries in one order (`in_order_of`); `pictures` is as for `compare_all`.
    """
    asked = [_pictures(pictures, next(iter(rows.values()))) for rows in boards.values()]
    number = dict(zip(boards, number_names(asked), strict=True))
    values = {d: {name: value_of(ranks, metric) for name, ranks in rows.items()} for d, rows in boards.items()}
    many = 1 + max(int(own.max()) for own in number.values())
    sums = [
        np.stack([_fill_up(cluster_sums(number[d], value), many) for value in rows.values()], axis=1)
        for d, rows in values.items()
    ]
    found: dict[Direction, dict[str, Standing]] = {}
    for (direction, rows), p_values in zip(values.items(), all_pairs_p(sums, resamples, seed), strict=True):
        means = [float(value.mean()) for value in rows.values()]
        told = zip(rows, means, p_values[0].tolist(), strict=True)
        found[direction] = {name: Standing(mean, mean - means[0], p) for name, mean, p in told}
    return found


def _pictures(pictures: Mapping[Direction, Sequence[str]], ranks: Ranks) -> Sequence[str]:
    """The picture of each query, or a name for its cluster where that is not given."""
    return pictures.get(ranks.direction) or [f"{ranks.direction} {cluster}" for cluster in ranks.cluster]


def number_names(names: Sequence[Sequence[str]]) -> list[Longs]:
    """Names as numbers, a list for each of these, the same name the same number in all of them."""
    flat = [name for own in names for name in own]
    number = np.unique(np.array(flat, object), return_inverse=True)[1].astype(np.int64)
    return np.split(number, np.cumsum([len(own) for own in names])[:-1])


def _fill_up(column: Doubles, size: int) -> Doubles:
    return np.concatenate([column, np.zeros(size - len(column))])


def _paired_differences(a: Ranks, b: Ranks, ks: Sequence[int], names: Sequence[str]) -> dict[str, Doubles]:
    """a - b for each query [queries], for every metric that both have."""
    left, right = per_query(a, ks, names), per_query(b, ks, names)
    return {name: left[name] - right[name] for name in left if name in right}


def _differences(
    a: Ranks, apart: Mapping[str, Doubles], resamples: int, seed: int, level: float
) -> dict[str, Difference]:
    """Each difference by itself: bootstrap of pictures, and the randomisation test."""
    sizes = np.bincount(a.cluster).astype(np.float64)
    sums = {name: cluster_sums(a.cluster, value) for name, value in apart.items()}
    drawn = resample_sums({"size": sizes, **sums}, resamples, seed)
    chances = _randomisation_p(np.stack(list(sums.values()), axis=1), resamples, seed)
    values = {name: float(sums[name].sum() / sizes.sum()) for name in sums}
    spans = [
        with_digits(
            name, percentiles(values[name], drawn[name] / drawn["size"], level, len(sizes), apart_ends(name, a))
        )
        for name in sums
    ]
    return {name: Difference(span, float(p), float(p)) for name, span, p in zip(sums, spans, chances, strict=True)}


def in_order_of(a: Ranks, b: Ranks) -> Ranks:
    """The ranks of b with its queries in the order of a. Raises `DataError` where the two cannot be compared."""
    if a.gallery_size != b.gallery_size or a.direction != b.direction:
        sides = [f"{ranks.direction} over {ranks.gallery_size} items" for ranks in (a, b)]
        raise DataError(f"runs cannot be compared: one is {sides[0]}, the other {sides[1]}; {PARTLY}")
    if a.query_ids != b.query_ids:
        row_of = {query: i for i, query in enumerate(b.query_ids)}
        apart = set(a.query_ids) ^ row_of.keys()
        if apart:
            raise DataError(
                f"runs cannot be compared: {len(apart)} queries are in one alone, for example {_some(apart)}"
            )
        b = b.take(np.array([row_of[query] for query in a.query_ids], np.int64))
    named = {*a.gallery, *b.gallery} if a.gallery != b.gallery else ()
    if len(named) > a.gallery_size:
        other = set(a.gallery) ^ set(b.gallery)
        raise DataError(
            f"runs cannot be compared: other galleries of {a.gallery_size} items each: {len(other)} are named by one alone, "
            f"for example {_some(other)}; {PARTLY}"
        )
    clusters = len(set(zip(a.cluster, b.cluster, strict=True))), len(set(a.cluster)), len(set(b.cluster))
    if not same_answers(a, b) or (a.answers is None and len(set(clusters)) > 1):
        raise DataError(
            "runs cannot be compared: their qrels differ, so an answer that is right in one is wrong in the other"
        )
    return b


def _some(names: set[str]) -> str:
    return examples(sorted(names))


def _randomisation_p(sums: Doubles, resamples: int, seed: int) -> Doubles:
    """Two-sided p of each column of `sums` [clusters, columns] under random signs of its rows; never 0."""
    sums = sums[(sums != 0).any(axis=1)]
    seen = np.abs(sums.sum(axis=0))
    slack = 1e-9 * np.abs(sums).sum(axis=0)  # outcomes that are equal but for rounding count as equal
    reached = np.zeros(sums.shape[1], np.int64)
    for signs in random_signs(len(sums), resamples, seed):
        reached += (np.abs(quick_product(signs, sums.T)) >= seen - slack).sum(axis=0)
    return np.asarray((reached + 1) / (resamples + 1), np.float64)
