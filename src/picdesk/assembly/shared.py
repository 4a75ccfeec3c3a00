"""What the jobs of one sweep in one process share: the data set, the backbone, the store, trunk features."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import loading
from picdesk.assembly.reading import whole_is_asked
from picdesk.assembly.reranking import weights_of_parts
from picdesk.assembly.shelf import kept, sweeping
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.facts import PictureFacts
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.embedding.unread import Unread
from picdesk.evaluation.ranks import Flags
from picdesk.files import digest_of
from picdesk.interfaces import Modality
from picdesk.retrieval import slices
from picdesk.retrieval.dataset import World
from picdesk.retrieval.features import features_of as features_through_store
from picdesk.training.checkpoint import MODALITIES, Checkpoint
from picdesk.training.features import Features


def key_of(cfg: DictConfig, *names: str) -> str:
    """Digest of the resolved nodes of these names."""
    plain = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(names)), resolve=False)
    assert isinstance(plain, dict)
    resolved = {str(name): resolve(cfg, str(name)) for name in plain}
    return digest_of([resolved, str(cfg.paths.store)])


def resolve(cfg: DictConfig, name: str) -> Any:
    """One node as plain values."""
    node = cfg[name]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def load_world(cfg: DictConfig) -> World:
    """The data set with its parts."""
    key = world_key(cfg)
    return kept("world", key, lambda: replace(loading.load_world(cfg), key=key))


def world_key(cfg: DictConfig) -> str:
    """What a data set with its parts and texts depends on."""
    whole = whole_is_asked(cfg)
    return digest_of([key_of(cfg, "data", "split", "prompt", "check"), int(cfg.encode.max_pixels), whole])


def fingerprint(cfg: DictConfig, world: World, part: Collection, encoder: Encoder) -> dict[str, str]:
    """Digests of one part's content."""
    fields = any(weights_of_parts(cfg).values())
    key = digest_of([part_key(cfg, world, part), fields])
    return kept("fingerprint", key, lambda: world.fingerprint(part, encoder, fields))


def part_key(cfg: DictConfig, world: World, part: Collection) -> str:
    """What one part with its texts depends on."""
    return digest_of([world.key or world_key(cfg), list(part.picture_ids)])


def look_alikes(cfg: DictConfig, world: World, part: Collection, encoder: Encoder) -> Flags | None:
    """Which pictures of one part have a near-duplicate in it; None where that is not known."""
    facts = encoder.digests
    if not isinstance(facts, PictureFacts):
        return None
    return kept("look_alikes", part_key(cfg, world, part), lambda: slices.look_alikes(part, facts))


def load_backbone(cfg: DictConfig, checkpoint: Checkpoint | None, to_train: bool = False) -> TwoTower:
    """The backbone with the checkpoint's weights; one that is to be trained is a copy of its own."""
    key = digest_of([key_of(cfg, "backbone"), checkpoint.digest if checkpoint else None])
    backbone = kept("backbone", key, lambda: loading.load_backbone(cfg, checkpoint))
    return copy.deepcopy(backbone) if to_train and sweeping() else backbone


def make_encoder(cfg: DictConfig) -> Encoder:
    """The encode loop, with counts of its own, on the store that the jobs share."""
    encoder = loading.make_encoder(cfg)
    encoder.store = kept("store", str(Path(cfg.paths.store).resolve()), lambda: Store(Path(cfg.paths.store)))
    return encoder


def features_of(
    cfg: DictConfig,
    world: World,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    without: tuple[Modality, ...] = (),
) -> Features:
    """Trunk features of one part; `without` leaves the matrices of some sides empty."""
    trunks = [backbone.trunk_fingerprint(modality) for modality in MODALITIES]
    key = digest_of(
        [
            *(part_key(cfg, world, part), trunks),
            *(encoder.precision, encoder.fast_decode, encoder.storage, list(without)),
        ]
    )
    made: list[Features] = []

    def make() -> Features:
        made.append(features_through_store(world, part, backbone, encoder, without))
        kept("unread", key, lambda: copy.deepcopy(encoder.unread))
        return made[0]

    features = kept("features", key, make)
    if not made:
        encoder.counts.reused["image"] += len(features.images)
        encoder.counts.reused["text"] += len(features.texts)
        encoder.unread.take_over(kept("unread", key, Unread))
    return features
