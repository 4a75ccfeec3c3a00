"""Counting, in a block of scores, how many are not lower than a limit: the inner loop of every exact rank.

Comparisons give bytes of 0 and 1, which are added eight or more at a time while no byte can overflow. Each limit comes as two:
what is not lower than `high` surely counts, what is lower than `low` surely does not, and the few between are named.
"""

import numpy as np
from numpy.typing import NDArray

from picdesk.trec.runs import Floats

Longs = NDArray[np.int64]
Scores = NDArray[np.float32]
_WIDTH = 2040  # bytes added in the eight lanes of a word: 255 words of ones before a lane overflows
_DEEP = 255  # rows of ones that one byte can count


def limits_of(own: Scores, near: np.float32) -> tuple[Scores, Scores]:
    """From where on a score that is known up to `near` may reach its limit, and from where on it surely does; as `own`."""
    return own - near, np.nextafter(own + near, np.float32(np.inf)) if near else own


def count_and_doubt(scores: Scores, low: Floats, high: Floats) -> tuple[Longs, Longs, Longs]:
    """How many cells of each column of `scores` surely count, and row and column of those in doubt; limits [columns]."""
    count, rows, columns = np.zeros(scores.shape[1], np.int64), [], []
    for start in range(0, len(scores), _DEEP):
        part = scores[start : start + _DEEP]
        sure = part >= high
        count += np.add.reduce(sure.view(np.uint8), axis=0, dtype=np.uint8)
        row, column = split(np.flatnonzero((part >= low) != sure), part.shape[1])
        rows.append(row + start)
        columns.append(column)
    return count, _join(rows), _join(columns)


def count_and_doubt_pairs(scores: Scores, row: Longs, low: Floats, high: Floats) -> tuple[Longs, Longs, Longs]:
    """How many cells of `row[i]` surely count, and entry i and column of those in doubt; limits [entries].

    Rows ascend and may stand more than once.
    """
    count, entries, columns = np.zeros(len(row), np.int64), [], []
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    for n in range(int(nth.max(initial=-1)) + 1):
        which = np.flatnonzero(nth == n)
        for start in range(0, len(which), _DEEP):
            some = which[start : start + _DEEP]
            first, after = int(row[some[0]]), int(row[some[-1]]) + 1
            part = scores[first:after] if after - first == len(some) else scores[row[some]]
            count[some], entry, column = _rows_and_doubt(part, low[some, None], high[some, None])
            entries.append(some[entry])
            columns.append(column)
    return count, _join(entries), _join(columns)


def _rows_and_doubt(part: Scores, low: Floats, high: Floats) -> tuple[Longs, Longs, Longs]:
    """For each row how many cells surely count, and row and column of those in doubt; limits [rows, 1]."""
    width = part.shape[1]
    sure, doubt = np.zeros((len(part), -(-width // 8) * 8), bool), np.empty(part.shape, bool)
    np.greater_equal(part, high, out=sure[:, :width])
    np.greater_equal(part, low, out=doubt)
    doubt ^= sure[:, :width]
    count = np.zeros(len(part), np.int64)
    words = sure.view(np.uint64)
    for start in range(0, words.shape[1], _WIDTH // 8):
        lanes = np.add.reduce(words[:, start : start + _WIDTH // 8], axis=1)
        count += lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    row, column = split(np.flatnonzero(doubt), width)
    return count, row, column


def split(cell: Longs, width: int) -> tuple[Longs, Longs]:
    """Row and column of places in a flat block of `width` columns."""
    row = cell // max(width, 1)
    return row, cell - row * width


def _join(parts: list[Longs]) -> Longs:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
