"""The queries that one of two jobs wins and the other loses, as cards with the ranking of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.interfaces import Direction
from picdesk.jobs.found import DoneJob
from picdesk.pages import show
from picdesk.report.content import DIRECTION_NAMES, CardGroup, QueryCard
from picdesk.retrieval.scores import ByDirection, Scored
from picdesk.trec.runs import Run

MOST = 12


@dataclass(frozen=True)
class Side:
    """One of the two jobs: what it is called here, the job, and its scores by direction."""

    name: str
    job: DoneJob
    scores: ByDirection


def groups(
    sides: Sequence[Side], both: Sequence[Direction], part: Collection, prompts: Sequence[str], shown: int
) -> tuple[CardGroup, ...]:
    """By direction: queries that the first job has right and the second wrong, and the other way round."""
    made = []
    for direction in both:
        pair = [in_part(side.scores[direction], part, direction) for side in sides]
        for winner, loser in ((0, 1), (1, 0)):
            rows = queries_won(pair[winner].ranks.first, pair[loser].ranks.first)
            title = f"{DIRECTION_NAMES[direction]}: {sides[winner].name} finds at once, {sides[loser].name} does not"
            cards = [show.card(direction, part, prompts, pair[0], int(q), shown) for q in rows[:MOST]]
            others = [show.card(direction, part, prompts, pair[1], int(q), shown) for q in rows[:MOST]]
            joined = tuple(beside(sides, *cards) for cards in zip(cards, others, strict=True))
            made.append(
                CardGroup(title, joined, f"{len(rows):,} queries; here the {len(joined)} that are furthest apart")
            )
    return tuple(made)


def in_part(own: Scored, part: Collection, direction: Direction) -> Scored:
    """Scores that were read from files, with queries and items at their places in the part of the data set."""
    qrels = part.qrels(direction)
    items = part.picture_ids if direction == "t2i" else part.text_ids
    places = rows_of(own.run.item_ids, items)
    rows = rows_of(qrels.query_ids, own.run.query_ids)
    index = own.run.index[rows]
    moved = np.where(index >= 0, places[index], -1).astype(np.int32)
    run = Run(qrels.query_ids, items, moved, own.run.scores[rows], own.run.gallery_size)
    ranks = own.ranks.take(rows_of(qrels.query_ids, own.qrels.query_ids))
    return replace(own, run=run, qrels=qrels, ranks=ranks)


def rows_of(wanted: Sequence[str], ids: Sequence[str]) -> NDArray[np.int64]:
    """Where each id stands among the others."""
    place = {name: i for i, name in enumerate(ids)}
    return np.array([place[name] for name in wanted], np.int64)


def queries_won(winner: NDArray[np.float64], loser: NDArray[np.float64]) -> NDArray[np.int64]:
    """Queries [some] that one has at rank 1 and the other has not, the widest apart first."""
    rows = np.flatnonzero((winner == 1) & (loser > 1))
    return rows[np.argsort(-loser[rows], kind="stable")]


def beside(sides: Sequence[Side], one: QueryCard, other: QueryCard) -> QueryCard:
    """One query with what each job found for it."""
    named = [replace(card.rankings[0], name=side.name) for card, side in zip((one, other), sides, strict=True)]
    return replace(one, rankings=tuple(named))
