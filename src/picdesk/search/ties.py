"""One order for one set of vectors: near-equal inner products are worked out again in a way that cannot depend on the batch.

A matrix product gives the same pair of vectors slightly different float32 scores in another batch, on another number of
threads, or in another column. Two equal pictures would then be ordered by rounding noise. So wherever two neighbours of a
list differ by less than `NEAR`, both scores are replaced by the float64 product of the two vectors, rounded to float32.
"""

import numpy as np
from numpy.typing import NDArray

from picdesk.trec import Floats, Ints, order_rows

NEAR = 2e-6
"""Scores closer than this may be equal: over ten times the usual float32 error of a product of unit vectors."""

PAIRS_AT_ONCE = 8192


def exact_scores(
    queries: Floats, gallery: Floats, rows: NDArray[np.intp], items: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Inner products of `queries[rows[i]]` and `gallery[items[i]]`, summed in float64, rounded to float32."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        left = queries[rows[part]].astype(np.float64)
        right = gallery[items[part]].astype(np.float64)
        out[part] = np.einsum("ij,ij->i", left, right)
    return out


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
    items = np.flatnonzero(gallery @ query >= floor)
    exact = exact_scores(query[None], gallery, np.zeros(len(items), np.intp), items)
    index, scores = order_rows(items.astype(np.int32)[None], exact[None], id_rank)
    return index[0, :top_k], scores[0, :top_k]
