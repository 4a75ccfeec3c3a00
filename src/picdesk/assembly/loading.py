"""From the config to the data set, the backbone and the encoder of a job."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.build import build, rendering
from picdesk.assembly.checkpoints import find
from picdesk.assembly.inherit import is_open, raw_node
from picdesk.assembly.reading import read_and_split
from picdesk.assembly.saved import taken
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.check_report import CheckReport
from picdesk.data.checks import Splits, check_collection, cleaned
from picdesk.data.facts import PictureFacts
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.progress import progress
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError, examples
from picdesk.report.manifest import Manifest
from picdesk.retrieval.dataset import PARTS, QUERY_FIELDS, World
from picdesk.training.checkpoint import MANIFEST, Checkpoint, load

log = logging.getLogger(__name__)


CHECKS = ("quick", "full")
EXPORT = "export"


def load_world(cfg: DictConfig) -> World:
    """Read the data set, split it, check it, say what was left out, choose the prompt."""
    collection, splits, split_notes = read_and_split(cfg)
    report = check_data(cfg, collection, splits, str(cfg.check), float(cfg.data.max_bad_fraction))
    collection, splits = cleaned(collection, splits, report)
    if collection.skipped:
        shown = examples([f"{item.item}: {item.reason}" for item in collection.skipped], 1)
        log.warning(
            "data=%s: %d items left out, the first: %s (all: task=check)",
            collection.name,
            len(collection.skipped),
            shown,
        )
    for note in (*collection.notes, *split_notes):
        log.info("data=%s: %s", collection.name, note)
    collection = gallery_if_asked(cfg, collection)
    names = collection.field_names()
    prompt = build(cfg, "prompt").choose(names) if names else None
    sizes = ", ".join(f"{name} {len(splits[name]):,}" for name in PARTS[:3])
    log.info(
        "data=%s: %s pictures, %s texts; %s; prompt: %s",
        collection.name,
        f"{len(collection.picture_ids):,}",
        f"{len(collection.text_ids):,}",
        sizes,
        getattr(prompt, "name", "none"),
    )
    return World(collection, splits, prompt, split_notes=split_notes)


def gallery_if_asked(cfg: DictConfig, collection: Collection) -> Collection:
    """The collection; without its texts where texts come from outside and their prompt does not suit those of the collection."""
    names = collection.field_names()
    if not names or not (cfg.query or cfg.queries):
        return collection
    try:
        build(cfg, "prompt").choose(names)
    except ConfigError:
        build(cfg, "prompt").choose(QUERY_FIELDS)
        vectors = dict(collection.vectors)
        vectors.pop("text", None)
        return replace(collection, text_ids=(), texts=(), picture_of=np.empty(0, np.int64), vectors=vectors)
    return collection


def check_data(
    cfg: DictConfig, collection: Collection, splits: Splits, level: str, max_bad_fraction: float
) -> CheckReport:
    """Look the data over; what it costs to hash and decode is remembered beside the store."""
    if level not in CHECKS:
        raise ConfigError(f"check={level}: choose one of {', '.join(CHECKS)}")
    facts = PictureFacts(Path(cfg.paths.store) / "facts.json")
    render = rendering(cfg, collection.field_names())
    with progress("checking pictures", len(collection.picture_ids)) as advance:
        return check_collection(
            collection,
            splits,
            max_bad_fraction=max_bad_fraction,
            max_pixels=int(cfg.encode.max_pixels),
            level="full" if level == "full" else "quick",
            facts=facts,
            on_picture=lambda: advance(1),
            render=render,
        )


def load_backbone(cfg: DictConfig, checkpoint: Checkpoint | None) -> TwoTower:
    """Build the backbone, with the checkpoint's weights where there is one."""
    backbone = given_backbone(cfg) if cfg.backbone.get("text_ckpt") else build(cfg, "backbone")
    if checkpoint is not None:
        load(checkpoint, backbone)
        log.info("checkpoint: %s", checkpoint.path)
    return backbone.eval()


def given_backbone(cfg: DictConfig) -> TwoTower:
    """`backbone=precomputed` with `text_ckpt`: the text tower is that of the checkpoint, or of what made an export.

    Raises `ConfigError` where an export does not say what made it, or says it of another file than lies there.
    """
    key = f"backbone.text_ckpt={cfg.backbone.text_ckpt}"
    if str(cfg.backbone.text_ckpt) == EXPORT:
        saved, checkpoint = made_export(cfg, key)
    else:
        checkpoint = find(str(cfg.backbone.text_ckpt), Path(cfg.paths.outputs))
        saved = taken(checkpoint.config_path, cfg)
    named = cfg.copy()
    with open_dict(named):
        named.backbone.text_encoder = raw_node(saved, "backbone")
    backbone: Any = build(named, "backbone")
    if checkpoint is not None:
        load(checkpoint, backbone.text_encoder)
        backbone.forget_fingerprints()
        log.info("text tower: %s", checkpoint.path)
    made: TwoTower = backbone
    return made


def made_export(cfg: DictConfig, key: str) -> tuple[DictConfig, Checkpoint | None]:
    """The config of the export that the data set is, and the checkpoint that made its vectors (None: a backbone as it is)."""
    folder = Path(str(cfg.data.get("root") or "")).expanduser()
    if not (folder / "config.yaml").is_file() or not (folder / MANIFEST).is_file():
        raise ConfigError(f"{key}: data.root={folder} is no folder that task=export left; name a checkpoint instead")
    saved, manifest = taken(folder / "config.yaml", cfg), Manifest.read(folder / MANIFEST)
    wanted = manifest.weights.get("checkpoint")
    if wanted is None:
        return saved, None
    if is_open(saved, "ckpt"):
        raise ConfigError(f"{key}: the checkpoint of this export lies outside it: name it: backbone.text_ckpt=FILE")
    checkpoint = find(str(saved.ckpt), Path(cfg.paths.outputs))
    if checkpoint.digest != wanted:
        raise ConfigError(f"{key}: {checkpoint.path} is not the checkpoint that made this export: its digest differs")
    return saved, checkpoint


def make_encoder(cfg: DictConfig) -> Encoder:
    """The encode loop on the store of this project."""
    settings = OmegaConf.to_container(cfg.encode, resolve=True)
    assert isinstance(settings, dict)
    store = Path(cfg.paths.store)
    facts = PictureFacts(store / "facts.json")
    return Encoder(Store(store), digests=facts, **{str(key): value for key, value in settings.items()})
