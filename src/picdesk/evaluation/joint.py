"""Metrics over both directions (RSUM, mean recall, the mean of hits@1): value, interval and paired test, picture by picture.

The two directions are not independent, so what is drawn, and what is swapped, is a picture with all its queries of every
direction.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from picdesk.evaluation.families import family_p
from picdesk.evaluation.metrics import Doubles, known_value, value_of
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.significance import (
    Compared,
    Difference,
    differences_alone,
    in_one_family,
    in_order_of,
    number_names,
)
from picdesk.evaluation.statistics import RESAMPLES, Interval, intervals, percentiles, resample_sums
from picdesk.interfaces import Direction
from picdesk.measures.listing import JOINTS, Joint, measure_of

Asked = Sequence[tuple[Ranks, Sequence[str]]]
"""For each direction its ranks, and which picture each query is about (its id)."""
Paired = Sequence[tuple[Ranks, Ranks, Sequence[str]]]
"""For each direction the ranks of two runs, and which picture each query of the first is about."""
Terms = Mapping[str, float]
BOTH = "both"


def joint_terms(
    names: Sequence[str], ks: Sequence[int], directions: int, scored: Sequence[Ranks]
) -> dict[str, tuple[Joint, Terms]]:
    """The joint metrics among these names that so many directions have, by key, with the terms of their sums.

    Left out is what lists that are cut do not tell in one of the `scored` ranks.
    """
    found: dict[str, tuple[Joint, Terms]] = {}
    for name, joint in JOINTS.items():
        if name in names and directions >= joint.needs:
            for key, k in zip(joint.keys(ks), ks if joint.cut else (0,), strict=True):
                terms = joint.terms(k, directions)
                if all(known_value(ranks, term) is not None for ranks in scored for term in terms):
                    found[key] = (joint, terms)
    return found


def joint_intervals(
    directions: Asked,
    names: Sequence[str],
    ks: Sequence[int],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Value and interval of every joint metric among the names that is known, by key."""
    return {
        key: interval_of(directions, terms, joint.most, resamples, seed, level, joint.digits)
        for key, (joint, terms) in joint_terms(names, ks, len(directions), [own for own, _ in directions]).items()
    }


def interval_of(
    directions: Asked,
    terms: Terms,
    most: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    digits: int = 3,
) -> Interval:
    """The sum over the directions of the weighted means over queries, with its interval; it lies between 0 and `most`.

    What is one metric of the one direction there is has the interval of that metric.
    """
    alone = _of_one_metric(directions, terms, resamples, seed, level)
    if alone is not None:
        return alone
    number = number_names([pictures for _, pictures in directions])
    columns: dict[str, Doubles] = {}
    for i, ((ranks, _), own) in enumerate(zip(directions, number, strict=True)):
        many = 1 + max(int(each.max()) for each in number)
        columns[f"n{i}"] = np.bincount(own, minlength=many).astype(np.float64)
        columns[f"s{i}"] = np.bincount(own, _weigh(ranks, terms), many).astype(np.float64)
    value = float(sum(columns[f"s{i}"].sum() / columns[f"n{i}"].sum() for i in range(len(directions))))
    drawn = resample_sums(columns, resamples, seed)
    each = [drawn[f"s{i}"] / np.maximum(drawn[f"n{i}"], 1) for i in range(len(directions))]
    found = percentiles(value, np.sum(each, axis=0), level, len(columns["n0"]), (0.0, most))
    return Interval(found.value, found.low, found.high, digits)


def _of_one_metric(directions: Asked, terms: Terms, resamples: int, seed: int, level: float) -> Interval | None:
    """The interval of the metric that the terms are, where that is all there is; None otherwise."""
    if len(directions) != 1 or list(terms.values()) != [1.0]:
        return None
    key = next(iter(terms))
    measure, k = measure_of(key)
    return intervals(directions[0][0], [k or 1], resamples, seed, level, [measure.name]).get(key)


def mean_of_both(directions: Asked, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95) -> Interval:
    """The mean of hits@1 over the directions there are."""
    return interval_of(directions, {"hits@1": 1 / len(directions)}, 1.0, resamples, seed, level)


def compare_whole(
    sides: Paired,
    names: Sequence[str],
    ks: Sequence[int],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[dict[Direction, dict[str, Difference]], dict[str, Difference]]:
    """The first run less the second: by direction as `compare_all` has it, and in the joint metrics among the names that both
    tell; one family of all of them."""
    paired = {a.direction: (a, b) for a, b, _ in sides}
    about = {a.direction: pictures for a, _, pictures in sides}
    apart, columns = differences_alone(paired, about, ks, resamples, seed, level, names)
    joint, of_joint = _joint_alone(sides, names, ks, resamples, seed, level)
    found = in_one_family(apart | joint, columns | of_joint, resamples, seed)
    separate = {d: {name: found[d, name] for own, name in apart if own == d} for d in paired}
    return separate, {name: found[BOTH, name] for _, name in joint}


def _joint_alone(
    sides: Paired, names: Sequence[str], ks: Sequence[int], resamples: int, seed: int, level: float
) -> tuple[dict[Compared, Difference], dict[Compared, Doubles]]:
    """Every joint difference by itself, and what each picture adds to it [pictures]."""
    chosen = joint_terms(names, ks, len(sides), [ranks for a, b, _ in sides for ranks in (a, b)])
    number = number_names([pictures for _, _, pictures in sides])
    others = [in_order_of(a, b) for a, b, _ in sides]
    many = 1 + max(int(own.max()) for own in number)
    found: dict[Compared, Difference] = {}
    sums: dict[Compared, Doubles] = {}
    for key, (joint, terms) in chosen.items():
        columns: dict[str, Doubles] = {}
        total = np.zeros(many)
        for i, ((a, _, _), b, own) in enumerate(zip(sides, others, number, strict=True)):
            apart = np.bincount(own, _weigh(a, terms) - _weigh(b, terms), many).astype(np.float64)
            columns |= {f"n{i}": np.bincount(own, minlength=many).astype(np.float64), f"s{i}": apart}
            total += apart / len(own)
        drawn = resample_sums(columns, resamples, seed)
        each = [drawn[f"s{i}"] / np.maximum(drawn[f"n{i}"], 1) for i in range(len(sides))]
        span = percentiles(float(total.sum()), np.sum(each, axis=0), level, many, (-joint.most, joint.most))
        p = float(family_p(np.stack([total, np.zeros(many)], axis=1), np.array([[0, 1]]), resamples, seed)[0])
        found[BOTH, key] = Difference(Interval(span.value, span.low, span.high, joint.digits), p, p)
        sums[BOTH, key] = total
    return found, sums


def _weigh(ranks: Ranks, terms: Terms) -> Doubles:
    """What each query adds [queries], before its direction is divided by their number."""
    total = np.zeros(len(ranks.query_ids))
    for key, weight in terms.items():
        total += weight * value_of(ranks, key)
    return total
