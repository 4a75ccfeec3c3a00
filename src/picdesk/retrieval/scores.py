"""The one retrieval path: embeddings, candidates, rerankers, fusion, run; and what a run scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from picdesk.evaluation.metrics import Ranks
from picdesk.evaluation.statistics import Interval
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.measures.listing import KS, NAMES
from picdesk.trec.runs import Qrels, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """One direction of one system: its run, what is relevant, the ranks, the metrics and their intervals, and how many
    seconds search and reranking took for all queries together (building the index took `index_seconds`). `exact_hits` is the
    hits@1 of exact search over the same embeddings, where the index alone made the order. `names` and `ks` are the metrics that
    were asked for, and `listed` what the lists together say of the gallery (hubness)."""

    run: Run
    qrels: Qrels
    ranks: Ranks
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    seconds: float = 0.0
    exact_hits: float | None = None
    index_seconds: float = 0.0
    names: tuple[str, ...] = NAMES
    ks: tuple[int, ...] = KS
    listed: Mapping[str, float] = field(default_factory=dict)


def shortened(run: Run, depth: int) -> Run:
    """The first `depth` places of each list."""
    return replace(run, index=run.index[:, :depth], scores=run.scores[:, :depth]) if depth < run.depth else run


def flat_metrics(scored: dict[Direction, Scored]) -> dict[str, float]:
    """`t2i/hits@1`, ... for loggers, each with the ends of its interval (`t2i/hits@1_low`, `_high`), and `hits@1`, the mean of
    both directions."""
    named = {f"{direction}/{name}": value for direction in scored for name, value in scored[direction].metrics.items()}
    for direction, one in scored.items():
        for name, interval in one.intervals.items():
            named[f"{direction}/{name}_low"], named[f"{direction}/{name}_high"] = interval.low, interval.high
    named["hits@1"] = mean_hits(list(scored.values()))
    return named


def mean_hits(scored: Sequence[Scored]) -> float:
    """Mean of hits@1 over the directions there are."""
    return float(np.mean([one.metrics["hits@1"] for one in scored]))


def in_order(scored: dict[Direction, Scored]) -> list[tuple[Direction, Scored]]:
    """t2i before i2t."""
    return [(direction, scored[direction]) for direction in DIRECTIONS if direction in scored]
