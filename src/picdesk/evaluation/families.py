"""Many comparisons on the same pictures, with one error of 5% for all of them together.

Random signs: were two systems alike, swapping their values for a picture would change nothing, so the sign of their difference
there is a coin. ONE coin a picture is tossed for all comparisons, which keeps what they have in common. Each comparison is
divided by its own spread, and the largest of them, over all that are not yet settled, is what a comparison is measured
against: step-down maxT (Westfall and Young, "Resampling-Based Multiple Testing", 1993, algorithm 2.8; Romano and Wolf,
Econometrica 2005). Where all pairs of a board are compared, no row is chosen by the data that judges it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Longs
from picdesk.products import quick_product

_SIGNS = 1 << 22
_CELLS = 1 << 20
_MOST = 1 << 31
_FEWEST = 999


def random_signs(clusters: int, resamples: int, seed: int) -> Iterator[Doubles]:
    """Blocks [some resamples, clusters] of +1 and -1, by the toss of a coin; memory does not grow with `resamples`."""
    generator = np.random.Generator(np.random.SFC64([seed, 1]))
    wide = -(-clusters // 8)
    step = max(1, _SIGNS // max(clusters, 1))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        bits = np.frombuffer(generator.bytes(rows * wide), np.uint8).reshape(rows, wide)
        yield np.unpackbits(bits, axis=1, count=clusters).astype(np.float64) * 2 - 1


def family_p(sums: Doubles, pairs: Longs, resamples: int, seed: int) -> Doubles:
    """p of each difference of two columns, two-sided, corrected for all of them [pairs]; never 0.

    `sums` [clusters, columns] holds what each picture adds to each column, `pairs` [pairs, 2] names the columns that are
    compared; a difference that is 0 for every picture has p = 1. Very many pairs have fewer resamples, 999 at least.
    """
    sums = sums - sums[:, :1]  # only differences count, and where all columns are equal a picture says nothing
    sums = sums[(sums != 0).any(axis=1)]
    ratio, spread = _standardise(sums, pairs)
    told = np.flatnonzero(spread > 0)
    told = told[np.argsort(ratio[told], kind="stable")]  # the smallest first, so that what is larger comes after it
    result = np.ones(len(pairs))
    if len(told):
        rounds = min(resamples, max(_FEWEST, _MOST // len(told)))
        reached = _count_reached(sums, pairs[told], ratio[told], spread[told], rounds, seed)
        steps = (reached + 1) / (rounds + 1)
        result[told] = np.maximum.accumulate(steps[::-1])[::-1]
    return result


def _standardise(sums: Doubles, pairs: Longs) -> tuple[Doubles, Doubles]:
    """Each difference in units of its own spread, and that spread: the root of the sum of squares, which signs do not change."""
    ratio, spread = np.zeros(len(pairs)), np.zeros(len(pairs))
    step = max(1, _CELLS // max(len(sums), 1))
    for start in range(0, len(pairs), step):
        part = slice(start, start + step)
        apart = sums[:, pairs[part, 0]] - sums[:, pairs[part, 1]]
        spread[part] = np.sqrt((apart**2).sum(axis=0))
        ratio[part] = np.abs(apart.sum(axis=0)) / np.where(spread[part] > 0, spread[part], 1)
    return ratio, spread


def _count_reached(
    sums: Doubles, pairs: Longs, ratio: Doubles, spread: Doubles, resamples: int, seed: int
) -> NDArray[np.int64]:
    """How often the largest of a pair and all pairs before it, under random signs, is no smaller than the pair's own ratio."""
    reached = np.zeros(len(pairs), np.int64)
    step = max(1, _CELLS // len(pairs))
    for signs in random_signs(len(sums), resamples, seed):
        totals = np.ascontiguousarray(quick_product(signs, sums.T).T)
        for start in range(0, totals.shape[1], step):
            part = totals[:, start : start + step]
            drawn = np.abs(part[pairs[:, 0]] - part[pairs[:, 1]]) / spread[:, None]
            np.maximum.accumulate(drawn, axis=0, out=drawn)
            reached += (drawn >= (ratio * (1 - 1e-9))[:, None]).sum(axis=1)
    return reached


def all_pairs_p(boards: Sequence[Doubles], resamples: int, seed: int) -> list[Doubles]:
    """p of every pair of columns of every board [columns, columns], corrected for all pairs of all boards.

    A board is [clusters, systems]: what each picture adds to each system. The rows of all boards are the same pictures.
    """
    starts = np.cumsum([0, *(board.shape[1] for board in boards)])
    halves = [np.stack(np.triu_indices(board.shape[1], 1), axis=1) for board in boards]
    pairs = np.concatenate([half + start for half, start in zip(halves, starts, strict=False)])
    p_values = family_p(np.concatenate(boards, axis=1), pairs, resamples, seed)
    tables = []
    for board, half, own in zip(
        boards, halves, np.split(p_values, np.cumsum([len(h) for h in halves])[:-1]), strict=True
    ):
        table = np.ones((board.shape[1], board.shape[1]))
        table[half[:, 0], half[:, 1]] = table[half[:, 1], half[:, 0]] = own
        tables.append(table)
    return tables
