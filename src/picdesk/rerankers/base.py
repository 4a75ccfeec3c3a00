"""What every reranker has: a weight, and how many of the candidates it looks at."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Chosen
from picdesk.errors import ConfigError
from picdesk.interfaces import Modality, RerankContext, Side
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


class Scorer:
    """`weight` in [0, 1] is its share in the fusion; of each query it scores the first `top_k` candidates (None: all)."""

    block = 0
    changes_order = True
    backbone: Any = None

    def __init__(self, weight: float, top_k: int | None) -> None:
        check_share(weight, top_k)
        self.weight = weight
        self.top_k = top_k
        self.counts: dict[str, int] = {}

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """Scores in the shape of `run.index`, NaN = unscored."""
        raise NotImplementedError

    def fingerprint(self, context: RerankContext) -> str:
        """Not kept, unless a reranker says otherwise."""
        return ""

    def check_fit(self, made_by: str, tuned: Collection[Modality]) -> None:
        """Raise `ConfigError` where it could not score what this backbone finds; most rerankers take anything."""

    def content(self) -> str:
        """Digest of the weights and files that it works by, wherever they lie; "" where there are none."""
        return ""


def check_share(weight: float, top_k: int | None, key: str = "reranker") -> None:
    """Raise `ConfigError` unless the weight lies in [0, 1] and `top_k` is a number of candidates, or None for all."""
    if not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ConfigError(f"{key}.weight={weight}: must lie in [0, 1] (0: the search alone, 1: the reranker alone)")
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise ConfigError(f"{key}.top_k={top_k}: a whole number, at least 1, or null for all candidates")


def no_scores(run: Run) -> NDArray[np.float32]:
    """A score for nothing."""
    return np.full(run.index.shape, np.nan, np.float32)


def warn_of_cut(most: int, lengths: Sequence[int], texts: int) -> bool:
    """Say how many of `texts` texts are longer than the `most` tokens that are read, by their lengths; whether any is."""
    longer = sum(length > most for length in lengths)
    if longer:
        told = "reranker.max_tokens=%d: %d of %d texts are longer than the reranker reads: the rest of each is cut off"
        log.warning(told, most, longer, texts)
    return longer > 0


def similarities(
    run: Run, queries: NDArray[np.float32], items: NDArray[np.float32], block: int = 256
) -> NDArray[np.float32]:
    """Inner products of each query with its candidates: [queries, dim] and [items, dim] to the shape of `run.index`.

    Rows of `items` that are NaN, and padding, stay NaN.
    """
    scores = no_scores(run)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        index = run.index[rows]
        vectors = items[np.maximum(index, 0)]
        scores[rows] = np.where(index >= 0, np.einsum("qd,qkd->qk", queries[rows], vectors), np.nan)
    return scores


def candidates(run: Run) -> NDArray[np.int64]:
    """Positions of the items that are a candidate of some query, ascending."""
    return np.unique(run.index[run.index >= 0]).astype(np.int64)


def candidates_alone(run: Run) -> tuple[Run, NDArray[np.int64]]:
    """The run over those of its items that are a candidate of some query, and their positions in the items it had."""
    rows = candidates(run)
    if len(rows) == len(run.item_ids):
        return run, rows
    place = np.full(len(run.item_ids) + 1, -1, np.int32)  # the last one stands for padding
    place[rows] = np.arange(len(rows))
    return replace(run, item_ids=tuple(run.item_ids[i] for i in rows), index=place[run.index]), rows


def take_rows(side: Side, rows: NDArray[np.int64]) -> Side:
    """The given positions of a side, in the given order."""
    return Side(
        tuple(side.ids[i] for i in rows),
        None if side.embeddings is None else side.embeddings.take(rows),
        tuple(side.texts[i] for i in rows) if side.texts else (),
        tuple(side.fields[i] for i in rows) if side.fields else (),
        None if side.pictures is None else Chosen(side.pictures, rows),
    )
