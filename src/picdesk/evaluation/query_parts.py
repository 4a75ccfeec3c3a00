"""Is a part of the queries easier or harder than the rest? All parts of one slicing together, with one error of 5%.

A picture may have queries in several parts (its captions in several languages), so pictures are drawn, with all their queries,
and the differences between each part and the rest are taken over each draw. Each is divided by its own spread; a difference is
measured against the largest of all of them, centred (single-step maxT; Romano and Wolf, Econometrica 2005, section 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Flags, Ranks
from picdesk.evaluation.statistics import RESAMPLES, Interval, cluster_sums, percentiles, resample_sums


@dataclass(frozen=True)
class Rest:
    """hits@1 of a part less that of all other queries, with its interval, and p, corrected for all parts of the slicing."""

    interval: Interval
    p_family: float


def against_rest(
    ranks: Ranks, parts: Sequence[Flags], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> list[Rest | None]:
    """Each part [queries] against the rest; None for a part that is all, or none, of the queries."""
    hit = (ranks.first <= 1).astype(np.float64)
    tested = [i for i, part in enumerate(parts) if part.any() and not part.all()]
    columns = {"n": cluster_sums(ranks.cluster, np.ones(len(hit))), "h": cluster_sums(ranks.cluster, hit)}
    for i in tested:
        own = parts[i].astype(np.float64)
        columns |= {f"n{i}": cluster_sums(ranks.cluster, own), f"h{i}": cluster_sums(ranks.cluster, own * hit)}
    found: list[Rest | None] = [None] * len(parts)
    if not tested:
        return found
    drawn, count = resample_sums(columns, resamples, seed), len(columns["n"])
    seen = np.array([_share_difference(*(columns[key].sum(keepdims=True) for key in _keys(i)))[0] for i in tested])
    each = np.stack([_share_difference(*(drawn[key] for key in _keys(i))) for i in tested], axis=1)
    usable = np.isfinite(each).all(axis=1)
    each = each[usable] if usable.any() else np.broadcast_to(seen, (1, len(seen)))
    spread = each.std(axis=0)
    told = spread > 1e-12
    steps = np.abs(each - seen)[:, told] / spread[told]
    largest = steps.max(axis=1) if told.any() else np.zeros(len(each))
    for place, i in enumerate(tested):
        p = 1.0
        if told[place]:
            reached = (largest >= abs(seen[place]) / spread[place] * (1 - 1e-9)).sum()
            p = float((reached + 1) / (len(largest) + 1))
        found[i] = Rest(percentiles(float(seen[place]), each[:, place], level, count, (-1.0, 1.0)), p)
    return found


def _keys(part: int) -> tuple[str, str, str, str]:
    return "n", "h", f"n{part}", f"h{part}"


def _share_difference(n: Doubles, h: Doubles, n_part: Doubles, h_part: Doubles) -> Doubles:
    """Share of a part less that of the rest; not a number where a draw has none of one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(h_part, n_part) - np.divide(h - h_part, n - n_part))
