"""The data set as its reader gives it, and its parts."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from picdesk.assembly.build import build
from picdesk.collection import Collection
from picdesk.data.checks import Splits
from picdesk.data.facts import PictureFacts
from picdesk.data.groups import Known, see_all
from picdesk.data.splits import Random
from picdesk.embedding.progress import progress
from picdesk.readers.split_files import with_left_out

WHOLE = ("retrieve", "encode", "export", "index_build", "index_add", "index_remove", "write_captions")


def read_and_split(cfg: DictConfig) -> tuple[Collection, Splits, tuple[str, ...]]:
    """The data set as its reader gives it, its parts, and what the split has to say of itself."""
    collection: Collection = build(cfg, "data").read()
    split = build(cfg, "split")
    whole = whole_is_asked(cfg)
    if isinstance(split, Random) and whole:
        split.groups = ()
    splits: Splits = split.assign(collection, lambda pictures, looks: see(cfg, pictures, looks))
    return with_left_out(collection, split), splits, () if whole else split.notes


def whole_is_asked(cfg: DictConfig) -> bool:
    """Whether the job takes the whole data set, whatever its parts: then no picture is decoded to draw them."""
    return str(cfg.part) == "all" and str(cfg.task) in WHOLE


def see(cfg: DictConfig, collection: Collection, looks: bool = True) -> list[Known]:
    """What is known of each picture; what it costs to hash and decode is remembered beside the store."""
    facts = PictureFacts(Path(cfg.paths.store) / "facts.json")
    with progress("comparing pictures", len(collection.picture_ids)) as advance:
        return see_all(collection, looks, facts, int(cfg.encode.max_pixels), lambda: advance(1))
