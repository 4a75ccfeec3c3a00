"""Intervals of hits@1 over parts of the queries, and of its mean over both directions."""

from collections.abc import Sequence

import numpy as np

from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Flags, Ranks
from picdesk.evaluation.statistics import RESAMPLES, Interval, cluster_sums, percentiles, resampled, wilson


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
    drawn = resampled(columns, resamples, seed) if columns else {}
    found = []
    for i, (size, won) in enumerate(zip(sizes, hits, strict=True)):
        if single[i]:
            found.append(wilson(float(won.sum()), int(size.sum()), level))
            continue
        there = drawn[f"n{i}"] > 0
        shares = drawn[f"h{i}"][there] / drawn[f"n{i}"][there]
        found.append(percentiles(float(won.sum() / size.sum()), shares, level, int((size > 0).sum()), (0.0, 1.0)))
    return found


def mean_of_both(
    directions: Sequence[tuple[Ranks, Sequence[str]]], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Interval:
    """The mean of hits@1 over the directions; with each direction's ranks, the picture of each query (its id).

    What is drawn is the picture with all its queries of every direction, as the two directions are not independent.
    """
    names = [name for _, pictures in directions for name in pictures]
    number = np.unique(np.array(names), return_inverse=True)[1]
    many = int(number.max()) + 1
    columns: dict[str, Doubles] = {}
    start = 0
    for i, (ranks, pictures) in enumerate(directions):
        cluster = number[start : start + len(pictures)]
        start += len(pictures)
        columns[f"n{i}"] = np.bincount(cluster, minlength=many).astype(np.float64)
        columns[f"h{i}"] = np.bincount(cluster, ranks.first <= 1, many).astype(np.float64)
    both = range(len(directions))
    drawn = resampled(columns, resamples, seed)
    shares = np.stack([drawn[f"h{i}"] / np.maximum(drawn[f"n{i}"], 1) for i in both])
    mean = float(np.mean([columns[f"h{i}"].sum() / columns[f"n{i}"].sum() for i in both]))
    return percentiles(mean, shares.mean(axis=0), level, many, (0.0, 1.0))
