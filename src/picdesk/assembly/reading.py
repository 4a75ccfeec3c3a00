"""The data set as its reader gives it, and its parts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly.build import LIMIT, build
from picdesk.collection import Collection
from picdesk.data.checks import Splits
from picdesk.data.facts import PictureFacts
from picdesk.data.groups import Known, see_all
from picdesk.data.splits import Random
from picdesk.embedding.progress import progress
from picdesk.errors import ConfigError, MissingFileError, examples
from picdesk.readers.split_files import with_left_out
from picdesk.trec.files import read_qrels

log = logging.getLogger(__name__)

WHOLE = ("retrieve", "encode", "export", "index_build", "index_add", "index_remove", "write_captions")


def read_and_split(cfg: DictConfig) -> tuple[Collection, Splits, tuple[str, ...]]:
    """The data set as its reader gives it, its parts, and what the split has to say of itself."""
    collection = judged(cfg, build(cfg, "data").read())
    split = build(cfg, "split")
    whole = whole_is_asked(cfg)
    if isinstance(split, Random) and whole:
        split.groups = ()
    splits: Splits = split.assign(collection, lambda pictures, looks: see(cfg, pictures, looks))
    told = () if whole else split.notes
    limit = OmegaConf.select(cfg, f"data.{LIMIT}")
    if limit is not None:
        collection, splits, note = limited(collection, splits, limit)
        told = (*told, note)
    return with_left_out(collection, split), splits, told


def limited(collection: Collection, splits: Splits, limit: object) -> tuple[Collection, Splits, str]:
    """At most `limit` pictures with all their texts, each part's share of them; the same ones whenever it is asked.

    Raises `ConfigError` unless `limit` is a whole number that leaves every part a picture.
    """
    parts = {name: np.asarray(rows, np.int64) for name, rows in splits.items()}
    total = len(np.unique(np.concatenate(list(parts.values())))) if parts else 0
    least = sum(len(rows) > 0 for rows in parts.values())
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < max(1, least):
        raise ConfigError(
            f"data.{LIMIT}={limit}: a whole number of pictures is needed, {max(1, least)} at least: one a part"
        )
    draw = np.random.default_rng(0)
    shares = {name: max(1, round(limit * len(rows) / max(1, total))) for name, rows in parts.items() if len(rows)}
    while sum(shares.values()) > limit:
        shares[max(shares, key=lambda name: shares[name])] -= 1
    taken = {name: np.sort(draw.permutation(parts[name])[:count]) for name, count in shares.items()}
    kept = np.unique(np.concatenate(list(taken.values())))
    place = np.full(len(collection.picture_ids), -1, np.int64)
    place[kept] = np.arange(len(kept))
    fewer = {name: place[taken[name]] if name in taken else rows for name, rows in parts.items()}
    note = f"data.{LIMIT}={limit}: {len(kept):,} of {len(collection.picture_ids):,} pictures, drawn from every part"
    return collection.take(kept), fewer, note


def judged(cfg: DictConfig, collection: Collection) -> Collection:
    """The data set with what `data.qrels` says is relevant besides its own pairs, or with `data.qrels_only` in their place.

    Raises `ConfigError` where none of its queries is in the data set.
    """
    if not cfg.data.get("qrels"):
        return collection
    name = str(cfg.data.qrels)
    below = Path(str(cfg.data.get("root") or "")).expanduser() / name
    path = below if below.is_file() else Path(name).expanduser()
    if not path.is_file():
        raise MissingFileError(f"data.qrels={name}: no such file, nor below data.root")
    judgments = read_qrels(path)
    known = {"t2i": set(collection.text_ids), "i2t": set(collection.picture_ids)}
    for direction, own in judgments.items():
        lost = [query for query in own.query_ids if query not in known[direction]]
        if len(lost) == len(own.query_ids):
            raise ConfigError(
                f"data.qrels={name}: none of its {len(lost)} {direction} queries is in data={collection.name}, for example "
                f"{examples(lost)}; the data set's own ids are like {examples(sorted(known[direction])[:2])}"
            )
        if lost:
            many = len(own.query_ids)
            log.warning("data.qrels=%s: %d of %d %s queries are not in the data set", name, len(lost), many, direction)
    return replace(collection, judgments=judgments, judged_only=bool(cfg.data.get("qrels_only")))


def whole_is_asked(cfg: DictConfig) -> bool:
    """Whether the job takes the whole data set, whatever its parts: then no picture is decoded to draw them."""
    return str(cfg.part) == "all" and str(cfg.task) in WHOLE


def see(cfg: DictConfig, collection: Collection, looks: bool = True) -> list[Known]:
    """What is known of each picture; what it costs to hash and decode is remembered beside the store."""
    facts = PictureFacts(Path(cfg.paths.store) / "facts.json")
    with progress("comparing pictures", len(collection.picture_ids)) as advance:
        return see_all(collection, looks, facts, int(cfg.encode.max_pixels), lambda: advance(1))
