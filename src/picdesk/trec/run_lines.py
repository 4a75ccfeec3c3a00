"""The lines of a TREC run file as arrays: how a `Run` becomes lines, and lines become a `Run`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, examples
from picdesk.trec.runs import Floats, Run, Tail, id_ranks

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """One line of a run file per entry: positions in `query_ids` and `item_ids`, rank, score, and whether it is of the tail."""

    query_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    query: Longs
    item: Longs
    rank: Longs
    score: Floats
    tail: Flags
    gallery_size: int

    def take(self, keep: Flags | Longs | slice) -> "Lines":
        """The given lines; all ids stay."""
        picked = (self.query[keep], self.item[keep], self.rank[keep], self.score[keep], self.tail[keep])
        return Lines(self.query_ids, self.item_ids, *picked, gallery_size=self.gallery_size)


def lines_of_run(run: Run) -> Lines:
    """List and tail of each query, one after the other. Raises `DataError` where a query has neither."""
    query, place = np.nonzero(run.index >= 0)
    present = np.zeros(len(run.query_ids), bool)
    present[query] = present[run.tail.query] = True
    if not present.all():
        names = examples([run.query_ids[q] for q in np.flatnonzero(~present)[:4]])
        raise DataError(f"run: {int((~present).sum())} queries have no item and cannot be written, for example {names}")
    queries = np.concatenate([query, run.tail.query])
    order = np.argsort(queries, kind="stable")
    return Lines(
        run.query_ids,
        run.item_ids,
        queries[order],
        np.concatenate([run.index[query, place], run.tail.item]).astype(np.int64)[order],
        np.concatenate([place + 1, run.tail.rank])[order],
        np.concatenate([run.scores[query, place], run.tail.score])[order],
        np.concatenate([np.zeros(len(query), bool), np.ones(len(run.tail.query), bool)])[order],
        run.gallery_size,
    )


def run_of_lines(lines: Lines) -> Run:
    """Build the run: lists by score (equal scores by item id), tails by rank. Raises `DataError` for ranks that cannot be."""
    listed = _sort(lines.take(~lines.tail))
    lengths = np.bincount(listed.query, minlength=len(lines.query_ids))
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(listed.query)) - starts[listed.query]
    shape = (len(lines.query_ids), max(int(lengths.max(initial=0)), 1))
    index = np.full(shape, -1, np.int32)
    scores = np.full(shape, -np.inf, np.float32)
    index[listed.query, place] = listed.item
    scores[listed.query, place] = listed.score
    tail = _tail(lines.take(lines.tail), lengths)
    return Run(lines.query_ids, lines.item_ids, index, scores, lines.gallery_size, tail)


def _sort(lines: Lines) -> Lines:
    """By query, score, item id; a file of our own is so already, which is cheaper to see than to sort."""
    place_of_id = id_ranks(lines.item_ids)[lines.item]
    step, fall = np.diff(lines.query), np.diff(lines.score)
    within = (fall < 0) | ((fall == 0) & (np.diff(place_of_id) > 0))
    if ((step > 0) | ((step == 0) & within)).all():
        return lines
    return lines.take(np.lexsort((place_of_id, -lines.score, lines.query)))


def _tail(lines: Lines, lengths: Longs) -> Tail:
    wrong = np.flatnonzero((lines.rank <= lengths[lines.query]) | (lines.rank > lines.gallery_size))
    if len(wrong):
        query, rank = lines.query_ids[lines.query[wrong[0]]], lines.rank[wrong[0]]
        wanted = f"{lengths[lines.query[wrong[0]]] + 1} to {lines.gallery_size}"
        raise DataError(f"query {query!r} has a tail line of rank {rank}, wanted {wanted}")
    ordered = lines.take(np.lexsort((lines.rank, lines.query)))
    whole = (ordered.query.astype(np.int32), ordered.item.astype(np.int32))
    return Tail(*whole, ordered.score, ordered.rank.astype(np.int32))


def drop_unused_names(codes: Longs, names: tuple[str, ...]) -> tuple[Longs, tuple[str, ...]]:
    """Leave out the names that no code uses; the rest keep their order."""
    used = np.zeros(len(names), bool)
    used[codes] = True
    return (np.cumsum(used) - 1)[codes], tuple(names[i] for i in np.flatnonzero(used))
