"""One score for one pair of vectors: what an inner product is rounded to, whatever worked it out first.

A float32 matrix product gives the same pair slightly different scores in a block of another shape, in another column, on
another number of threads. Scores that must not depend on that are the float64 sum of products, rounded to float32. Since that
is slow, it is asked only where a quick product lies within its own error of what it is compared with. `settle` orders lists by
such scores, so that two equal pictures are never ordered by rounding noise.
"""

from math import ceil, log2
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from picdesk.trec.runs import Floats, Ints, order_rows

PAIRS_AT_ONCE = 256
COLUMNS_AT_ONCE = 1024
Places = NDArray[np.integer]
Matrix = TypeVar("Matrix", NDArray[np.float32], NDArray[np.float64])
NEAR = 8e-6
"""Scores closer than this may be equal: ten times what two columns of a float32 product were seen to differ by for equal unit
vectors, and three times that for equal coordinates, whose sum drifts the furthest (2.3e-6 at 384 dimensions)."""


def quick_product(left: Matrix, right: Matrix, out: Matrix | None = None) -> Matrix:
    """`left @ right.T` in the precision of what is given, into `out` if given.

    BLAS works in whole registers, and numpy passes on what happened in their unused parts ("invalid value encountered in matmul",
    now and then, for matrices without any). The result has nothing of it, so nobody is told.
    """
    with np.errstate(invalid="ignore"):
        result: Matrix = np.matmul(left, right.T, out=out)
    return result


def exact_scores(left: Floats, right: Floats, rows: Places, columns: Places) -> Floats:
    """Inner products of `left[rows[i]]` and `right[columns[i]]` [pairs], summed in float64, rounded to float32."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        one, other = left[rows[part]].astype(np.float64), right[columns[part]].astype(np.float64)
        out[part] = np.einsum("ij,ij->i", one, other)
    return out


def exact_block(left: Floats, right: Floats, out: Floats) -> None:
    """`exact_scores` of every row of `left` with every row of `right`, into `out` [rows of left, rows of right].

    By a float64 product, whose own error can round another way only next to the middle between two float32 numbers; such cells
    are worked out one by one. `COLUMNS_AT_ONCE` of them are held in float64.
    """
    slack = 2 * error_bound(left, right) * 2.0**-29
    wide = left.astype(np.float64)
    for start in range(0, len(right), COLUMNS_AT_ONCE):
        part = slice(start, start + COLUMNS_AT_ONCE)
        product = quick_product(wide, right[part].astype(np.float64))
        out[:, part] = product - slack
        rows, columns = np.nonzero(out[:, part] != (product + slack).astype(np.float32))
        out[rows, start + columns] = exact_scores(left, right, rows, start + columns)


def error_bound(left: Floats, right: Floats) -> float:
    """How far any entry of the float32 product `left @ right.T` can be from the exact one, in whatever order it is summed.

    Each of the `dim` additions rounds by half a unit in the last place of a partial sum, which the lengths of the two
    vectors bound (Cauchy and Schwarz); Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1.
    """
    if not len(left) or not len(right):
        return 0.0
    longest = float(_longest(left) * _longest(right))
    if not 0 < longest < np.inf:
        return 0.0
    return float((left.shape[1] / 2 + 4) * 2.0**-24 * 2.0 ** ceil(log2(longest * (1 - 1e-6))))


def _longest(matrix: Floats) -> float:
    squares = np.einsum("ij,ij->i", matrix, matrix)
    return float(np.sqrt(squares.max()))


def settle(
    index: Ints, scores: Floats, queries: Floats, gallery: Floats, id_rank: NDArray[np.int64]
) -> tuple[Ints, Floats]:
    """Give near-equal neighbours their exact scores and sort each row again, equal scores by id. Rows must fall."""
    close = np.diff(scores, axis=1) > -NEAR
    touched = np.zeros(index.shape, bool)
    touched[:, 1:] |= close
    touched[:, :-1] |= close
    touched &= index >= 0
    wanted = np.flatnonzero(touched.any(axis=1))
    if not len(wanted):
        return index, scores
    index, scores = index.copy(), scores.copy()
    rows, places = np.nonzero(touched)
    scores[rows, places] = exact_scores(queries, gallery, rows, index[rows, places].astype(np.intp))
    index[wanted], scores[wanted] = order_rows(index[wanted], scores[wanted], id_rank)
    return index, scores


def whole_row(
    query: Floats, gallery: Floats, top_k: int, floor: float, id_rank: NDArray[np.int64]
) -> tuple[Ints, Floats]:
    """The `top_k` best of the whole gallery for one query [dim], among all items that score `floor` or more."""
    items = np.flatnonzero(quick_product(gallery, query) >= floor)
    exact = exact_scores(query[None], gallery, np.zeros(len(items), np.intp), items)
    index, scores = order_rows(items.astype(np.int32)[None], exact[None], id_rank)
    return index[0, :top_k], scores[0, :top_k]
