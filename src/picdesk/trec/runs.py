"""Qrels and Run: which items are relevant to a query, and in what order a search ranked them. Arrays inside, TREC text outside.

A run keeps the best items of each query (its *list*). What a rank statistic also needs, the rank of a relevant item that
did not make the list, is kept beside it (its *tail*): item, score and true rank. In a TREC file the tail is written as
ordinary lines whose rank column jumps, so other tools read the file unchanged and hits@k, recall@k come out the same there,
while MRR, median and mean rank can still be had exactly, from the file alone.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, check_unique, examples

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
MOST_GRADE = 10**6


@dataclass(frozen=True)
class Qrels:
    """Relevant items of each query, in compressed rows.

    `items[bounds[q]:bounds[q + 1]]` are the positions, in `item_ids`, of what is relevant to `query_ids[q]`; ascending, at
    least one for each query. `grades` says how relevant each of them is, 1 or more (None: all are 1). `about` [queries] are the
    positions of the items that the queries are about, relevant or not: a caption's own picture (None: the first by id of what
    is relevant).
    """

    query_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    bounds: NDArray[np.int64]
    items: Ints
    grades: Ints | None = None
    about: Ints | None = None

    def __post_init__(self) -> None:
        check_unique(self.query_ids, "qrels queries")
        check_unique(self.item_ids, "qrels items")
        if len(self.bounds) != len(self.query_ids) + 1 or int(self.bounds[-1]) != len(self.items):
            raise DataError(f"qrels: bounds of {len(self.bounds) - 1} rows for {len(self.query_ids)} queries")
        if self.grades is not None and (self.grades.shape != self.items.shape or (self.grades < 1).any()):
            raise DataError(f"qrels: a grade of 1 or more is needed for each of the {len(self.items)} relevant items")
        if self.about is not None and self.about.shape != (len(self.query_ids),):
            raise DataError(f"qrels: {len(self.query_ids)} queries are about {len(self.about)} items")
        empty = np.flatnonzero(np.diff(self.bounds) == 0)
        if len(empty):
            names = examples([self.query_ids[q] for q in empty[:4]])
            raise DataError(f"qrels: {len(empty)} queries have no relevant item, for example {names}")

    @classmethod
    def from_pairs(
        cls,
        query_ids: tuple[str, ...],
        item_ids: tuple[str, ...],
        query: NDArray[np.int64],
        item: NDArray[np.int64],
        grade: NDArray[np.int64] | None = None,
        about: NDArray[np.int64] | None = None,
    ) -> "Qrels":
        """Build from pairs of positions (query[i], item[i]) of `grade[i]`; a pair that stands twice counts once, at its highest
        grade. Where all grades are 1 none are kept."""
        both = np.stack([query.astype(np.int64), item.astype(np.int64)], axis=1)
        pairs, at = np.unique(both, axis=0, return_inverse=True)
        counts = np.bincount(pairs[:, 0], minlength=len(query_ids)) if len(pairs) else np.zeros(len(query_ids), int)
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        grades: Ints | None = None
        if grade is not None and (grade != 1).any():
            grades = np.zeros(len(pairs), np.int32)
            np.maximum.at(grades, at.ravel(), grade.astype(np.int32))
        subjects = None if about is None else about.astype(np.int32)
        return cls(query_ids, item_ids, bounds, pairs[:, 1].astype(np.int32), grades, subjects)

    @cached_property
    def query_of(self) -> NDArray[np.int64]:
        """Query position of each entry of `items`."""
        return np.repeat(np.arange(len(self.query_ids), dtype=np.int64), np.diff(self.bounds))

    @cached_property
    def subjects(self) -> NDArray[np.int64]:
        """Position of the item that each query is about [queries]: queries about one item are drawn together, as they are
        alike."""
        if self.about is not None:
            return self.about.astype(np.int64)
        if not len(self.items):
            return np.empty(0, np.int64)
        place = id_ranks(self.item_ids)
        at = np.empty_like(place)
        at[place] = np.arange(len(place))
        return at[np.minimum.reduceat(place[self.items], self.bounds[:-1])]

    def relevant(self, query: int) -> Ints:
        """Positions of the items relevant to one query."""
        return self.items[self.bounds[query] : self.bounds[query + 1]]


@dataclass(frozen=True)
class Tail:
    """Relevant items that are not in the list of their query: four arrays of one length, sorted by query, then rank.

    `rank` counts from 1 and ties count against the item: 1 + the number of other items whose score is not lower, less
    the relevant ones that stand behind it.
    """

    query: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    item: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    score: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    rank: Ints = field(default_factory=lambda: np.empty(0, np.int32))


@dataclass(frozen=True)
class Run:
    """Ranked items of each query: `index` [queries, depth] int32 positions in `item_ids`, `scores` alike float32.

    Rows are sorted by score, highest first, equal scores by item id; -1 (score -inf) pads a row that is shorter.
    `gallery_size` is the number of items that were searched, which a run read from a file need not all name.
    `reranked` says which lists have another order than the search's own scores [queries] (None: none of them), and `exact`
    whether the search looked at every item, so that what is missing scores no higher than what is listed (None: not known).
    Raises `DataError` for a NaN, a repeated item, an unsorted row or shapes that do not fit.
    """

    query_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    index: Ints
    scores: Floats
    gallery_size: int
    tail: Tail = field(default_factory=Tail)
    reranked: NDArray[np.bool_] | None = None
    exact: bool | None = None

    def __post_init__(self) -> None:
        check_unique(self.query_ids, "run queries")
        check_unique(self.item_ids, "run items")
        if self.index.shape != self.scores.shape or self.index.shape[:1] != (len(self.query_ids),):
            shapes = f"index {self.index.shape}, scores {self.scores.shape}, {len(self.query_ids)} queries"
            raise DataError(f"run: shapes do not fit: {shapes}")
        filled = self.index >= 0
        if not np.isfinite(self.scores[filled]).all():
            bad = int((~np.isfinite(self.scores) & filled).any(axis=1).sum())
            raise DataError(f"run: {bad} queries have a score that is not a finite number")
        ranked = np.where(filled, self.scores, -np.inf)
        if (ranked[:, 1:] > ranked[:, :-1]).any():
            raise DataError("run: scores of a query must fall from left to right")
        ordered = np.sort(self.index, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise DataError("run: an item stands twice in the list of one query")
        if self.gallery_size < len(self.item_ids):
            raise DataError(f"run: gallery_size={self.gallery_size}, but {len(self.item_ids)} items are named")

    @property
    def depth(self) -> int:
        """Longest list."""
        return int(self.index.shape[1])


def order_rows(index: Ints, scores: Floats, id_rank: NDArray[np.int64]) -> tuple[Ints, Floats]:
    """Sort each row by score, highest first, equal scores by `id_rank` (place of the item's id among all sorted ids)."""
    filled = index >= 0
    tie = np.where(filled, id_rank[np.where(filled, index, 0)], np.iinfo(np.int64).max)
    order = np.lexsort((tie, -np.where(filled, scores, -np.inf)), axis=1)
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(scores, order, axis=1)


def id_ranks(item_ids: tuple[str, ...]) -> NDArray[np.int64]:
    """Place of each id among all of them sorted by code point; the order in which equal scores are listed."""
    order = sorted(range(len(item_ids)), key=item_ids.__getitem__)
    ranks = np.empty(len(item_ids), np.int64)
    ranks[order] = np.arange(len(item_ids))
    return ranks
