"""Exact ranks from embeddings: blocked matrix products and counting, nothing is sorted and no large matrix is kept.

The rank of an item is 1 + how many of what is not relevant score no lower + how many relevant items stand before it. All
scores are compared as exact ones (`products.py`), though nearly all are decided by a quick product: see `tiles.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from picdesk.errors import DataError, examples
from picdesk.evaluation.ranks import Longs, Ranks, ranks_from, tie_order
from picdesk.evaluation.tiles import Tile
from picdesk.interfaces import Direction, Embeddings
from picdesk.products import error_bound, exact_scores
from picdesk.trec.runs import Floats, Qrels, id_ranks

if TYPE_CHECKING:
    from picdesk.evaluation.device_tiles import DeviceTile

Hidden = tuple[Longs, Longs]
SIDE, SIDE_ON_DEVICE = 640, 4096
"""Columns of a tile. On a device, with five rows a column, its scores take 0.3 GB, and what is compared with them as much."""


def counts_on(device: str) -> str:
    """Where ranks are counted by a job that encodes on `device`: there if it is a CUDA card, else ("") in numpy."""
    return device if device.startswith("cuda") else ""


def exact_ranks(
    queries: Embeddings,
    gallery: Embeddings,
    qrels: Qrels,
    block: int = 512,
    direction: Direction = "t2i",
    device: str = "",
) -> Ranks:
    """Ranks of all relevant items by inner product; `block` queries at a time (memory: 5 * block * gallery bytes).

    The same ranks on any torch `device`; "": in numpy.
    """
    rows = _rows(qrels.query_ids, queries, "queries")
    items = _rows(qrels.item_ids, gallery, "items")[qrels.items]
    score = _finite(direction, exact_scores(queries.matrix, gallery.matrix, rows[qrels.query_of], items))
    make_tile = _rows_of_tiles(queries.matrix, gallery.matrix, rows, block, device)
    level = np.zeros(len(items), np.int64)
    for start in range(0, len(rows), block):
        end = min(start + block, len(rows))
        entries = slice(qrels.bounds[start], qrels.bounds[end])
        local = qrels.query_of[entries] - start
        level[entries] = make_tile(start, end, (local, items[entries])).count_rows(local, score[entries])
    return _ranks(direction, qrels, gallery, items, level, score)


def _rows_of_tiles(
    queries: Floats, gallery: Floats, rows: Longs, block: int, device: str
) -> Callable[[int, int, Hidden], Tile | DeviceTile]:
    """Makes the tile of the queries at `rows[start:end]` with the whole gallery."""
    if device:
        from picdesk.evaluation.device_tiles import DeviceTiles  # torch is not needed by a job that scores a run

        tiles = DeviceTiles(queries, gallery, device, rows)
        return lambda start, end, hidden: tiles.cut(slice(start, end), slice(None), hidden)
    near = np.float32(error_bound(queries, gallery))
    buffer = np.empty((min(block, len(rows)), len(gallery)), np.float32)
    return lambda start, end, hidden: Tile(queries[rows[start:end]], gallery, buffer[: end - start], hidden, near)


def exact_ranks_both(
    texts: Embeddings, pictures: Embeddings, t2i: Qrels, i2t: Qrels, side: int | None = None, device: str = ""
) -> tuple[Ranks, Ranks]:
    """Ranks in both directions, (t2i, i2t), from ONE matrix product where every text belongs to one picture.

    The product is cut into tiles of `side` pictures by the texts that belong to as many, so that relevant pairs lie on the
    diagonal. Each tile is counted in both directions against the exact scores of these pairs, and let go. The same ranks on any
    torch `device`; "": in numpy. `side` None: what is quick there.
    """
    text_rows = _rows(t2i.query_ids, texts, "texts")
    picture_rows = _rows(t2i.item_ids, pictures, "pictures")
    if not _one_picture_a_text(t2i, i2t, len(texts.ids)):
        forward = exact_ranks(texts, pictures, t2i, direction="t2i", device=device)
        return forward, exact_ranks(pictures, texts, i2t, direction="i2t", device=device)
    picture_of = np.empty(len(texts.ids), np.int64)
    picture_of[text_rows] = picture_rows[t2i.items]
    score = _finite("t2i", exact_scores(texts.matrix, pictures.matrix, np.arange(len(picture_of)), picture_of))
    tally = _Tally(picture_of, score, len(pictures.ids))
    if device:
        tally.count_on(device, texts.matrix, pictures.matrix, side or SIDE_ON_DEVICE)
    else:
        tally.count(texts.matrix, pictures.matrix, side or SIDE)
    by_text, by_picture = tally.of_texts()
    forward = _ranks("t2i", t2i, pictures, picture_of[text_rows], by_text[text_rows], score[text_rows])
    asked = _rows(i2t.item_ids, texts, "texts")[i2t.items]
    return forward, _ranks("i2t", i2t, texts, asked, by_picture[asked], score[asked])


class _Tally:
    """For each text, how many other pictures, and how many texts of other pictures, score no lower than it with its picture.

    Texts are held in the order of their pictures, so that relevant pairs lie along the diagonal.
    """

    def __init__(self, picture_of: Longs, score: Floats, pictures: int) -> None:
        self.order = np.lexsort((score, picture_of))  # a picture's texts by rising score
        self.owner, self.score = picture_of[self.order], score[self.order]
        self.nth = np.arange(len(self.owner)) - np.searchsorted(
            self.owner, self.owner
        )  # a picture's first, second, ...
        self.limits = np.full((int(self.nth.max(initial=0)) + 1, pictures), np.inf, np.float32)
        self.limits[self.nth, self.owner] = self.score
        self.by_text = np.zeros(len(self.owner), np.int64)
        self.by_picture = np.zeros(self.limits.shape, np.int64)

    def count(self, texts: Floats, pictures: Floats, side: int) -> None:
        """Go through all tiles; while one is counted, another thread works out the next."""
        places, most = self._places(len(pictures), side)
        buffers = [np.empty(most * min(side, len(pictures)), np.float32) for _ in range(2)]
        block = lru_cache(1)(lambda start, stop: texts[self.order[start:stop]])
        make = partial(self._tile, block, pictures, np.float32(error_bound(texts, pictures)))
        if len(places) == 1:  # starting a thread takes longer than a small tile
            self._look(make(buffers[0], *places[0]), *places[0])
            return
        with ThreadPoolExecutor(1) as other:
            coming = other.submit(make, buffers[0], *places[0])
            for n, place in enumerate(places):
                tile = coming.result()
                if n + 1 < len(places):
                    coming = other.submit(make, buffers[(n + 1) % 2], *places[n + 1])
                self._look(tile, *place)

    def count_on(self, device: str, texts: Floats, pictures: Floats, side: int) -> None:
        """Go through all tiles on a torch device."""
        from picdesk.evaluation.device_tiles import DeviceTiles

        tiles = DeviceTiles(texts, pictures, device, self.order)
        for t, p in self._places(len(pictures), side)[0]:
            self._look(tiles.cut(t, p, self._own_cells(t, p)), t, p)

    def _look(self, tile: Tile | DeviceTile, t: slice, p: slice) -> None:
        """Count in one tile, of the texts `t` and the pictures `p`."""
        self.by_text[t] += tile.count_rows(np.arange(t.stop - t.start), self.score[t])
        self.by_picture[:, p] += tile.count_columns(self.limits[:, p])

    def _places(self, pictures: int, side: int) -> tuple[list[tuple[slice, slice]], int]:
        """Texts and pictures of each tile, and the most texts of one: those of `side` pictures, or `side` where that is more."""
        edges = np.arange(0, pictures + side, side).clip(max=pictures)
        cuts = np.searchsorted(self.owner, edges)
        most = max(int(np.diff(cuts).max()), min(side, len(self.owner)))
        kept = [0]
        for before, cut in pairwise(cuts.tolist()):
            if cut - kept[-1] > most:
                kept.append(before)
        rows, columns = (
            [slice(a, b) for a, b in pairwise(ends)] for ends in ([*kept, len(self.owner)], edges.tolist())
        )
        return list(product(rows, columns)), most

    def _own_cells(self, t: slice, p: slice) -> Hidden:
        """Row and column, in a tile, of each text with its own picture."""
        own = np.flatnonzero((self.owner[t] >= p.start) & (self.owner[t] < p.stop))
        return own, self.owner[t][own] - p.start

    def _tile(
        self,
        block: Callable[[int, int], Floats],
        pictures: Floats,
        near: np.float32,
        buffer: Floats,
        t: slice,
        p: slice,
    ) -> Tile:
        """The scores of some texts with some pictures."""
        shape = (t.stop - t.start, p.stop - p.start)
        scores = buffer[: shape[0] * shape[1]].reshape(shape)
        return Tile(block(t.start, t.stop), pictures[p], scores, self._own_cells(t, p), near)

    def of_texts(self) -> tuple[Longs, Longs]:
        """Counts over pictures and over texts, in the order of the texts."""
        back = np.empty(len(self.order), np.int64)
        back[self.order] = np.arange(len(self.order))
        return self.by_text[back], self.by_picture[self.nth, self.owner][back]


def _finite(direction: Direction, score: Floats) -> Floats:
    """The scores of relevant pairs. Raises `DataError` where one is not finite."""
    bad = int((~np.isfinite(score)).sum())
    if bad:
        raise DataError(f"{direction}: {bad} relevant pairs have a score that is not finite")
    return score


def _ranks(direction: Direction, qrels: Qrels, gallery: Embeddings, item: Longs, level: Longs, score: Floats) -> Ranks:
    """Rank = 1 + what is not relevant and scores no lower + the relevant ones that stand before."""
    order = tie_order(qrels.query_of, score, id_ranks(gallery.ids)[item])[0]
    before = np.empty(len(order), np.int64)
    before[order] = np.arange(len(order)) - qrels.bounds[qrels.query_of]
    size = len(gallery.ids)
    ranks = (1 + level + before).astype(np.int32)
    return ranks_from(direction, qrels, ranks, size, size, gallery.ids, score)


def _one_picture_a_text(t2i: Qrels, i2t: Qrels, texts: int) -> bool:
    """Whether each text has one relevant picture and the other direction says the same pairs."""
    if len(t2i.items) != len(t2i.query_ids) or len(t2i.items) != texts or len(i2t.items) != texts:
        return False
    text_at, picture_at = _places(i2t.item_ids, t2i.query_ids), _places(i2t.query_ids, t2i.item_ids)
    forward = t2i.query_of * len(t2i.item_ids) + t2i.items
    text, picture = text_at[i2t.items], picture_at[i2t.query_of]
    known = bool(((text >= 0) & (picture >= 0)).all())
    return known and np.array_equal(np.sort(text * len(t2i.item_ids) + picture), np.sort(forward))


def _places(ids: tuple[str, ...], among: tuple[str, ...]) -> Longs:
    """Where each id stands among the others; -1 where it does not."""
    if ids == among:
        return np.arange(len(ids))
    place = {name: i for i, name in enumerate(among)}
    return np.array([place.get(name, -1) for name in ids], np.int64)


def _rows(ids: tuple[str, ...], embeddings: Embeddings, what: str) -> Longs:
    """Row of each id. Raises `DataError` for an id that has no embedding."""
    rows = _places(ids, embeddings.ids)
    missing = [ids[i] for i in np.flatnonzero(rows < 0)]
    if missing:
        raise DataError(f"{len(missing)} {what} of the qrels have no embedding, for example {examples(missing)}")
    return rows
