"""Exact ranks from embeddings: blocked matrix products and counting, nothing is sorted and no large matrix is kept.

The rank of an item is 1 + how many items score no lower, so it takes one comparison a cell. A score is compared only with
scores out of products of the same kind, because the same dot product taken in another way may round otherwise, and a model
that gives every picture the same vector would then stand first everywhere by a rounding error.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, examples
from picdesk.evaluation.ranks import Longs, Ranks, clusters_of, tie_order
from picdesk.interfaces import Direction, Embeddings
from picdesk.trec import Floats, Qrels, id_ranks

Scores = NDArray[np.float32]
_WIDTH = 2040  # bytes added in eight lanes of a word: 255 words of ones at most before a lane overflows
_DEEP = 255  # rows of ones that one byte can count


def exact_ranks(
    queries: Embeddings, gallery: Embeddings, qrels: Qrels, block: int = 512, direction: Direction = "t2i"
) -> Ranks:
    """Ranks of all relevant items by inner product; `block` queries at a time (memory: 5 * block * gallery bytes)."""
    rows = _rows(qrels.query_ids, queries, "queries")
    items = _rows(qrels.item_ids, gallery, "items")[qrels.items]
    level, score = np.zeros(len(items), np.int64), np.zeros(len(items), np.float32)
    matrix = queries.matrix if queries.ids == qrels.query_ids else queries.matrix[rows]
    buffer = np.empty((min(block, len(rows)), len(gallery.ids)), np.float32)
    for start in range(0, len(rows), block):
        end = min(start + block, len(rows))
        scores = np.matmul(matrix[start:end], gallery.matrix.T, out=buffer[: end - start])
        entries = slice(qrels.bounds[start], qrels.bounds[end])
        local = qrels.query_of[entries] - start
        score[entries] = scores[local, items[entries]]
        level[entries] = _levels_of_rows(scores, local, score[entries])
    return _ranks(direction, qrels, gallery, items, level, score)


def exact_ranks_both(
    texts: Embeddings, pictures: Embeddings, t2i: Qrels, i2t: Qrels, side: int = 640
) -> tuple[Ranks, Ranks]:
    """Ranks in both directions, (t2i, i2t), from ONE matrix product where every text belongs to one picture.

    The product is cut into tiles of `side` pictures by the texts that belong to as many. Tiles on the diagonal hold the
    score of every relevant pair, and are counted first; the others are then counted against these scores and let go.
    """
    text_rows = _rows(t2i.query_ids, texts, "texts")
    picture_rows = _rows(t2i.item_ids, pictures, "pictures")
    if not _one_picture_a_text(t2i, i2t, len(texts.ids)):
        return exact_ranks(texts, pictures, t2i, direction="t2i"), exact_ranks(pictures, texts, i2t, direction="i2t")
    picture_of = np.empty(len(texts.ids), np.int64)
    picture_of[text_rows] = picture_rows[t2i.items]
    score, by_text, by_picture = _tiled(texts.matrix, pictures.matrix, picture_of, side)
    ranked_t2i = _ranks("t2i", t2i, pictures, picture_rows[t2i.items], by_text[text_rows], score[text_rows])
    entries = _rows(i2t.item_ids, texts, "texts")[i2t.items]
    return ranked_t2i, _ranks("i2t", i2t, texts, entries, by_picture[entries], score[entries])


def _tiled(texts: Scores, pictures: Scores, picture_of: Longs, side: int) -> tuple[Floats, Longs, Longs]:
    """For each text the score of its picture, how many pictures and how many texts score no lower than that pair."""
    order = np.argsort(picture_of, kind="stable")
    owner = picture_of[order]
    sorted_texts = texts[order]
    edges = np.arange(0, len(pictures) + side, side).clip(max=len(pictures))
    cuts = np.searchsorted(owner, edges)
    nth = np.arange(len(owner)) - np.searchsorted(owner, owner)  # a picture's first text, second, ...
    limits = np.full((int(nth.max(initial=0)) + 1, len(pictures)), np.inf, np.float32)
    score = np.empty(len(owner), np.float32)
    by_text, by_picture = np.zeros(len(owner), np.int64), np.zeros(limits.shape, np.int64)
    tiles = len(edges) - 1
    buffer = np.empty(int(np.diff(cuts).max(initial=0)) * min(side, len(pictures)), np.float32)
    for shift in range(tiles):
        for row in range(tiles):
            column = (row + shift) % tiles
            t, p = slice(cuts[row], cuts[row + 1]), slice(edges[column], edges[column + 1])
            shape = (t.stop - t.start, p.stop - p.start)
            scores = np.matmul(sorted_texts[t], pictures[p].T, out=buffer[: shape[0] * shape[1]].reshape(shape))
            if not shift:
                score[t] = scores[np.arange(shape[0]), owner[t] - p.start]
                limits[nth[t], owner[t]] = score[t]
            by_text[t] += _count_in_rows(scores, score[t])
            by_picture[:, p] += _count_in_columns(scores, limits[:, p])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return score[back], by_text[back], by_picture[nth, owner][back]


def _count_in_rows(scores: Scores, limit: Floats) -> Longs:
    """How many cells of each row are not lower than the row's limit."""
    total = np.zeros(len(scores), np.int64)
    for start in range(0, scores.shape[1], _WIDTH):
        part = scores[:, start : start + _WIDTH]
        flags = np.zeros((len(part), -(-part.shape[1] // 8) * 8), bool)
        np.greater_equal(part, limit[:, None], out=flags[:, : part.shape[1]])
        lanes = np.add.reduce(flags.view(np.uint64), axis=1)
        total += lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return total


def _count_in_columns(scores: Scores, limits: Floats) -> Longs:
    """How many cells of each column are not lower than each of the column's limits: [limits, columns]."""
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


def _levels_of_rows(scores: Scores, row: Longs, limit: Floats) -> Longs:
    """How many cells of `row[i]` are not lower than `limit[i]`, for ascending rows that may stand more than once."""
    level = np.empty(len(row), np.int64)
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    for n in range(int(nth.max(initial=-1)) + 1):
        which = np.flatnonzero(nth == n)
        part = scores if len(which) == len(scores) else scores[row[which]]
        level[which] = _count_in_rows(part, limit[which])
    return level


def _ranks(direction: Direction, qrels: Qrels, gallery: Embeddings, item: Longs, level: Longs, score: Floats) -> Ranks:
    """Rank = how many score no lower (itself among them), less the relevant ones of equal score that stand behind."""
    if not np.isfinite(score).all():
        raise DataError(
            f"{direction}: {int((~np.isfinite(score)).sum())} relevant pairs have a score that is not finite"
        )
    behind = tie_order(qrels.query_of, score, id_ranks(gallery.ids)[item])[1] if len(item) else level
    ranks = (1 + level - behind).astype(np.int32)
    size = len(gallery.ids)
    return Ranks(direction, qrels.query_ids, qrels.bounds, ranks, size, size, clusters_of(qrels), score)


def _one_picture_a_text(t2i: Qrels, i2t: Qrels, texts: int) -> bool:
    """Whether each text has one relevant picture and the other direction says the same pairs."""
    if len(t2i.items) != len(t2i.query_ids) or len(t2i.items) != texts or len(i2t.items) != texts:
        return False
    return set(_pairs(t2i)) == {(text, picture) for picture, text in _pairs(i2t)}


def _pairs(qrels: Qrels) -> Iterator[tuple[str, str]]:
    for query, item in zip(qrels.query_of.tolist(), qrels.items.tolist(), strict=True):
        yield qrels.query_ids[query], qrels.item_ids[item]


def _rows(ids: tuple[str, ...], embeddings: Embeddings, what: str) -> Longs:
    """Row of each id. Raises `DataError` for an id that has no embedding."""
    if ids == embeddings.ids:
        return np.arange(len(ids))
    row_of = {name: i for i, name in enumerate(embeddings.ids)}
    missing = [name for name in ids if name not in row_of]
    if missing:
        raise DataError(f"{len(missing)} {what} of the qrels have no embedding, for example {examples(missing)}")
    return np.array([row_of[name] for name in ids], np.int64)
