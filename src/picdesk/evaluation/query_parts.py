"""Is a part of the queries easier or harder than the rest? All parts of one slicing together, with one error of 5%.

p is by permutation: were a part like the rest, every way to give the parts to pictures with as many queries, and to the queries
of one picture, would be as likely as the one that was seen. Each part's hits are measured by their own spread over those ways,
against the largest of all parts (single-step maxT; Westfall and Young, "Resampling-based multiple testing", 1993, section 2.3).
A bootstrap would take its spread out of the part itself, which has none where the part has no hit.

The interval of a difference is put together out of Wilson's intervals of both shares (Newcombe, "Interval estimation for the
difference between independent proportions", 1998, method 10; Zou and Donner, 2008, for shares of the same pictures), each of as
many independent queries as the likeness within pictures leaves (Kish's design effect).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Flags, Longs, Ranks
from picdesk.evaluation.statistics import RESAMPLES, Interval, wilson

MOST_PLACES = 10_000_000
"""Queries times permutations, where each is drawn; there are 999 permutations at least."""
_CELLS = 1 << 21


@dataclass(frozen=True)
class Rest:
    """hits@1 of a part less that of all other queries, with its interval, and p, corrected for all parts of the slicing."""

    interval: Interval
    p_family: float


def against_rest(
    ranks: Ranks, parts: Sequence[Flags], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> list[Rest | None]:
    """Each part [queries] against the rest; None for a part that is all, or none, of them. A query is in one part at most."""
    hit = ranks.first <= 1
    tested = [i for i, part in enumerate(parts) if part.any() and not part.all()]
    label = np.zeros(len(hit), np.int64)
    for number, i in enumerate(tested, 1):
        label[parts[i]] = number
    found: list[Rest | None] = [None] * len(parts)
    chances = _family_p(ranks.cluster, label, hit, len(tested), resamples, seed)
    for number, i in enumerate(tested, 1):
        found[i] = Rest(_difference(ranks.cluster, label == number, hit, level), chances[number - 1])
    return found


def _family_p(cluster: Longs, label: Longs, hit: Flags, parts: int, resamples: int, seed: int) -> list[float]:
    """p of each part, corrected for all of them; never 0."""
    if not parts:
        return []
    seen = np.bincount(label, hit, minlength=parts + 1)[1:]
    rng = np.random.Generator(np.random.SFC64(seed))
    single = len(np.unique(cluster)) == len(cluster)
    drawn = _dealt(label, hit, resamples, rng) if single else _permuted(cluster, label, hit, resamples, rng)
    drawn = drawn[:, 1:]
    middle, spread = drawn.mean(axis=0), drawn.std(axis=0)
    told = spread > 1e-9
    if not told.any():
        return [1.0] * parts
    largest = (np.abs(drawn - middle)[:, told] / spread[told]).max(axis=1)
    steps = np.abs(seen - middle) / np.where(told, spread, 1.0)
    reached = [(largest >= step * (1 - 1e-9)).sum() for step in steps]
    return [float((n + 1) / (len(drawn) + 1)) if one else 1.0 for n, one in zip(reached, told, strict=True)]


def _dealt(label: Longs, hit: Flags, resamples: int, rng: np.random.Generator) -> Doubles:
    """Hits of each label [resamples, labels], where pictures have one query each: cards that are dealt out."""
    sizes = np.bincount(label)
    return rng.multivariate_hypergeometric(sizes, int(hit.sum()), size=resamples).astype(np.float64)


def _permuted(cluster: Longs, label: Longs, hit: Flags, resamples: int, rng: np.random.Generator) -> Doubles:
    """The same for any pictures: those with as many queries change places, then the queries within a picture do."""
    resamples = min(resamples, max(999, MOST_PLACES // len(hit)))
    total = np.zeros((resamples, int(label.max()) + 1))
    for labels, hits in _by_size(cluster, label, hit):
        pictures, each = labels.shape
        mixed = bool((labels != labels[:, :1]).any())
        place = np.eye(total.shape[1], dtype=np.float32)[labels if mixed else labels[:, 0]]
        place = place.reshape(-1, total.shape[1])
        step = max(1, _CELLS // labels.size)
        for start in range(0, resamples, step):
            many = min(step, resamples - start)
            order = rng.permuted(np.broadcast_to(np.arange(pictures, dtype=np.int32), (many, pictures)), axis=1)
            if mixed:
                moved = rng.permuted(hits[order], axis=2).reshape(many, pictures * each)
            else:
                moved = hits.sum(axis=1, dtype=np.int16)[order]
            total[start : start + many] += moved.astype(np.float32) @ place
    return total


def _by_size(cluster: Longs, label: Longs, hit: Flags) -> Iterator[tuple[Longs, Flags]]:
    """Labels and hits [pictures, queries each] of the pictures with as many queries."""
    order = np.argsort(cluster, kind="stable")
    sizes = np.bincount(cluster)
    own = sizes[cluster[order]]
    for size in np.unique(own):
        rows = order[own == size].reshape(-1, size)
        yield label[rows], hit[rows]


def _difference(cluster: Longs, part: Flags, hit: Flags, level: float) -> Interval:
    """The share of hits in a part less that in the rest."""
    if len(np.unique(cluster)) < 2:  # of pictures, one says nothing
        return Interval(float(hit[part].mean() - hit[~part].mean()), -1.0, 1.0)
    alike = _likeness(cluster, hit)
    inside, outside = (np.bincount(cluster, side).astype(np.float64) for side in (part, ~part))
    shares, counted = [], []
    for side, own in ((part, inside), (~part, outside)):
        effect = 1 + (float((own**2).sum() / own.sum()) - 1) * alike
        shares.append(float(hit[side].mean()))
        counted.append(float(own.sum()) / effect)
    first, second = (wilson(share * count, count, level) for share, count in zip(shares, counted, strict=True))
    together = alike * float((inside * outside).sum() / (inside.sum() * outside.sum())) * math.sqrt(math.prod(counted))
    value = shares[0] - shares[1]
    low = _reach(shares[0] - first.low, second.high - shares[1], together)
    high = _reach(first.high - shares[0], shares[1] - second.low, together)
    return Interval(value, max(-1.0, value - low), min(1.0, value + high))


def _reach(one: float, other: float, together: float) -> float:
    """The length of two errors put together, of which the shares go `together` (their correlation)."""
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * together * one * other))


def _likeness(cluster: Longs, hit: Flags) -> float:
    """How alike the queries of a picture are, from 0 to 1: the intraclass correlation of their hits (analysis of variance).

    Where all queries hit, or none does, it cannot be told, and is taken to be 1.
    """
    sizes, hits = np.bincount(cluster).astype(np.float64), np.bincount(cluster, hit)
    count, pictures = float(sizes.sum()), len(sizes)
    if pictures == count:
        return 0.0
    share = float(hit.mean())
    within = float((hits - hits**2 / sizes).sum()) / (count - pictures)
    between = float((sizes * (hits / sizes - share) ** 2).sum()) / max(1, pictures - 1)
    each = (count - float((sizes**2).sum()) / count) / max(1, pictures - 1)
    whole = between + (each - 1) * within
    return 1.0 if whole <= 0 else min(1.0, max(0.0, (between - within) / whole))
