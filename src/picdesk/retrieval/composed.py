"""Composed retrieval: texts that ask together with a picture of the data set, scored like any other query.

A text whose field `reference` names a picture asks by `(1 - share) * text + share * picture`, of length 1 again. What its field
`excluded` names may not be found, and its field `among` names the few pictures within which it is ranked besides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.metrics import Ranks, add_tail, exact_ranks
from picdesk.interfaces import Embeddings
from picdesk.products import exact_scores
from picdesk.retrieval.scores import Metrics, Scores, score
from picdesk.retrieval.told import Told, told_of
from picdesk.retrieval.tools import Sources
from picdesk.training.features import Features
from picdesk.trec.runs import Floats, Qrels, Run

if TYPE_CHECKING:
    from picdesk.retrieval.system import System

REFERENCE, EXCLUDED, AMONG = "reference", "excluded", "among"
SUBSET = (1, 2, 3)
PAIRS_ALONE = ("train", "tune_weights", "tune_index", "captioner", "agreement")
NOTE = "Each query is asked of the pictures of its own set alone, the one that asks left out (CIRR's Recall_subset)."
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """By text: where the picture stands that it asks with, and the one that may not be found (-1: none); the few among which it
    is ranked besides."""

    reference: Longs
    excluded: Longs
    among: tuple[tuple[int, ...], ...]


def is_composed(part: Collection) -> bool:
    """Whether texts ask together with pictures."""
    return any(REFERENCE in fields for fields in part.texts)


def check_pairs(part: Collection, task: str | None) -> None:
    """Raise `ConfigError` where a task takes each text and its picture for a pair, and texts ask together with pictures."""
    if task in PAIRS_ALONE and is_composed(part):
        told = f"its texts ask together with a picture, which task={task} knows nothing of"
        raise ConfigError(f"data={part.name}: {told}; it is for task=evaluate")


def asked_in(part: Collection) -> Asked:
    """What the texts of a part ask with. Raises `DataError` for a picture that is in another part."""
    place = {name: i for i, name in enumerate(part.picture_ids)}

    def places(name: str) -> Longs:
        found = [str(fields.get(name, "")) for fields in part.texts]
        lost = [one for one in found if one and one not in place]
        if lost:
            told = f"{len(lost)} texts name a picture that is in no or another part, for example {lost[0]!r}"
            raise DataError(
                f"data={part.name}: {name}: {told}; choose a split that keeps them together (split=official)"
            )
        return np.array([place.get(one, -1) for one in found], np.int64)

    few = tuple(tuple(place[one] for one in fields.get(AMONG, ()) if one in place) for fields in part.texts)
    return Asked(places(REFERENCE), places(EXCLUDED), few)


def mix(texts: Embeddings, pictures: Embeddings, asked: Asked, share: float) -> Embeddings:
    """The queries: texts together with their pictures; those that have none as they are."""
    with_picture = asked.reference >= 0
    both = (1 - share) * texts.matrix + share * pictures.matrix[np.maximum(asked.reference, 0)]
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    return Embeddings(texts.ids, np.where(with_picture[:, None], both, texts.matrix).astype(np.float32))


def without(run: Run, excluded: Longs, depth: int) -> Run:
    """The run less the item that each query may not find, `depth` deep; what stood behind moves up."""
    out = (run.index == excluded[:, None]) & (excluded[:, None] >= 0)
    order = np.argsort(out | (run.index < 0), axis=1, kind="stable")[:, :depth]
    index = np.take_along_axis(np.where(out, -1, run.index), order, axis=1).astype(np.int32)
    scores = np.take_along_axis(np.where(out, -np.inf, run.scores), order, axis=1).astype(np.float32)
    return replace(run, index=index, scores=scores)


def ranks_without(exact: Ranks, queries: Embeddings, pictures: Embeddings, excluded: Longs) -> Ranks:
    """Exact ranks less one where the item that may not be found scores no lower."""
    of_query = np.repeat(np.arange(len(exact.query_ids)), np.diff(exact.bounds))
    bad = excluded[of_query]
    there = np.flatnonzero(bad >= 0)
    score = exact_scores(queries.matrix, pictures.matrix, of_query[there], bad[there])
    assert exact.scores is not None
    ranks = exact.ranks.copy()
    ranks[there] -= (score >= exact.scores[there]).astype(np.int32)
    return replace(exact, ranks=ranks)


def score_composed(
    system: System, features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources
) -> tuple[Scores, Told]:
    """Retrieve and score texts that ask together with pictures; and within the few that they name, as a table and numbers.

    Raises `ConfigError` where rerankers or a score correction are at work, which know texts or pictures alone.
    """
    for what, active in (("reranker", system.reranking.active), ("scores", system.correction.active)):
        if active:
            raise ConfigError(f"{what}: data={sources.part.name} asks by text and picture together: leave {what} out")
    if not 0 <= system.share <= 1:
        raise ConfigError(f"share={system.share}: the share of the picture in a composed query, from 0 to 1")
    qrels, asked = features.t2i, asked_in(sources.part)
    place = {name: i for i, name in enumerate(texts.ids)}
    rows = np.array([place[name] for name in qrels.query_ids], np.int64)
    queries = mix(texts, sources.embed_for_i2t(texts, pictures)[1], asked, system.share).take(rows)
    excluded, few = asked.excluded[rows], [asked.among[row] for row in rows]
    exact = ranks_without(exact_ranks(queries, pictures, qrels, direction="t2i"), queries, pictures, excluded)
    begun = time.perf_counter()
    index = system.index_items(sources.sides("t2i", queries, pictures)[1], coming=len(queries.ids))
    start = time.perf_counter()
    found = index.search(queries, min(system.depth + 1, len(pictures.ids)))
    run = without(found, excluded, min(system.depth, len(pictures.ids)))
    seconds = round(time.perf_counter() - start, 6)
    one = score("t2i", add_tail(run, exact, qrels), qrels, system.bars, system.metrics)
    hits = float((exact.first == 1).mean())
    scored = replace(one, seconds=seconds, exact_hits=hits, index_seconds=round(start - begun, 6))
    return Scores({"t2i": scored}, system.bars), within_few(system, exact, queries, pictures, few, qrels)


def within_few(
    system: System,
    exact: Ranks,
    queries: Embeddings,
    pictures: Embeddings,
    few: Sequence[tuple[int, ...]],
    qrels: Qrels,
) -> Told:
    """The wanted pictures ranked among the few that their queries name; nothing where no query names any."""
    wanted = qrels.items[qrels.bounds[:-1]]
    counted = np.array([q for q, own in enumerate(few) if int(wanted[q]) in own], np.int64)
    if not len(counted):
        return Told()
    ranks = [rank_among(queries.matrix[q], pictures.matrix, few[q], int(wanted[q])) for q in counted]
    kept = exact.take(counted)
    most, each = max(len(few[q]) for q in counted), np.arange(len(counted) + 1, dtype=np.int64)
    own = replace(kept, bounds=each, ranks=np.array(ranks, np.int32), gallery_size=most, depth=most, grades=None)
    bars = replace(system, metrics=Metrics(("hits",), SUBSET))
    table, numbers = told_of(bars, "t2i", own, "among the few of its set", NOTE, "subset")
    return Told((table,), {"subset": {"t2i": numbers}})


def rank_among(query: Floats, matrix: Floats, few: tuple[int, ...], wanted: int) -> int:
    """The rank of a picture among a few; equal scores count against it."""
    score = exact_scores(query[None], matrix, np.zeros(len(few), np.intp), np.array(few, np.intp))
    return int((score >= score[few.index(wanted)]).sum())
