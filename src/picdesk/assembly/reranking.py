"""From a run to a reranked run: which rerankers the config names, their scores, made once and kept, and the fusion."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.build import build
from picdesk.assembly.checkpoints import find
from picdesk.assembly.saved import taken
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import Modality, RerankContext, Reranker
from picdesk.rerankers.several import check_use
from picdesk.retrieval.rerank_scores import Part, scores_of
from picdesk.retrieval.tools import Tools
from picdesk.search.fusion import check_weights
from picdesk.training.checkpoint import load
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
NOT_THE_PART = ("weight",)


def rerank(cfg: DictConfig, run: Run, context: RerankContext, tools: Tools | None) -> Run:
    """The run after reranking and fusion; the run itself where every weight is 0. Rerankers of weight 0 are not asked."""
    parts = parts_at_work(cfg)
    if not parts:
        return run
    scores = [scores_of(part, run, context, tools) for part in parts]
    fused: Run = build(cfg, "fusion").fuse(run, scores, [part.weight for part in parts])
    return fused


def parts_at_work(cfg: DictConfig) -> list[Part]:
    """The rerankers that have a share in the order: none under `fusion=single`. Raises `ConfigError` for what no weight can be.

    Asked for before anything is encoded, so that a mistake in a reranker is told at once.
    """
    weights = weights_of_parts(cfg)
    check_weights(list(weights.values()))
    if not any(weights.values()):
        return []
    if str(cfg.fusion._target_).endswith(".Single"):
        log.warning("fusion=single leaves the order of the search as it is; the reranker is not asked")
        return []
    build(cfg, "fusion")
    return parts_of(cfg, tuple(name for name, weight in weights.items() if weight))


def contents(cfg: DictConfig) -> dict[str, str]:
    """For a manifest: what the rerankers at work are made of, by content, since settings name only where it lies."""
    found = {f"reranker.{part.name}": getattr(part.reranker, "content", str)() for part in parts_at_work(cfg)}
    return {key: digest for key, digest in found.items() if digest}


def check_fit(cfg: DictConfig, made_by: str, tuned: frozenset[Modality]) -> None:
    """Raise `ConfigError` for a reranker that could not score what a fit of these towers leaves."""
    for part in parts_at_work(cfg):
        getattr(part.reranker, "check_fit", lambda *_: None)(made_by, tuned)


def refuse_reranker(cfg: DictConfig, job: str) -> None:
    """Raise `ConfigError` where a reranker is chosen for a job in which it has no share."""
    weights = weights_of_parts(cfg)
    if any(weights.values()):
        raise ConfigError(
            f"{job}, so reranker={', '.join(weights)} has no share in it: leave it out (reranker=identity)"
        )


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
    weights: dict[str, Any] = {name: node.get("weight", 0.0) for name, node in nodes_of(cfg).items()}
    for name, weight in weights.items():
        if not isinstance(weight, int | float):
            raise ConfigError(f"reranker.weight={weight} ({name}): a number from 0 to 1 is needed")
    return {name: float(weight) for name, weight in weights.items()}


def parts_of(cfg: DictConfig, names: tuple[str, ...] | None = None) -> list[Part]:
    """The rerankers of these names (None: all that are chosen), each built once a job; in a sweep, once where only the weight
    differs."""
    from picdesk.assembly import shelf

    made, weights = [], weights_of_parts(cfg)
    for name, node in nodes_of(cfg).items():
        if names is not None and name not in names:
            continue
        plain = OmegaConf.to_container(node, resolve=True)
        assert isinstance(plain, dict)
        key = digest_of({k: v for k, v in plain.items() if k not in NOT_THE_PART})
        reranker: Reranker = shelf.kept_in_job("reranker", key, lambda node=node: make(cfg, node))  # type: ignore[misc]
        made.append(Part(name, weights[name], reranker))
    return made


def make(cfg: DictConfig, node: DictConfig) -> Reranker:
    """Build one reranker; where it has a `ckpt`, its backbone is that of the checkpoint."""
    owner = OmegaConf.create({"reranker": node}, flags={"allow_objects": True})
    owner._set_parent(cfg)
    node = owner.reranker
    checkpoint = find(str(node.ckpt), Path(cfg.paths.outputs)) if node.get("ckpt") else None
    if checkpoint is not None:
        with open_dict(node):
            node.backbone = taken(checkpoint.config_path, cfg).backbone
            node.ckpt = str(checkpoint.path)
    reranker: Any = build(owner, "reranker")
    if checkpoint is not None:
        load(checkpoint, reranker.backbone.eval())
    elif getattr(getattr(reranker, "backbone", None), "untrained", False):
        raise ConfigError(
            f"reranker.ckpt is missing: the heads of {reranker.backbone.name} are untrained without one, and would rerank by "
            "chance"
        )
    result: Reranker = reranker
    return result
