"""Which rerankers the config names, with their weights: built before anything is encoded, so that mistakes are told at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly import shelf
from picdesk.assembly.allowed import class_of
from picdesk.assembly.build import TARGET, build, plugins_of
from picdesk.assembly.checkpoints import find
from picdesk.assembly.saved_config import read_saved
from picdesk.backbones.deferred import KnownFingerprints
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import Fusion, Modality, Reranker
from picdesk.language_models import NamedByEnvironment
from picdesk.rerankers.several import check_use
from picdesk.retrieval.rerank_scores import Part
from picdesk.retrieval.reranking import Reranking
from picdesk.search.fusion import check_weights
from picdesk.training.checkpoint import Checkpoint, load

log = logging.getLogger(__name__)
NOT_THE_PART = ("weight",)


class Rerankers:
    """The rerankers of a config by name, built once they are asked for."""

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg

    @cached_property
    def nodes(self) -> dict[str, DictConfig]:
        """The nodes of the rerankers that are named, by name: one, or those that `reranker.use` names."""
        node = self.cfg.reranker
        if "parts" not in node:
            return {str(self.cfg.choices.get("reranker") or node._target_.rpartition(".")[2]): node}
        use: Any = OmegaConf.to_container(node.use, resolve=True) if OmegaConf.is_config(node.use) else node.use
        check_use(use, [str(name) for name in node.parts])
        return {str(name): node.parts[name] for name in use}

    @cached_property
    def weights(self) -> dict[str, float]:
        """The weight of each reranker that is named."""
        weights: dict[str, Any] = {name: node.get("weight", 0.0) for name, node in self.nodes.items()}
        for name, weight in weights.items():
            if not isinstance(weight, int | float):
                raise ConfigError(f"reranker.weight={weight} ({name}): a number from 0 to 1 is needed")
        return {name: float(weight) for name, weight in weights.items()}

    def reranking(self) -> Reranking:
        """The rerankers that have a share in the order, and the fusion. Raises `ConfigError` for what no weight can be."""
        check_weights(list(self.weights.values()))
        if not any(self.weights.values()):
            return Reranking()
        fusion: Fusion = build(self.cfg, "fusion")
        if not fusion.mixes:
            log.warning("fusion=single leaves the order of the search as it is; the reranker is not asked")
            return Reranking()
        return Reranking(self.parts(tuple(name for name, weight in self.weights.items() if weight)), fusion)

    def checkpoints(self) -> list[Checkpoint]:
        """Those of rerankers that have a share in the order."""
        at_work = [node for name, node in self.nodes.items() if self.weights[name]]
        return [find(str(node.ckpt), Path(self.cfg.paths.outputs)) for node in at_work if node.get("ckpt")]

    def contents(self) -> dict[str, str]:
        """For a manifest: what the rerankers at work are made of, by content, since settings name only where it lies."""
        found = {f"reranker.{part.name}": part.reranker.content() for part in self.reranking().parts}
        return {key: digest for key, digest in found.items() if digest}

    def name_language_model(self) -> None:
        """Write into the config which language model the environment names, where a reranker asks one, be it in a table of its
        own: whoever has the job again has another environment."""
        shared = self.cfg.language_model
        for model in (found for node in self.nodes.values() for found in language_models_in(node, shared)):
            kind = class_of(model.get(TARGET), model._get_full_key(None), plugins_of(self.cfg))
            if isinstance(kind, NamedByEnvironment):
                plain: Any = OmegaConf.to_container(model, resolve=True)
                with open_dict(model):
                    model.update(kind.named_here(plain))

    def check_fit(self, made_by: str, tuned: frozenset[Modality]) -> None:
        """Raise `ConfigError` for a reranker that could not score what such a backbone finds, the towers `tuned` changed."""
        for part in self.reranking().parts:
            part.reranker.check_fit(made_by, tuned)

    def refuse(self, job: str) -> None:
        """Raise `ConfigError` where a reranker is chosen for a job in which it has no share."""
        if any(self.weights.values()):
            told = f"{job}, so reranker={', '.join(self.weights)} has no share in it: leave it out (reranker=identity)"
            raise ConfigError(told)

    def parts(self, names: tuple[str, ...] | None = None) -> list[Part]:
        """The rerankers of these names (None: all that are named), each built once a job; in a sweep, once where only the
        weight differs."""
        made = []
        for name, node in self.nodes.items():
            if names is not None and name not in names:
                continue
            plain = OmegaConf.to_container(node, resolve=True)
            assert isinstance(plain, dict)
            key = digest_of({k: v for k, v in plain.items() if k not in NOT_THE_PART})
            reranker: Reranker = shelf.keep_in_job("reranker", key, lambda node=node: self._make(node))  # type: ignore[misc]
            made.append(Part(name, self.weights[name], reranker))
        return made

    def _make(self, node: DictConfig) -> Reranker:
        """Build one reranker; where it has a `ckpt`, its backbone is that of the checkpoint."""
        owner = OmegaConf.create({"reranker": node}, flags={"allow_objects": True})
        owner._set_parent(self.cfg)
        node = owner.reranker
        checkpoint = find(str(node.ckpt), Path(self.cfg.paths.outputs)) if node.get("ckpt") else None
        if checkpoint is not None:
            with open_dict(node):
                node.backbone = read_saved(checkpoint.config_path, self.cfg).backbone
                node.ckpt = str(checkpoint.path)
        reranker: Reranker = build(owner, "reranker")
        for backbone in vars(reranker).values():
            if isinstance(backbone, TwoTower):
                backbone.known_fingerprints = KnownFingerprints.beside(Path(self.cfg.paths.store))
        if checkpoint is not None:
            load(checkpoint, reranker.backbone.eval())
        elif reranker.backbone is not None and reranker.backbone.untrained:
            told = f"the heads of {reranker.backbone.name} are untrained without one, and would rerank by chance"
            raise ConfigError(f"reranker.ckpt is missing: {told}")
        return reranker


def language_models_in(node: Any, shared: Any) -> Iterator[DictConfig]:
    """The tables that are the `shared` one, or stand below a key `language_model`, here or in what the node names."""
    for key in node if OmegaConf.is_dict(node) else ():
        child = node._get_node(key)._maybe_dereference_node()
        if OmegaConf.is_dict(child):
            is_model = child is shared or key == "language_model"
            yield from [child] if is_model else language_models_in(child, shared)
