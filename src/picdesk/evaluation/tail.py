"""The tail of a run: the exact ranks of relevant items that its lists do not settle, so that a file tells every metric."""

from dataclasses import replace

import numpy as np

from picdesk.errors import DataError
from picdesk.evaluation.ranks import Flags, Longs, Ranks, align, located
from picdesk.trec import Qrels, Run, Tail


def add_tail(run: Run, exact: Ranks, qrels: Qrels) -> Run:
    """Give the run a tail: the rank and score, out of `exact`, of each relevant item that its list does not settle.

    That is one that is missing, or in a group of equal scores which reaches the end of the list, or last in it but equal to
    something outside. The latter two leave the list. Do this last, after reranking: who reranks must not see the qrels.
    A rank in the tail is never within its list, whatever the rounding of the engine that made the list.
    """
    if exact.scores is None or exact.query_ids != qrels.query_ids or len(exact.ranks) != len(qrels.items):
        raise DataError("run: the exact ranks given for its tail are not those of these qrels, or come without scores")
    rows, places = align(run, qrels)
    run, places = _all_named(run, qrels, places)
    query, item = rows[qrels.query_of], places[qrels.items]
    leave = _hidden_tie(run, query, item, exact)
    while True:
        place = located(run, query, item).place
        run = _without(run, query[leave], place[leave])
        at = located(run, query, item)
        leave = at.cut & (at.tied > 1)
        if not leave.any():
            break
    outside = np.flatnonzero(at.place < 0)
    return replace(run, tail=_tail(query[outside], item[outside], exact, outside, (run.index >= 0).sum(axis=1)))


def _all_named(run: Run, qrels: Qrels, places: Longs) -> tuple[Run, Longs]:
    """Add the relevant items that no list of a run from a file names."""
    new = np.unique(qrels.items[places[qrels.items] < 0])
    if len(new):
        places[new] = len(run.item_ids) + np.arange(len(new))
        run = replace(run, item_ids=(*run.item_ids, *(qrels.item_ids[i] for i in new)))
    return run, places


def _hidden_tie(run: Run, query: Longs, item: Longs, exact: Ranks) -> Flags:
    """Entries that stand alone and last in their list, but whose exact rank is worse: an equal score is outside.

    Only where the list's scores are the similarities that `exact` was computed from; a reranked list has its own order.
    """
    at = located(run, query, item)
    assert exact.scores is not None  # add_tail has looked
    own = run.scores[query, np.maximum(at.place, 0)]
    same = np.isclose(own, exact.scores, rtol=0, atol=1e-6)
    hidden: Flags = at.cut & (at.tied == 1) & same & (exact.ranks > at.level)
    return hidden


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


def _tail(query: Longs, item: Longs, exact: Ranks, entry: Longs, lengths: Longs) -> Tail:
    assert exact.scores is not None  # add_tail has looked
    order = np.lexsort((exact.ranks[entry], query))
    query, item, entry = query[order], item[order], entry[order]
    nth = np.arange(len(query)) - np.searchsorted(query, query)
    rank = np.maximum(exact.ranks[entry], lengths[query] + 1 + nth)
    return Tail(query.astype(np.int32), item.astype(np.int32), exact.scores[entry], rank.astype(np.int32))
