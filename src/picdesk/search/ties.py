"""One order for one set of vectors: near-equal inner products are worked out again in a way that cannot depend on the batch.

A matrix product gives the same pair of vectors slightly different float32 scores in another batch, on another number of
threads, or in another column. Two equal pictures would then be ordered by rounding noise. So wherever two neighbours of a
list differ by less than `NEAR`, both scores are replaced by the float64 product of the two vectors, rounded to float32.
"""

import numpy as np
from numpy.typing import NDArray

from picdesk.products import exact_scores
from picdesk.trec.runs import Floats, Ints, order_rows

NEAR = 2e-6
"""Scores closer than this may be equal: over ten times the usual float32 error of a product of unit vectors."""


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
