"""From a run to a reranked run: which rerankers the config names, their scores, made once and kept, and the fusion."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.data.sources import NoPictures, origin
from picdesk.errors import ConfigError
from picdesk.files import digest_of, written_whole
from picdesk.interfaces import RerankContext, Reranker, Side
from picdesk.pipelines.build import build
from picdesk.pipelines.tools import Tools
from picdesk.rerankers.base import taken
from picdesk.rerankers.several import check_use
from picdesk.search.fusion import check_weights
from picdesk.training.checkpoint import find, load
from picdesk.trec import Run

log = logging.getLogger(__name__)
NOT_THE_PART = ("weight",)


@dataclass(frozen=True)
class Part:
    """One reranker of the config: its name, its weight, the object."""

    name: str
    weight: float
    reranker: Reranker


def rerank(cfg: DictConfig, run: Run, context: RerankContext, tools: Tools | None) -> Run:
    """The run after reranking and fusion; the run itself where every weight is 0. Rerankers of weight 0 are not asked."""
    weights = weights_of_parts(cfg)
    check_weights(list(weights.values()))
    if not any(weights.values()):
        return run
    parts = [part for part in parts_of(cfg) if part.weight]
    scores = [scores_of(part, run, context, tools) for part in parts]
    if str(cfg.fusion._target_).endswith(".Single"):
        log.warning("fusion=single leaves the order of the search as it is, whatever %s says", cfg.reranker._target_)
    fused: Run = build(cfg, "fusion").fuse(run, scores, [part.weight for part in parts])
    return fused


def nodes_of(cfg: DictConfig) -> dict[str, DictConfig]:
    """The nodes of the rerankers that are at work, by name: one, or those that `reranker.use` names."""
    node = cfg.reranker
    if "parts" not in node:
        return {str(cfg.choices.get("reranker") or node._target_.rpartition(".")[2]): node}
    use: Any = OmegaConf.to_container(node.use, resolve=True) if OmegaConf.is_config(node.use) else node.use
    check_use(use, [str(name) for name in node.parts])
    return {str(name): node.parts[name] for name in use}


def weights_of_parts(cfg: DictConfig) -> dict[str, float]:
    """The weight of each reranker that is at work."""
    return {name: float(node.get("weight", 0.0)) for name, node in nodes_of(cfg).items()}


def parts_of(cfg: DictConfig) -> list[Part]:
    """The rerankers that are at work; in a sweep, those of an earlier job where only the weight differs."""
    from picdesk.pipelines import shared  # which imports what scores runs

    made = []
    for name, node in nodes_of(cfg).items():
        plain = OmegaConf.to_container(node, resolve=True)
        assert isinstance(plain, dict)
        key = digest_of({k: v for k, v in plain.items() if k not in NOT_THE_PART})
        reranker: Reranker = shared.kept("reranker", key, lambda node=node: make(cfg, node))  # type: ignore[misc]
        made.append(Part(name, float(node.get("weight", 0.0)), reranker))
    return made


def make(cfg: DictConfig, node: DictConfig) -> Reranker:
    """Build one reranker; where it has a `ckpt`, its backbone is that of the checkpoint."""
    owner = OmegaConf.create({"reranker": node}, flags={"allow_objects": True})
    owner._set_parent(cfg)
    node = owner.reranker
    checkpoint = find(str(node.ckpt), Path(cfg.paths.outputs)) if node.get("ckpt") else None
    if checkpoint is not None:
        with open_dict(node):
            node.backbone = checkpoint.config.backbone
            node.ckpt = str(checkpoint.path)
    reranker: Any = build(owner, "reranker")
    if checkpoint is not None:
        load(checkpoint, reranker.backbone.eval())
    elif str(getattr(getattr(reranker, "backbone", None), "name", "")).startswith("lite"):
        raise ConfigError(
            "reranker.ckpt is missing: the heads of lite are untrained without one, and would rerank by chance"
        )
    result: Reranker = reranker
    return result


def scores_of(part: Part, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """Scores [queries, depth] of one reranker over its candidates, out of the store where they were made before."""
    reranker, depth = part.reranker, run.depth
    top_k = min(getattr(reranker, "top_k", None) or depth, depth)
    head_run = replace(run, index=run.index[:, :top_k], scores=run.scores[:, :top_k])
    scores = np.full(run.index.shape, np.nan, np.float32)
    step = getattr(reranker, "block", 0) or max(len(run.query_ids), 1)
    for start in range(0, len(run.query_ids), step):
        rows = np.arange(start, min(start + step, len(run.query_ids)))
        some, own = (head_run, context) if step >= len(run.query_ids) else section(head_run, context, rows)
        scores[rows, :top_k] = kept_scores(part, some, own, tools)
    silent = int(np.isnan(scores[:, :top_k][head_run.index >= 0]).sum())
    if silent:
        total = int((head_run.index >= 0).sum())
        log.info(
            "reranker %s, %s: %d of %d candidates unscored; they keep their place",
            part.name,
            context.direction,
            silent,
            total,
        )
    return scores


def section(run: Run, context: RerankContext, rows: NDArray[np.int64]) -> tuple[Run, RerankContext]:
    """Some queries of a run, with their side of the context."""
    ids = tuple(run.query_ids[i] for i in rows)
    return replace(run, query_ids=ids, index=run.index[rows], scores=run.scores[rows]), replace(
        context, queries=taken(context.queries, rows)
    )


def kept_scores(part: Part, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """What the reranker says, asked once ever: the same reranker, texts, pictures and candidates give the kept scores."""
    reranker = part.reranker
    own = reranker.fingerprint(context) if tools is not None else ""
    if tools is None or not own:
        return counted(reranker, run, context, tools)
    counts = tools.encoder.counts.more
    pairs = int((run.index >= 0).sum())
    sides = [side_key(side, tools) for side in (context.queries, context.items)]
    shape = hashlib.sha256(np.ascontiguousarray(run.index).tobytes()).hexdigest()
    key = digest_of([own, context.direction, sides, shape, list(run.index.shape)])
    path = tools.encoder.store.root / "reranks" / key[:2] / f"{key}.npz"
    known = read_scores(path, run.index.shape)
    if known is not None:
        counts["pairs_reused"] = counts.get("pairs_reused", 0) + pairs
        return known
    scores = counted(reranker, run, context, tools)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, scores=scores)
    return scores


def counted(reranker: Reranker, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """Score, and add what it cost to the counts of the job."""
    before: Mapping[str, int] = dict(getattr(reranker, "counts", {}))
    scores = reranker.score(run, context)
    if tools is not None:
        counts = tools.encoder.counts.more
        counts["pairs_scored"] = counts.get("pairs_scored", 0) + int((~np.isnan(scores)).sum())
        for name, value in getattr(reranker, "counts", {}).items():
            counts[name] = counts.get(name, 0) + value - before.get(name, 0)
    return scores


def side_key(side: Side, tools: Tools) -> str:
    """Digest over ids, texts, fields, vectors and picture contents of a side (vectors made elsewhere may have no pictures)."""
    fields = [
        {name: value if isinstance(value, str) else list(value) for name, value in own.items()} for own in side.fields
    ]
    pictures: list[str] = []
    if side.pictures is not None and side.ids and not isinstance(origin(side.pictures, 0)[0], NoPictures):
        pictures = [key.hex() for key in tools.encoder.picture_keys(side.pictures)]
    vectors = b"" if side.embeddings is None else np.ascontiguousarray(side.embeddings.matrix).tobytes()
    return digest_of([side.ids, side.texts, fields, pictures, hashlib.sha256(vectors).hexdigest()])


def read_scores(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Kept scores, or None where there are none that can be used."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            scores = file["scores"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        log.warning("%s cannot be read; its scores are made again", path)
        return None
    return scores if scores.shape == shape and scores.dtype == np.float32 else None
