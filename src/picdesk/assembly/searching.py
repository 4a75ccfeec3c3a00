"""From the config to a search: index, candidates, rerankers, fusion; and what its run scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from omegaconf import DictConfig

from picdesk.assembly.build import build
from picdesk.assembly.correcting import banks_of, rule_of
from picdesk.assembly.reranking import rerank
from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import Ranks, add_tail, exact_ranks, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Index, RerankContext, Side
from picdesk.measures.listing import LISTED, checked
from picdesk.retrieval.banks import Banks, in_one_dimension_more
from picdesk.retrieval.scores import Scored, shortened
from picdesk.retrieval.tools import Sources, Tools
from picdesk.search.corrected import Corrected
from picdesk.search.corrections import Bank, Fitted
from picdesk.training.features import Features
from picdesk.trec.runs import Floats, Qrels, Run

log = logging.getLogger(__name__)


def retrieve_run(
    cfg: DictConfig,
    direction: Direction,
    queries: Side,
    items: Side,
    tools: Tools | None = None,
    spent: dict[str, float] | None = None,
    index: Index | None = None,
    keep: Callable[[Run, Floats | None], Run] | None = None,
    correct: Callable[[Index], Index] | None = None,
) -> Run:
    """Search, rerank, fuse: the `top_k` best items of each query; the first `run_depth` of them if nothing was reranked.

    `index` is one that is ready; without it the index of the config is built from the items' embeddings. `correct` puts the
    score correction before it; `keep` may drop candidates by their similarity, before anything is reranked.
    """
    assert queries.embeddings is not None
    gallery = len(items.ids)
    top_k = min(int(cfg.top_k), gallery)
    if top_k < int(cfg.top_k):
        log.info("top_k=%d is more than the gallery of %d holds: all %d are listed", cfg.top_k, gallery, gallery)
    begun = time.perf_counter()
    index = built(cfg, items) if index is None else index
    index = correct(index) if correct else index
    start = time.perf_counter()
    run = index.search(queries.embeddings, top_k)
    if keep:
        run = keep(run, index.similarity(queries.embeddings, run) if isinstance(index, Corrected) else None)
    context = tools.context(direction, queries, items) if tools else RerankContext(direction, queries, items)
    fused = reranked(cfg, run, context, tools)
    if spent is not None:
        spent[f"index {direction}"] = round(start - begun, 6)
        spent[f"search {direction}"] = round(time.perf_counter() - start, 6)
    return fused


def reranked(cfg: DictConfig, run: Run, context: RerankContext, tools: Tools | None) -> Run:
    """Look again at the candidates and fuse; the first `run_depth` of them if nothing was reranked."""
    fused = rerank(cfg, run, context, tools)
    return shortened(fused, max(int(cfg.run_depth), *reported(cfg)[1])) if fused is run else fused


def reported(cfg: DictConfig) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and cut-offs of the metrics that the config asks for. Raises `ConfigError` for what is none."""
    return checked(cfg.metrics.names, cfg.metrics.ks)


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
    found, shown = sources.turned(texts, pictures) if sources else (texts, pictures)
    sides: dict[Direction, tuple[Embeddings, Embeddings, Qrels]] = {
        "t2i": (asked(texts, features.t2i), pictures, features.t2i),
        "i2t": (asked(shown, features.i2t), found, features.i2t),
    }
    banks = banks_in(cfg, sources, features)
    fitted = {d: banks.fitted(d, *sides[d][:2]) for d in sides} if banks else {}
    if fitted:
        exact = exact_of(sides, fitted)
    elif found is texts:
        exact = dict(zip(DIRECTIONS, exact_ranks_both(texts, pictures, features.t2i, features.i2t), strict=True))
    else:
        exact = {name: exact_ranks(*side, direction=name) for name, side in sides.items()}
    scored: dict[Direction, Scored] = {}
    spent: dict[str, float] = {}
    for direction, (queries, items, qrels) in sides.items():
        both = (
            sources.sides(direction, queries, items)
            if sources
            else (Side(queries.ids, queries), Side(items.ids, items))
        )
        correct = corrector(banks, fitted[direction]) if banks else None
        tools = sources.tools if sources else None
        run = retrieve_run(cfg, direction, *both, tools=tools, spent=spent, correct=correct)
        one = score(cfg, direction, add_tail(run, exact[direction], qrels), qrels)
        alone = str(cfg.reranker.get("_target_")).endswith(".Identity")
        exact_hits = float((exact[direction].first == 1).mean()) if alone else None
        searching, building = spent[f"search {direction}"], spent[f"index {direction}"]
        scored[direction] = replace(one, seconds=searching, exact_hits=exact_hits, index_seconds=building)
    return scored


def asked(embeddings: Embeddings, qrels: Qrels) -> Embeddings:
    """Those that are queries: what the qrels name, in their order."""
    if embeddings.ids == qrels.query_ids:
        return embeddings
    place = {name: i for i, name in enumerate(embeddings.ids)}
    return embeddings.take(np.array([place[name] for name in qrels.query_ids], np.int64))


def score(cfg: DictConfig, direction: Direction, run: Run, qrels: Qrels) -> Scored:
    """Ranks, metrics and intervals of one run."""
    ranks, (names, ks) = ranks_of_run(run, qrels, direction), reported(cfg)
    spread = {"resamples": cfg.bootstrap.resamples, "seed": cfg.seed, "level": cfg.bootstrap.level}
    bars = intervals(ranks, ks, **spread, names=names)
    listed = {name: one.of_lists(run.index, run.gallery_size) for name, one in LISTED.items()}
    found = metrics_of(ranks, ks, names) | {name: value for name, value in listed.items() if name in names}
    return Scored(run, qrels, ranks, found, bars, names=names, ks=ks, listed=listed)


def banks_in(cfg: DictConfig, sources: Sources | None, features: Features) -> Banks | None:
    """The banks of a job that scores: none of them may hold a picture that is asked about."""
    asked = [features.picture_ids[i] for i in np.unique(features.picture_of)]
    if sources is None:
        if rule_of(cfg).active:
            raise ConfigError(f"scores={rule_of(cfg).name}: there is no data set here to take a bank of")
        return None
    return banks_of(cfg, sources.world, sources.tools.backbone, sources.tools.encoder, asked)


def corrector(banks: Banks, fitted: tuple[Bank, Fitted]) -> Callable[[Index], Index]:
    """Puts a correction that is fitted before an index."""
    return lambda index: Corrected(index, banks.rule, *fitted)


def exact_of(
    sides: Mapping[Direction, tuple[Embeddings, Embeddings, Qrels]],
    fitted: Mapping[Direction, tuple[Bank, Fitted]],
) -> dict[Direction, Ranks]:
    """The exact ranks by corrected scores; none where nothing is corrected."""
    return {
        direction: exact_ranks(
            *in_one_dimension_more(*sides[direction][:2], said), sides[direction][2], direction=direction
        )
        for direction, (_, said) in fitted.items()
    }
