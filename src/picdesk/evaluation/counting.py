"""Counting, in a block of scores, how many are not lower than a limit: the inner loop of every exact rank.

Comparisons give bytes of 0 and 1, which are added eight or more at a time while no byte can overflow.
"""

import numpy as np
from numpy.typing import NDArray

from picdesk.trec import Floats

Longs = NDArray[np.int64]
Scores = NDArray[np.float32]
_WIDTH = 2040  # bytes added in the eight lanes of a word: 255 words of ones before a lane overflows
_DEEP = 255  # rows of ones that one byte can count


def count_in_rows(scores: Scores, limit: Floats) -> Longs:
    """How many cells of each row of `scores` [rows, columns] are not lower than the row's limit [rows]."""
    total = np.zeros(len(scores), np.int64)
    for start in range(0, scores.shape[1], _WIDTH):
        part = scores[:, start : start + _WIDTH]
        flags = np.zeros((len(part), -(-part.shape[1] // 8) * 8), bool)
        np.greater_equal(part, limit[:, None], out=flags[:, : part.shape[1]])
        lanes = np.add.reduce(flags.view(np.uint64), axis=1)
        total += lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return total


def count_in_columns(scores: Scores, limits: Floats) -> Longs:
    """How many cells of each column are not lower than each of its limits [limits, columns]; infinity asks nothing."""
    total = np.zeros(limits.shape, np.int64)
    asked = [np.flatnonzero(limit < np.inf) for limit in limits]
    for start in range(0, len(scores), _DEEP):
        part = scores[start : start + _DEEP]
        for limit, count, columns in zip(limits, total, asked, strict=True):
            if 2 * len(columns) > part.shape[1]:
                count += np.add.reduce((part >= limit).view(np.uint8), axis=0, dtype=np.uint8)
            elif len(columns):
                flags = part[:, columns] >= limit[columns]
                count[columns] += np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8)
    return total


def count_of_pairs(scores: Scores, row: Longs, limit: Floats) -> Longs:
    """How many cells of `row[i]` are not lower than `limit[i]`, for ascending rows that may stand more than once."""
    level = np.empty(len(row), np.int64)
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    for n in range(int(nth.max(initial=-1)) + 1):
        which = np.flatnonzero(nth == n)
        part = scores if len(which) == len(scores) else scores[row[which]]
        level[which] = count_in_rows(part, limit[which])
    return level
