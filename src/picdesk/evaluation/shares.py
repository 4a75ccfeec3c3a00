"""Intervals of hits@1 over parts of the queries."""

from collections.abc import Sequence

import numpy as np

from picdesk.evaluation.ranks import Flags, Ranks
from picdesk.evaluation.statistics import RESAMPLES, Interval, cluster_sums, percentiles, resample_sums, wilson


def sliced_hits(
    ranks: Ranks, parts: Sequence[Flags], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> list[Interval]:
    """hits@1 over each part of the queries, masks [queries] that are not empty, with its interval.

    A part with one query a picture at most has Wilson's interval; the others share one bootstrap over the pictures. Where all
    queries of a part are right, or all wrong, it is that of its pictures (`statistics.percentiles`).
    """
    hit = (ranks.first <= 1).astype(np.float64)
    sizes = [cluster_sums(ranks.cluster, part.astype(np.float64)) for part in parts]
    hits = [cluster_sums(ranks.cluster, part * hit) for part in parts]
    single = [bool(size.max() <= 1) for size in sizes]
    columns = {
        f"{kind}{i}": sums[i] for i in range(len(parts)) if not single[i] for kind, sums in (("n", sizes), ("h", hits))
    }
    drawn = resample_sums(columns, resamples, seed) if columns else {}
    found = []
    for i, (size, won) in enumerate(zip(sizes, hits, strict=True)):
        if single[i]:
            found.append(wilson(float(won.sum()), int(size.sum()), level))
            continue
        there = drawn[f"n{i}"] > 0
        shares = drawn[f"h{i}"][there] / drawn[f"n{i}"][there]
        found.append(percentiles(float(won.sum() / size.sum()), shares, level, int((size > 0).sum()), (0.0, 1.0)))
    return found
