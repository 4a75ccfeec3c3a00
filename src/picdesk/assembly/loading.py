"""From what a reader gives to the data set of a job: checked, what is left out told, its prompt chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict

from picdesk.assembly.build import build
from picdesk.assembly.checkpoints import find
from picdesk.assembly.inherit import is_open
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_limits import raw_node
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.checks import Splits
from picdesk.errors import ConfigError, examples
from picdesk.report.manifest import Manifest
from picdesk.retrieval.dataset import PARTS, QUERY_FIELDS, Dataset
from picdesk.training.checkpoint import MANIFEST, Checkpoint, load

log = logging.getLogger(__name__)
MakePrompt = Callable[[], Any]
EXPORT = "export"


def dataset_of(
    collection: Collection, splits: Splits, notes: tuple[str, ...], make_prompt: MakePrompt, asked: bool, key: str
) -> Dataset:
    """The data set with its parts and its prompt; `asked` where texts come from outside."""
    if collection.skipped:
        shown = examples([f"{item.item}: {item.reason}" for item in collection.skipped], 1)
        told = "data=%s: %d items left out, the first: %s (all: task=check)"
        log.warning(told, collection.name, len(collection.skipped), shown)
    for note in (*collection.notes, *notes):
        log.info("data=%s: %s", collection.name, note)
    collection = gallery_if_asked(collection, make_prompt) if asked else collection
    names = collection.field_names()
    prompt = make_prompt().choose(names) if names else None
    log.info(
        "data=%s: %s pictures, %s texts; %s; prompt: %s",
        collection.name,
        f"{len(collection.picture_ids):,}",
        f"{len(collection.text_ids):,}",
        ", ".join(f"{name} {len(splits[name]):,}" for name in PARTS[:3]),
        "none" if prompt is None else prompt.name,
    )
    return Dataset(collection, splits, prompt, key, notes)


def gallery_if_asked(collection: Collection, make_prompt: MakePrompt) -> Collection:
    """The collection; without its texts where texts come from outside and their prompt does not suit those of the collection."""
    names = collection.field_names()
    if not names:
        return collection
    try:
        make_prompt().choose(names)
    except ConfigError:
        make_prompt().choose(QUERY_FIELDS)
        vectors = dict(collection.vectors)
        vectors.pop("text", None)
        return replace(collection, text_ids=(), texts=(), picture_of=np.empty(0, np.int64), vectors=vectors)
    return collection


def given_backbone(cfg: DictConfig) -> TwoTower:
    """`backbone=precomputed` with `text_ckpt`: the text tower is that of the checkpoint, or of what made an export.

    Raises `ConfigError` where an export does not say what made it, or says it of another file than lies there.
    """
    key = f"backbone.text_ckpt={cfg.backbone.text_ckpt}"
    if str(cfg.backbone.text_ckpt) == EXPORT:
        saved, checkpoint = made_export(cfg, key)
    else:
        checkpoint = find(str(cfg.backbone.text_ckpt), Path(cfg.paths.outputs))
        saved = read_saved(checkpoint.config_path, cfg)
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
    saved, manifest = read_saved(folder / "config.yaml", cfg), Manifest.read(folder / MANIFEST)
    wanted = manifest.weights.get("checkpoint")
    if wanted is None:
        return saved, None
    if is_open(saved, "ckpt"):
        raise ConfigError(f"{key}: the checkpoint of this export lies outside it: name it: backbone.text_ckpt=FILE")
    checkpoint = find(str(saved.ckpt), Path(cfg.paths.outputs))
    if checkpoint.digest != wanted:
        raise ConfigError(f"{key}: {checkpoint.path} is not the checkpoint that made this export: its digest differs")
    return saved, checkpoint
