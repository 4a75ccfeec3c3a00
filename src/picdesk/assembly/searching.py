"""From the config to a search: index, candidates, rerankers, fusion; and what its run scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from omegaconf import DictConfig

from picdesk.assembly.build import build
from picdesk.assembly.reranking import rerank
from picdesk.evaluation.metrics import KS, add_tail, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Index, RerankContext, Side
from picdesk.retrieval.scores import Scored, shortened
from picdesk.retrieval.tools import Sources, Tools
from picdesk.training.features import Features
from picdesk.trec.runs import Qrels, Run

log = logging.getLogger(__name__)


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
