"""Items that belong together, such as the captions of one picture: the whole scores by its best part and appears once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from picdesk.interfaces import Embeddings
from picdesk.products import quick_product
from picdesk.trec.runs import Floats, Run, id_ranks, order_rows

_CELLS = 1 << 24


def best_part_run(
    queries: Embeddings, parts: Embeddings, owner: NDArray[np.int64], whole_ids: tuple[str, ...], depth: int
) -> Run:
    """Rank wholes by the inner product of their best part, exhaustively: `owner[i]` is the position in `whole_ids` of part i.

    Rows hold the `depth` best; wholes without a part are in the gallery but cannot be found. Equal vectors score the same
    wherever they stand, so that wholes with the same best part tie and are ordered by id.
    """
    order = np.argsort(owner, kind="stable")
    owners, starts = np.unique(owner[order], return_index=True)
    matrix, column = distinct(parts.matrix[order])
    depth = min(depth, len(owners))
    index = np.full((len(queries.ids), depth), -1, np.int32)
    scores = np.full((len(queries.ids), depth), -np.inf, np.float32)
    ties = id_ranks(whole_ids)
    step = max(1, _CELLS // max(len(column), 1))
    for start in range(0, len(queries.ids), step):
        rows = slice(start, start + step)
        best = np.maximum.reduceat(quick_product(queries.matrix[rows], matrix)[:, column], starts, axis=1)
        places = np.broadcast_to(owners.astype(np.int32), best.shape)
        found, sorted_scores = order_rows(places, best, ties)
        index[rows], scores[rows] = found[:, :depth], sorted_scores[:, :depth]
    return Run(queries.ids, whole_ids, index, scores, len(whole_ids), exact=True)


def distinct(matrix: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The different rows of a matrix, in the order of their first appearance, and which of them each row is.

    A product rounds the same vector otherwise in another column; in one column it has one score.
    """
    place: dict[bytes, int] = {}
    of_row = np.array([place.setdefault(row.tobytes(), len(place)) for row in matrix], np.int64)
    return matrix[np.unique(of_row, return_index=True)[1]], of_row


def shared_by_equals(
    raw: NDArray[np.float64],
    gated: NDArray[np.bool_] | None,
    gallery: Iterable[Floats],
    item: NDArray[np.int64],
    row: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """What was worked out of each item [items], the same for all items of one vector, for a product rounds each otherwise.

    Items that stand in other pairs (`item[i]`, `row[i]`, sorted by item) are not the same ones. Of `gated`, one item will do.
    """
    bounds = np.searchsorted(item, np.arange(len(raw) + 1))
    vectors = (vector for block in gallery for vector in block + np.float32(0))  # -0.0 is 0
    said = (vector.tobytes() + np.sort(row[slice(*bounds[i : i + 2])]).tobytes() for i, vector in enumerate(vectors))
    digests = np.fromiter((blake2b(one, digest_size=16).digest() for one in said), "S16", len(raw))
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    if gated is not None:
        gated = np.bincount(group, gated)[group] > 0
    return raw[first][group], gated


LARGEST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
"""A bound beyond these is these: no score is larger."""


def at_least(run: Run, min_score: float | None, similarity: Floats | None = None) -> Run:
    """The run without what scores below `min_score`; None keeps all. Places that fall away are padded with -1.

    `similarity` [queries, depth] is what counts where the scores are corrected ones; what is kept moves up.
    """
    if min_score is None:
        return run
    limit = np.float32(np.clip(min_score, *LARGEST))
    low = (run.scores if similarity is None else similarity) < limit
    index = np.where(low, -1, run.index).astype(np.int32)
    scores = np.where(low, -np.inf, run.scores).astype(np.float32)
    if similarity is not None:
        order = np.argsort(low, axis=1, kind="stable")
        index, scores = np.take_along_axis(index, order, axis=1), np.take_along_axis(scores, order, axis=1)
    return replace(run, index=index, scores=scores)


def drop_unanswered(run: Run) -> Run:
    """The run without the queries for which nothing is left."""
    rows = np.flatnonzero((run.index >= 0).any(axis=1))
    ids = tuple(run.query_ids[q] for q in rows)
    reranked = None if run.reranked is None else run.reranked[rows]
    return replace(run, query_ids=ids, index=run.index[rows], scores=run.scores[rows], reranked=reranked)
