"""What every job needs before it can do anything: the data set, its parts, the backbone, the encoder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly.build import build, rendering
from picdesk.assembly.reading import read_and_split
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.check_report import CheckReport
from picdesk.data.checks import Splits, check_collection, cleaned
from picdesk.data.facts import PictureFacts
from picdesk.data.images import Noted
from picdesk.data.sources import has_pictures
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.progress import progress
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError, examples
from picdesk.files import digest_of
from picdesk.interfaces import Embeddings, Modality
from picdesk.training.checkpoint import MODALITIES, Checkpoint, load
from picdesk.training.features import Features

log = logging.getLogger(__name__)
PARTS = ("train", "val", "test", "all")
QUERY_FIELDS = ("title", "caption", "tags")  # what a text that is asked from outside has
CHECKS = ("quick", "full")


@dataclass(frozen=True)
class World:
    """The data set with its parts, and the prompt that makes its texts; `key` stands for all that they were made from, and
    `split_notes` are what the split has to say of itself."""

    collection: Collection
    splits: Splits
    prompt: Any
    key: str = ""
    split_notes: tuple[str, ...] = ()

    def part(self, name: str) -> Collection:
        """One part of the data set. Raises `ConfigError` for an unknown or empty one."""
        if name not in PARTS:
            raise ConfigError(f"part={name}: choose one of {', '.join(PARTS)}")
        if name == "all":
            return self.collection
        rows = self.splits[name]
        if not len(rows):
            filled = [part for part in PARTS[:3] if len(self.splits[part])]
            raise ConfigError(
                f"part={name} of data={self.collection.name} is empty; this split fills {', '.join(filled)}"
            )
        return self.collection.take(rows)

    def prompts(self, part: Collection) -> list[str]:
        """The text of each text record, as it is encoded."""
        return [self.prompt.render(fields) for fields in part.texts]

    def titles(self, part: Collection) -> list[str]:
        """A short text of each text record for people to read: its title or caption, else what is encoded."""
        return [
            str(fields.get("title") or fields.get("caption") or self.prompt.render(fields)) for fields in part.texts
        ]

    def split_digest(self) -> str:
        """Digest over which pictures each part holds."""
        ids = self.collection.picture_ids
        return digest_of({name: sorted(ids[i] for i in rows) for name, rows in self.splits.items()})

    def fingerprint(self, part: Collection, encoder: Encoder, fields: bool = False) -> dict[str, str]:
        """Digests over the pictures' content, the prompts, which belongs to which, and the ids; with `fields` also over all
        that the data set says of its texts, which rerankers read."""
        there = has_pictures(part)
        keys = [key.hex() for key in encoder.picture_keys(part.pictures)] if there else [""] * len(part.picture_ids)
        vectors = {name: hashlib.sha256(matrix.tobytes()).hexdigest() for name, matrix in sorted(part.vectors.items())}
        return {
            "pictures": digest_of(sorted(zip(part.picture_ids, keys, strict=True))),
            "texts": digest_of(list(zip(part.text_ids, self.prompts(part), strict=True))),
            "pairs": digest_of([part.picture_ids[i] for i in part.picture_of]),
            **({"vectors": digest_of(vectors)} if vectors else {}),
            **({"fields": digest_of([plain(own) for own in part.texts])} if fields else {}),
        }


def plain(fields: Mapping[str, str | Sequence[str]]) -> dict[str, str | list[str]]:
    """The fields of a text as JSON has them."""
    return {name: value if isinstance(value, str) else list(value) for name, value in fields.items()}


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
    backbone: TwoTower = build(cfg, "backbone")
    if checkpoint is not None:
        load(checkpoint, backbone)
        log.info("checkpoint: %s", checkpoint.path)
    return backbone.eval()


def make_encoder(cfg: DictConfig) -> Encoder:
    """The encode loop on the store of this project."""
    settings = OmegaConf.to_container(cfg.encode, resolve=True)
    assert isinstance(settings, dict)
    store = Path(cfg.paths.store)
    facts = PictureFacts(store / "facts.json")
    return Encoder(Store(store), digests=facts, **{str(key): value for key, value in settings.items()})


def features_of(
    world: World, part: Collection, backbone: TwoTower, encoder: Encoder, without: tuple[Modality, ...] = ()
) -> Features:
    """Trunk features of one part, through the store; `without` leaves the matrices of some sides empty."""
    if not part.text_ids:
        raise ConfigError(f"data={part.name}: this part has no texts, so there is nothing to train on or to score")
    none = {modality: np.empty((0, backbone.trunk_dim(modality)), np.float32) for modality in MODALITIES}
    return Features(
        picture_ids=part.picture_ids,
        text_ids=part.text_ids,
        images=none["image"] if "image" in without else picture_features(part, backbone, encoder),
        texts=none["text"] if "text" in without else text_features(world, part, backbone, encoder),
        picture_of=part.picture_of,
        t2i=part.qrels("t2i"),
        i2t=part.qrels("i2t"),
    )


def picture_features(part: Collection, backbone: TwoTower, encoder: Encoder) -> NDArray[np.float32]:
    """Trunk features [pictures, trunk_dim] of one part, through the store or as they came with the data set."""
    given = backbone.given("image", part.vectors, part.name)
    if given is not None:
        return given
    noted = Noted()
    rows = encoder.pictures(backbone, part.pictures, noted.open, part.picture_ids)
    for line in noted.lines():
        log.info("data=%s: %s", part.name, line)
    return rows


def text_features(world: World, part: Collection, backbone: TwoTower, encoder: Encoder) -> NDArray[np.float32]:
    """Trunk features [texts, trunk_dim] of one part, through the store or as they came with the data set."""
    given = backbone.given("text", part.vectors, part.name)
    if given is None:
        return encoder.texts(backbone, world.prompts(part))
    backbone.check_texts(world.prompts(part), given)
    return given


def embed(backbone: TwoTower, features: Features) -> tuple[Embeddings, Embeddings]:
    """Texts and pictures of one part in the shared space."""
    texts = head(backbone, "text", features.texts)
    return Embeddings(features.text_ids, texts), Embeddings(
        features.picture_ids, head(backbone, "image", features.images)
    )


def head(backbone: TwoTower, modality: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Trunk features to embeddings, in blocks, float32."""
    import torch

    with torch.inference_mode():
        blocks = [
            backbone.embed(modality, torch.from_numpy(block))
            for block in np.array_split(features, len(features) // 8192 + 1)
        ]
        return torch.cat(blocks).float().numpy()
