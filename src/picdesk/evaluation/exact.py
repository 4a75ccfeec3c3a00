"""Exact ranks from embeddings: blocked matrix products and counting, nothing is sorted and no large matrix is kept.

The rank of an item is 1 + how many items score no lower, so it takes one comparison a cell. A score is compared only with
scores out of products of the same kind, because the same dot product taken in another way may round otherwise, and a model
that gives every picture the same vector would then stand first everywhere by a rounding error.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from picdesk.errors import DataError, examples
from picdesk.evaluation.counting import Longs, Scores, count_in_columns, count_in_rows, count_of_pairs
from picdesk.evaluation.ranks import Ranks, clusters_of, tie_order
from picdesk.interfaces import Direction, Embeddings
from picdesk.trec import Floats, Qrels, id_ranks


def exact_ranks(
    queries: Embeddings, gallery: Embeddings, qrels: Qrels, block: int = 512, direction: Direction = "t2i"
) -> Ranks:
    """Ranks of all relevant items by inner product; `block` queries at a time (memory: 5 * block * gallery bytes)."""
    rows = _rows(qrels.query_ids, queries, "queries")
    items = _rows(qrels.item_ids, gallery, "items")[qrels.items]
    level, score = np.zeros(len(items), np.int64), np.zeros(len(items), np.float32)
    buffer = np.empty((min(block, len(rows)), len(gallery.ids)), np.float32)
    for start in range(0, len(rows), block):
        end = min(start + block, len(rows))
        scores = np.matmul(queries.matrix[rows[start:end]], gallery.matrix.T, out=buffer[: end - start])
        entries = slice(qrels.bounds[start], qrels.bounds[end])
        local = qrels.query_of[entries] - start
        score[entries] = scores[local, items[entries]]
        level[entries] = count_of_pairs(scores, local, score[entries])
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
    tally = _Tally(picture_of, len(pictures.ids))
    tally.count(texts.matrix, pictures.matrix, side)
    score, by_text, by_picture = tally.of_texts()
    forward = _ranks("t2i", t2i, pictures, picture_of[text_rows], by_text[text_rows], score[text_rows])
    asked = _rows(i2t.item_ids, texts, "texts")[i2t.items]
    return forward, _ranks("i2t", i2t, texts, asked, by_picture[asked], score[asked])


class _Tally:
    """For each text the score of its picture, how many pictures and how many texts score no lower than that pair.

    Texts are held in the order of their pictures, so that relevant pairs lie along the diagonal.
    """

    def __init__(self, picture_of: Longs, pictures: int) -> None:
        self.order = np.argsort(picture_of, kind="stable")
        self.owner = picture_of[self.order]
        self.nth = np.arange(len(self.owner)) - np.searchsorted(
            self.owner, self.owner
        )  # a picture's first text, second, ...
        self.limits = np.full((int(self.nth.max(initial=0)) + 1, pictures), np.inf, np.float32)
        self.score = np.empty(len(self.owner), np.float32)
        self.by_text = np.zeros(len(self.owner), np.int64)
        self.by_picture = np.zeros(self.limits.shape, np.int64)

    def count(self, texts: Scores, pictures: Scores, side: int) -> None:
        """Go through all tiles, the diagonal first."""
        edges = np.arange(0, len(pictures) + side, side).clip(max=len(pictures))
        cuts = np.searchsorted(self.owner, edges)
        columns = [slice(a, b) for a, b in pairwise(edges.tolist())]
        rows = [slice(a, b) for a, b in pairwise(cuts.tolist())]
        buffer = np.empty(int(np.diff(cuts).max()) * min(side, len(pictures)), np.float32)
        for t, p in zip(rows, columns, strict=True):
            scores = _product(texts[self.order[t]], pictures[p], buffer)
            self._settle(scores, t, p)
            self._add(scores, t, p)
        for i, t in enumerate(rows):
            block = texts[self.order[t]]
            for p in columns[:i] + columns[i + 1 :]:
                self._add(_product(block, pictures[p], buffer), t, p)

    def _settle(self, scores: Scores, t: slice, p: slice) -> None:
        """Take the scores of relevant pairs from a tile of the diagonal."""
        self.score[t] = scores[np.arange(len(scores)), self.owner[t] - p.start]
        self.limits[self.nth[t], self.owner[t]] = self.score[t]

    def _add(self, scores: Scores, t: slice, p: slice) -> None:
        self.by_text[t] += count_in_rows(scores, self.score[t])
        self.by_picture[:, p] += count_in_columns(scores, self.limits[:, p])

    def of_texts(self) -> tuple[Floats, Longs, Longs]:
        """Score, count over pictures and count over texts, in the order of the texts."""
        back = np.empty(len(self.order), np.int64)
        back[self.order] = np.arange(len(self.order))
        return self.score[back], self.by_text[back], self.by_picture[self.nth, self.owner][back]


def _product(rows: Scores, columns: Scores, buffer: Scores) -> Scores:
    shape = (len(rows), len(columns))
    return np.matmul(rows, columns.T, out=buffer[: shape[0] * shape[1]].reshape(shape))


def _ranks(direction: Direction, qrels: Qrels, gallery: Embeddings, item: Longs, level: Longs, score: Floats) -> Ranks:
    """Rank = how many score no lower (itself among them), less the relevant ones of equal score that stand behind."""
    if not np.isfinite(score).all():
        raise DataError(
            f"{direction}: {int((~np.isfinite(score)).sum())} relevant pairs have a score that is not finite"
        )
    behind = tie_order(qrels.query_of, score, id_ranks(gallery.ids)[item])[1]
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
