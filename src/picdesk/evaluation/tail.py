"""The tail of a run: the exact ranks of relevant items that its lists do not settle, so that a file tells every metric."""

from dataclasses import replace

import numpy as np

from picdesk.errors import DataError
from picdesk.evaluation.ranks import Flags, Longs, Ranks, align, locate, tie_order
from picdesk.trec.runs import Floats, Qrels, Run, Tail


def add_tail(run: Run, exact: Ranks, qrels: Qrels) -> Run:
    """Give the run a tail: the rank and score, out of `exact`, of each relevant item that its list does not settle.

    That is one that is missing, or in a group of equal scores which reaches the end of the list, or last in it but equal to
    something outside. The latter two leave the list. Do this last, after reranking: who reranks must not see the qrels.
    A list that was reranked has an order of its own, and nothing outside equals it; one that an approximate search made is
    taken at its word about what is last. A run has to say which of them it is: `Run.reranked` or `Run.exact`; scores do not tell.
    A rank in the tail is never within its list, whatever the rounding of the engine that made the list, and no score in it
    reaches the list's or that of a better rank: tools that look at scores alone would find items where they are not, as those
    of a reranked list are on another scale. Raises `DataError` where `exact` is not of these qrels, or has no scores.
    """
    if exact.scores is None or exact.query_ids != qrels.query_ids or len(exact.ranks) != len(qrels.items):
        raise DataError("run: the exact ranks given for its tail are not those of these qrels, or come without scores")
    rows, places = align(run, qrels)
    run, places = _all_named(run, qrels, places)
    query, item = rows[qrels.query_of], places[qrels.items]
    at = locate(run, query, item)
    ordinary = (at.place >= 0) & _as_searched(run, query)
    listed_rank = (
        1 + at.level - tie_order(query, np.where(at.place >= 0, at.level, -1.0 - np.arange(len(item))), at.place)[1]
    )
    rank = np.where((at.place < 0) | ordinary, exact.ranks, listed_rank)
    leave = ordinary & at.cut & (at.tied == 1) & (exact.ranks > listed_rank) & (run.exact is not False)
    while True:
        run = _without(run, query[leave], at.place[leave])
        at = locate(run, query, item)
        leave = at.cut & (at.tied > 1)
        if not leave.any():
            break
    outside = np.flatnonzero(at.place < 0)
    lengths = (run.index >= 0).sum(axis=1)
    scores = np.minimum(exact.scores[outside], _below_lists(run, lengths)[query[outside]])
    return replace(run, tail=_tail(query[outside], item[outside], scores, rank[outside], lengths))


def _all_named(run: Run, qrels: Qrels, places: Longs) -> tuple[Run, Longs]:
    """Add the relevant items that no list of a run from a file names."""
    new = np.unique(qrels.items[places[qrels.items] < 0])
    if len(new):
        places[new] = len(run.item_ids) + np.arange(len(new))
        run = replace(run, item_ids=(*run.item_ids, *(qrels.item_ids[i] for i in new)))
    return run, places


def _as_searched(run: Run, query: Longs) -> Flags:
    """Whether the list has the order of the search."""
    if run.reranked is not None:
        return np.asarray(~run.reranked[query])
    if run.exact is not None:
        return np.ones(len(query), np.bool_)
    raise DataError("run: it does not say whether its lists are those of a search (exact) or were reranked")


def _without(run: Run, query: Longs, place: Longs) -> Run:
    """The run less the given cells; what stood behind them moves up."""
    if not len(query):
        return run
    index, scores = run.index.copy(), run.scores.copy()
    index[query, place], scores[query, place] = -1, -np.inf
    rows = np.unique(query)
    order = np.argsort(index[rows] < 0, axis=1, kind="stable")
    index[rows] = np.take_along_axis(index[rows], order, axis=1)
    scores[rows] = np.take_along_axis(scores[rows], order, axis=1)
    return replace(run, index=index, scores=scores)


def _below_lists(run: Run, lengths: Longs) -> Floats:
    """The highest score [queries] below all that the list of a query holds; no bound where a list is empty."""
    last = np.take_along_axis(run.scores, np.maximum(lengths - 1, 0)[:, None], axis=1)[:, 0]
    below = np.nextafter(last, np.float32(-np.inf))
    return np.where(lengths > 0, np.maximum(below, np.finfo(np.float32).min), np.float32(np.inf))


def _tail(query: Longs, item: Longs, score: Floats, rank: Longs, lengths: Longs) -> Tail:
    """Sorted by query, then rank; ranks behind the list, no two of a query the same, and scores that do not rise."""
    order = np.lexsort((rank, query))
    query = query[order]
    nth = np.arange(len(query)) - np.searchsorted(query, query)
    least = np.maximum(rank[order] - nth, lengths[query] + 1)
    row = query * (int(least.max(initial=0)) + 1)  # keeps the running maximum of one query out of the next
    behind = np.maximum.accumulate(row + least) - row + nth
    levels, level = np.unique(score[order], return_inverse=True)
    row = query * len(levels)
    fallen = levels[np.minimum.accumulate(level - row) + row]
    return Tail(query.astype(np.int32), item[order].astype(np.int32), fallen, behind.astype(np.int32))
