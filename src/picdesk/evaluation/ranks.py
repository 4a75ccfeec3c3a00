"""Ranks: where the relevant items of each query stand. Every metric, interval and test is computed from these alone."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, examples
from picdesk.interfaces import Direction
from picdesk.trec.runs import Floats, Ints, Qrels, Run

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
_CELLS = 1 << 23
PARTLY = "a run file of another tool that lists a part of its gallery needs the tag picdesk-<gallery size>"


@dataclass(frozen=True)
class Ranks:
    """Rank of each relevant item, in compressed rows: `ranks[bounds[q]:bounds[q + 1]]` belong to `query_ids[q]`.

    Ranks are int32, count from 1, and ties count against the item; 0 says that the item was not found, which can only be
    where a run lists a part of the gallery and has no tail. `depth` is the rank down to which every rank is known: the
    gallery size, unless something was not found. `cluster` numbers the queries by the item that they are about
    (`Qrels.subjects`), so that the captions of one picture share a number. `scores` are those of the relevant items, where they
    were computed; `grades` say how relevant each is (None: all alike). `answers` are the relevant items themselves, in the order
    of `ranks`, and `gallery` the names of what was searched, as far as they are known: runs with others cannot be compared.
    """

    direction: Direction
    query_ids: tuple[str, ...]
    bounds: Longs
    ranks: Ints
    gallery_size: int
    depth: int
    cluster: Longs
    scores: Floats | None = None
    grades: Ints | None = None
    answers: "Answers | None" = None
    gallery: tuple[str, ...] = ()

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """Rank of the best relevant item of each query [queries]; infinity where none was found."""
        known = np.where(self.ranks > 0, self.ranks, np.inf)
        return np.minimum.reduceat(known, self.bounds[:-1]) if len(known) else np.empty(0)

    @cached_property
    def relevant_counts(self) -> Longs:
        """Number of relevant items of each query."""
        return np.diff(self.bounds)

    def take(self, queries: Longs) -> "Ranks":
        """The ranks of the given queries (positions), in the given order; clusters are numbered anew from 0."""
        counts = self.relevant_counts[queries]
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = np.arange(bounds[-1]) + np.repeat(self.bounds[queries] - bounds[:-1], counts)
        clusters = np.unique(self.cluster[queries], return_inverse=True)[1].astype(np.int64)
        ids = tuple(self.query_ids[i] for i in queries)
        grades = None if self.grades is None else self.grades[entries]
        answers = None if self.answers is None else replace(self.answers, items=self.answers.items[entries])
        kept = {"query_ids": ids, "bounds": bounds, "ranks": self.ranks[entries], "cluster": clusters, "grades": grades}
        return replace(self, **kept, answers=answers, scores=None)


@dataclass(frozen=True)
class Answers:
    """The relevant items of all queries, one after the other: positions [entries] in `item_ids`."""

    item_ids: tuple[str, ...]
    items: Ints


def same_answers(a: Ranks, b: Ranks) -> bool:
    """Whether each query has the same relevant items, of the same grades; both have their queries in one order.

    Where the items are not known, by their number.
    """
    if not np.array_equal(a.relevant_counts, b.relevant_counts):
        return False
    if a.answers is None or b.answers is None:
        return True
    theirs = b.answers.items
    if a.answers.item_ids != b.answers.item_ids:
        place = {item: i for i, item in enumerate(a.answers.item_ids)}
        theirs = np.array([place.get(item, -1) for item in b.answers.item_ids], np.int32)[theirs]
    query = np.repeat(np.arange(len(a.query_ids)), a.relevant_counts)
    own, found = (np.lexsort((items, query)) for items in (a.answers.items, theirs))
    grades = [np.ones(len(one.ranks), np.int32) if one.grades is None else one.grades for one in (a, b)]
    return np.array_equal(a.answers.items[own], theirs[found]) and np.array_equal(grades[0][own], grades[1][found])


def align(run: Run, qrels: Qrels) -> tuple[Longs, Longs]:
    """Match ids: for each query of the qrels its row in the run, for each item of the qrels its position (-1: not named).

    Raises `DataError`, with a count and examples, unless both have the same queries and every relevant item can be in the
    gallery that was searched.
    """
    if run.query_ids == qrels.query_ids:
        rows = np.arange(len(qrels.query_ids))
    else:
        row_of = {query: i for i, query in enumerate(run.query_ids)}
        _refuse([query for query in qrels.query_ids if query not in row_of], "queries of the qrels are not in the run")
        asked = set(qrels.query_ids)
        _refuse([query for query in run.query_ids if query not in asked], "queries of the run are not in the qrels")
        rows = np.array([row_of[query] for query in qrels.query_ids], np.int64)
    if run.item_ids == qrels.item_ids:
        return rows, np.arange(len(qrels.item_ids))
    place_of = {item: i for i, item in enumerate(run.item_ids)}
    places = np.array([place_of.get(item, -1) for item in qrels.item_ids], np.int64)
    used = np.unique(qrels.items)
    unnamed = used[places[used] < 0]
    if len(run.item_ids) + len(unnamed) > run.gallery_size:
        _refuse(
            [qrels.item_ids[i] for i in unnamed],
            f"relevant items are not in the gallery of {run.gallery_size}",
            f"; {PARTLY}",
        )
    return rows, places


def _refuse(names: list[str], what: str, hint: str = "") -> None:
    if names:
        raise DataError(f"{len(names)} {what}, for example {examples(names)}{hint}")


def ranks_of_run(run: Run, qrels: Qrels, direction: Direction = "t2i") -> Ranks:
    """Ranks of the relevant items in a run.

    Rank of r = 1 + (items that are not relevant and score no lower) + (relevant items that stand before it). Where two or
    more equal scores reach the end of a list that is shorter than the gallery, everything beyond may be equal too, and r
    gets the worst rank that can be; `add_tail` states the true one. Items of the tail have the rank they say.
    """
    rows, places = align(run, qrels)
    query, item = rows[qrels.query_of], places[qrels.items]
    at = locate(run, query, item)
    listed = at.place >= 0
    behind = tie_order(qrels.query_of, np.where(listed, at.level, -1.0 - np.arange(len(item))), at.place)[1]
    ranks = np.where(listed, 1 + at.level - behind, 0)
    cut = at.cut & (at.tied > 1)
    outside = np.add.reduceat(np.where(listed, 0, 1), qrels.bounds[:-1])[qrels.query_of]
    ranks[cut] += (run.gallery_size - at.level - outside)[cut]
    _read_tail(run, query, item, ranks)
    lost = query[ranks == 0]
    depth = int((run.index[lost] >= 0).sum(axis=1).min()) if len(lost) else run.gallery_size
    return ranks_from(direction, qrels, ranks.astype(np.int32), run.gallery_size, depth, run.item_ids)


def ranks_from(
    direction: Direction,
    qrels: Qrels,
    ranks: Ints,
    gallery_size: int,
    depth: int,
    gallery: tuple[str, ...],
    scores: Floats | None = None,
) -> Ranks:
    """The ranks [entries] of what is relevant by `qrels`, with all that belongs to them."""
    return Ranks(
        direction,
        qrels.query_ids,
        qrels.bounds,
        ranks,
        gallery_size,
        depth,
        clusters_of(qrels),
        scores,
        qrels.grades,
        Answers(qrels.item_ids, qrels.items),
        gallery,
    )


def clusters_of(qrels: Qrels) -> Longs:
    """Number queries by the item that they are about; numbers in the order of first appearance."""
    _, first, number = np.unique(qrels.subjects, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[number]


def tie_order(query: Longs, score: NDArray[np.floating], place: Longs) -> tuple[Longs, Longs]:
    """Sort entries by query, score (highest first), place; also: how many of equal query and score stand at or behind each."""
    order = np.lexsort((place, -score, query))
    new = (np.diff(query[order]) != 0) | (np.diff(score[order]) != 0)
    ends = np.append(np.flatnonzero(new) + 1, len(order))
    group = np.concatenate([[0], np.cumsum(new)])[: len(order)]
    behind = np.empty(len(order), np.int64)
    behind[order] = ends[group] - np.arange(len(order))
    return order, behind


@dataclass(frozen=True)
class Located:
    """Where pairs (query, item) stand in the lists of a run; four arrays of one length.

    `place` counts from 0 (-1: not in the list), `level` listed items score no lower, `tied` score the same (itself among
    them), and `cut` says that nothing listed scores lower, while the list is shorter than the gallery.
    """

    place: Longs
    level: Longs
    tied: Longs
    cut: Flags


def locate(run: Run, query: Longs, item: Longs) -> Located:
    """Look up pairs of row and item position (-1: an item that the run does not name)."""
    place, level, tied = np.full(len(query), -1), np.zeros(len(query), np.int64), np.zeros(len(query), np.int64)
    step = max(1, _CELLS // max(run.depth, 1))
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        at = (run.index[query[part]] == item[part, None]) & (item[part, None] >= 0)
        here = np.flatnonzero(at.any(axis=1))
        column = at[here].argmax(axis=1) if len(here) else here
        scores = run.scores[query[part][here]]
        own = scores[np.arange(len(here)), column][:, None]
        place[start + here] = column
        level[start + here] = (scores >= own).sum(axis=1)
        tied[start + here] = (scores == own).sum(axis=1)
    lengths = (run.index >= 0).sum(axis=1)[query]
    return Located(place, level, tied, (place >= 0) & (level == lengths) & (lengths < run.gallery_size))


def _read_tail(run: Run, query: Longs, item: Longs, ranks: Longs) -> None:
    """Put the ranks that the tail states into `ranks`."""
    if not len(run.tail.query):
        return
    items = len(run.item_ids)
    keys = run.tail.query.astype(np.int64) * items + run.tail.item
    order = np.argsort(keys)
    wanted = np.where(item >= 0, query * items + item, -1)
    found = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    match = keys[order][found] == wanted
    ranks[match] = run.tail.rank[order][found][match]
