"""The one retrieval path: embeddings, candidates, rerankers, fusion, run; and what a run scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from omegaconf import DictConfig

from picdesk.assembly.build import build
from picdesk.assembly.reranking import rerank
from picdesk.evaluation.metrics import KS, Ranks, add_tail, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.evaluation.statistics import Interval, intervals
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Index, RerankContext, Side
from picdesk.retrieval.tools import Sources, Tools
from picdesk.training.features import Features
from picdesk.trec.runs import Qrels, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """One direction of one system: its run, what is relevant, the ranks, the metrics and their intervals, and how many
    seconds search and reranking took for all queries together (building the index took `index_seconds`). `exact_hits` is the
    hits@1 of exact search over the same embeddings, where the index alone made the order."""

    run: Run
    qrels: Qrels
    ranks: Ranks
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    seconds: float = 0.0
    exact_hits: float | None = None
    index_seconds: float = 0.0


def retrieve_run(
    cfg: DictConfig,
    direction: Direction,
    queries: Side,
    items: Side,
    tools: Tools | None = None,
    spent: dict[str, float] | None = None,
    index: Index | None = None,
    keep: Callable[[Run], Run] | None = None,
) -> Run:
    """Search, rerank, fuse: the `top_k` best items of each query; the first `run_depth` of them if nothing was reranked.

    `index` is one that is ready; without it the index of the config is built from the items' embeddings. `keep` may drop
    candidates by their similarity, before anything is reranked.
    """
    assert queries.embeddings is not None
    gallery = len(items.ids)
    top_k = min(int(cfg.top_k), gallery)
    if top_k < int(cfg.top_k):
        log.info("top_k=%d is more than the gallery of %d holds: all %d are listed", cfg.top_k, gallery, gallery)
    begun = time.perf_counter()
    index = built(cfg, items) if index is None else index
    start = time.perf_counter()
    run = index.search(queries.embeddings, top_k)
    run = keep(run) if keep else run
    context = tools.context(direction, queries, items) if tools else RerankContext(direction, queries, items)
    fused = reranked(cfg, run, context, tools)
    if spent is not None:
        spent[f"index {direction}"] = round(start - begun, 6)
        spent[f"search {direction}"] = round(time.perf_counter() - start, 6)
    return fused


def reranked(cfg: DictConfig, run: Run, context: RerankContext, tools: Tools | None) -> Run:
    """Look again at the candidates and fuse; the first `run_depth` of them if nothing was reranked."""
    fused = rerank(cfg, run, context, tools)
    return shortened(fused, int(cfg.run_depth)) if fused is run else fused


def built(cfg: DictConfig, items: Side) -> Index:
    """The index of the config over the items."""
    assert items.embeddings is not None
    index: Index = build(cfg, "index")
    index.build(items.embeddings)
    return index


def shortened(run: Run, depth: int) -> Run:
    """The first `depth` places of each list."""
    return replace(run, index=run.index[:, :depth], scores=run.scores[:, :depth]) if depth < run.depth else run


def score_both(
    cfg: DictConfig, features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources | None = None
) -> dict[Direction, Scored]:
    """Retrieve and score in both directions. Pictures without texts are searched, but ask nothing. Rerankers see `sources`."""
    asking = np.flatnonzero(np.bincount(features.picture_of, minlength=len(pictures.ids)))
    sides: dict[Direction, tuple[Embeddings, Embeddings, Qrels]] = {
        "t2i": (texts, pictures, features.t2i),
        "i2t": (pictures.take(asking), texts, features.i2t),
    }
    exact = dict(zip(DIRECTIONS, exact_ranks_both(texts, pictures, features.t2i, features.i2t), strict=True))
    scored: dict[Direction, Scored] = {}
    spent: dict[str, float] = {}
    for direction, (queries, items, qrels) in sides.items():
        both = (
            sources.sides(direction, queries, items)
            if sources
            else (Side(queries.ids, queries), Side(items.ids, items))
        )
        run = retrieve_run(cfg, direction, *both, tools=sources.tools if sources else None, spent=spent)
        one = score(cfg, direction, add_tail(run, exact[direction], qrels), qrels)
        alone = str(cfg.reranker.get("_target_")).endswith(".Identity")
        exact_hits = float((exact[direction].first == 1).mean()) if alone else None
        searching, building = spent[f"search {direction}"], spent[f"index {direction}"]
        scored[direction] = replace(one, seconds=searching, exact_hits=exact_hits, index_seconds=building)
    return scored


def score(cfg: DictConfig, direction: Direction, run: Run, qrels: Qrels) -> Scored:
    """Ranks, metrics and intervals of one run."""
    ranks = ranks_of_run(run, qrels, direction)
    bars = intervals(ranks, KS, resamples=cfg.bootstrap.resamples, seed=cfg.seed, level=cfg.bootstrap.level)
    return Scored(run, qrels, ranks, metrics_of(ranks, KS), bars)


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
