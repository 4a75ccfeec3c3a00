"""`metrics.folds=5`: each query asked of its own fold of the pictures (COCO's 1,000 pictures; Karpathy and Fei-Fei, CVPR 2015).

Folds are runs of pictures in the order of the data set, with all their texts. The whole retrieval goes through each of them, and
the metrics are means over the queries of all folds: with folds of one size, the mean over the folds that papers print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.ranks import Ranks
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings
from picdesk.report.content import MetricTable
from picdesk.retrieval.system import System
from picdesk.retrieval.told import Told, told_of
from picdesk.retrieval.tools import Sources
from picdesk.training.features import Features

LEAST = 10
Longs = NDArray[np.int64]


def score_folds(
    system: System, folds: int, features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources
) -> Told:
    """Retrieve and score each fold by itself; nothing for `metrics.folds=0`. Raises `ConfigError` for folds too small."""
    if folds == 0:
        return Told()
    count = len(features.picture_ids)
    if folds < 2 or count // folds < LEAST:
        raise ConfigError(
            f"metrics.folds={folds}: 0, or 2 or more of {LEAST} pictures at least, and there are {count} pictures"
        )
    found: dict[Direction, list[Ranks]] = {direction: [] for direction in DIRECTIONS}
    parts = np.array_split(np.arange(count), folds)
    for rows, own in zip(parts, features_of_folds(parts, features, sources), strict=True):
        place = {name: i for i, name in enumerate(texts.ids)}
        chosen = np.array([place[name] for name in own.text_ids], np.int64)
        scored = system.score_both(own, texts.take(chosen), pictures.take(rows), sources_of(sources, rows))
        for direction, one in scored.items():
            found[direction].append(one.ranks)
    return fold_tables(system, {direction: pool_ranks(ranks) for direction, ranks in found.items()}, folds)


def features_of_folds(parts: Sequence[Longs], features: Features, sources: Sources) -> list[Features]:
    """The features of each fold. Raises `ConfigError` naming a fold of which nothing is asked."""
    found = []
    for number, rows in enumerate(parts, 1):
        try:
            found.append(take_pictures(features, rows, sources))
        except DataError as error:
            raise ConfigError(f"metrics.folds={len(parts)}: fold {number}: {error}; take fewer folds, or 0") from error
    return found


def take_pictures(features: Features, rows: Longs, sources: Sources) -> Features:
    """The features of some pictures with their texts."""
    part = sources.part.take(rows)
    texts = np.flatnonzero(np.isin(features.picture_of, rows))
    return replace(
        features,
        picture_ids=part.picture_ids,
        text_ids=part.text_ids,
        images=features.images[rows],
        texts=features.texts[texts],
        picture_of=part.picture_of,
        t2i=part.qrels("t2i"),
        i2t=part.qrels("i2t"),
    )


def sources_of(sources: Sources, rows: Longs) -> Sources:
    """What rerankers see of some pictures."""
    texts = np.flatnonzero(np.isin(sources.part.picture_of, rows))
    return replace(sources, part=sources.part.take(rows), prompts=tuple(sources.prompts[t] for t in texts))


def pool_ranks(parts: Sequence[Ranks]) -> Ranks:
    """The ranks of all folds in one; the gallery is that of the largest."""
    size = max(part.gallery_size for part in parts)
    starts = np.cumsum([0, *(part.bounds[-1] for part in parts)])
    bounds = np.concatenate([[0], *(part.bounds[1:] + start for part, start in zip(parts, starts, strict=False))])
    firsts = np.cumsum([0, *(int(part.cluster.max()) + 1 for part in parts)])
    grades = [part.grades if part.grades is not None else np.ones(len(part.ranks), np.int32) for part in parts]
    return Ranks(
        parts[0].direction,
        tuple(query for part in parts for query in part.query_ids),
        bounds.astype(np.int64),
        np.concatenate([part.ranks for part in parts]),
        size,
        size,
        np.concatenate([part.cluster + first for part, first in zip(parts, firsts, strict=False)]),
        grades=np.concatenate(grades) if any(part.grades is not None for part in parts) else None,
    )


def fold_tables(system: System, found: dict[Direction, Ranks], folds: int) -> Told:
    """A table a direction, and the numbers with their intervals."""
    note = f"Each query is asked of its own fold; {folds} folds of the pictures in the order of the data set."
    tables: list[MetricTable] = []
    numbers: dict[str, object] = {}
    for direction, ranks in found.items():
        table, numbers[direction] = told_of(system, direction, ranks, "each of its own fold", note, f"{folds} folds")
        tables.append(table)
    return Told(tuple(tables), {"folds": {"folds": folds, **numbers}})
