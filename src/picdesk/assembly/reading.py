"""From what a reader gives to the data set of a job: its parts, what a look over it finds, its prompt; and a backbone over given
vectors. What a look costs is remembered beside the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict

from picdesk.assembly.build import LIMIT, build
from picdesk.assembly.checkpoints import EXPORT, find
from picdesk.assembly.inherit import is_open
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_limits import raw_node
from picdesk.assembly.shelf import keep_in_sweep
from picdesk.backbones.deferred import KnownFingerprints
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection, Fields
from picdesk.data.check_report import CheckReport
from picdesk.data.checks import Splits, check_collection
from picdesk.data.facts import PictureFacts
from picdesk.data.groups import Known, see_all
from picdesk.data.splits import PARTS, Split
from picdesk.embedding.progress import progress
from picdesk.errors import ConfigError, MissingFileError, examples
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.readers.split_files import with_left_out
from picdesk.report.manifest import Manifest
from picdesk.retrieval.dataset import QUERY_FIELDS, Dataset
from picdesk.training.checkpoint import MANIFEST, Checkpoint, load
from picdesk.trec.files import read_qrels
from picdesk.trec.runs import Qrels

log = logging.getLogger(__name__)

CHECKS = ("quick", "full")
MakePrompt = Callable[[], Any]


@dataclass(frozen=True)
class Looks:
    """How pictures are looked at before anything is encoded: what is known of them, and how large they may be."""

    store: Path
    max_pixels: int

    def facts(self) -> PictureFacts:
        """What is remembered of pictures; the jobs of a sweep read it once."""
        file = self.store / "facts.json"
        return keep_in_sweep("facts", str(file.resolve()), lambda: PictureFacts(file))

    def see(self, collection: Collection, looks: bool = True) -> list[Known]:
        """What is known of each picture."""
        with progress("comparing pictures", len(collection.picture_ids)) as advance:
            return see_all(collection, looks, self.facts(), self.max_pixels, lambda: advance(1))

    def check(
        self,
        collection: Collection,
        splits: Splits,
        level: str,
        max_bad_fraction: float,
        render: Callable[[Fields], str] | None,
    ) -> CheckReport:
        """Look the data over: `quick` by the first bytes of pictures, `full` by decoding them all."""
        if level not in CHECKS:
            raise ConfigError(f"check={level}: choose one of {', '.join(CHECKS)}")
        with progress("checking pictures", len(collection.picture_ids)) as advance:
            return check_collection(
                collection,
                splits,
                max_bad_fraction=max_bad_fraction,
                max_pixels=self.max_pixels,
                level="full" if level == "full" else "quick",
                facts=self.facts(),
                on_picture=lambda: advance(1),
                render=render,
            )


def read_and_split(
    reader: Any, split: Split, looks: Looks, whole: bool = False, limit: object = None, qrels: Judgments | None = None
) -> tuple[Collection, Splits, tuple[str, ...]]:
    """The data set as its reader gives it, its parts, and what the split has to say of itself.

    Where the job takes the `whole` data set, whatever its parts, no picture is decoded to draw them, and they may be empty.
    At most `limit` pictures are taken, spread over the parts. `qrels` are further judgments of what is relevant.
    """
    collection: Collection = reader.read()
    collection = qrels.add_to(collection) if qrels is not None else collection
    if whole:
        split.part_freely()
    splits = split.assign(collection, looks.see)
    told = () if whole else split.notes
    if limit is not None:
        collection, splits, note = limit_pictures(collection, splits, limit)
        told = (*told, note)
    return with_left_out(collection, split), splits, told


def limit_pictures(collection: Collection, splits: Splits, limit: object) -> tuple[Collection, Splits, str]:
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
    drawn = parts if total else {"all": np.arange(len(collection.picture_ids))}  # no part holds anything
    total = total or len(collection.picture_ids)
    shares = {name: max(1, round(limit * len(rows) / total)) for name, rows in drawn.items() if len(rows)}
    while sum(shares.values()) > limit:
        shares[max(shares, key=lambda name: shares[name])] -= 1
    taken = {name: np.sort(draw.permutation(drawn[name])[:count]) for name, count in shares.items()}
    kept = np.unique(np.concatenate(list(taken.values())))
    place = np.full(len(collection.picture_ids), -1, np.int64)
    place[kept] = np.arange(len(kept))
    fewer = {name: place[taken[name]] if name in taken else rows for name, rows in parts.items()}
    note = f"data.{LIMIT}={limit}: {len(kept):,} of {len(collection.picture_ids):,} pictures, drawn from every part"
    few = collection.take(kept)
    rows, left = (len(one.texts) or len(one.picture_ids) for one in (collection, few))
    return replace(few, aside=rows - left), fewer, note


@dataclass(frozen=True)
class Judgments:
    """`data.qrels`: a file of what is relevant besides the data set's own pairs, or (`only`) in their place; below `root`."""

    name: str
    root: str = ""
    only: bool = False

    def add_to(self, collection: Collection) -> Collection:
        """The data set with them. Raises `ConfigError` where none of their queries is in the data set."""
        below = Path(self.root).expanduser() / self.name
        path = below if below.is_file() else Path(self.name).expanduser()
        if not path.is_file():
            raise MissingFileError(f"data.qrels={self.name}: no such file, nor below data.root")
        judgments = read_qrels(path)
        known: dict[Direction, set[str]] = {"t2i": set(collection.text_ids), "i2t": set(collection.picture_ids)}
        for direction, own in judgments.items():
            if known[direction].isdisjoint(own.query_ids):
                raise ConfigError(
                    f"data.qrels={self.name}: none of its {len(own.query_ids)} {direction} queries is in data={collection.name}, "
                    f"for example {examples(list(own.query_ids))}; the data set's own ids are like "
                    f"{examples(sorted(known[direction])[:2])}"
                )
            self._tell_unused(direction, own, known)
        for direction in DIRECTIONS:
            if self.only and direction not in judgments:
                told = "data.qrels=%s: no line is of %s, which counts the data set's own pairs"
                log.warning(told, self.name, direction)
        return replace(collection, judgments=judgments, judged_only=self.only)

    def _tell_unused(self, direction: Direction, judgments: Qrels, known: dict[Direction, set[str]]) -> None:
        """Say which queries and items of the file are not in the data set, and which queries are left with nothing."""
        queries, items = known[direction], known["i2t" if direction == "t2i" else "t2i"]
        for what, names, there in (("queries", judgments.query_ids, queries), ("items", judgments.item_ids, items)):
            if lost := [name for name in names if name not in there]:
                told = "data.qrels=%s: %d of %d %s %s are not in the data set, for example %s"
                log.warning(told, self.name, len(lost), len(names), direction, what, examples(lost))
        found = np.array([item in items for item in judgments.item_ids], np.bool_)[judgments.items]
        empty = int((~np.logical_or.reduceat(found, judgments.bounds[:-1])).sum())
        if self.only and empty:
            told = (
                "data.qrels=%s: %d of %d %s queries are left out: nothing that is relevant to them is in the data set"
            )
            log.warning(told, self.name, empty, len(judgments.query_ids), direction)


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


def given_backbone(cfg: DictConfig, above: tuple[object, ...] = ()) -> TwoTower:
    """`backbone=precomputed` with `text_ckpt`: the text tower is that of the checkpoint, or of what made an export; where that
    has heads over given vectors itself, and the tower of another, one upon the other. `above` are those on top of it.

    Raises `ConfigError` where an export does not say what made it, or says it of another file than lies there.
    """
    ckpt = str(cfg.backbone.text_ckpt)
    here = (ckpt, cfg.data.get("root"))
    if here in above:
        raise ConfigError(f"backbone.text_ckpt={ckpt}: it names itself as what made it")
    saved, checkpoint = maker_of(cfg, ckpt)
    named, inner, more = cfg.copy(), cfg.copy(), dict[str, Any]()
    with open_dict(named), open_dict(inner):
        named.backbone.text_encoder = inner.backbone = raw_node(saved, "backbone")
        if inner.backbone.get("text_ckpt"):
            inner.data = raw_node(saved, "data")
            named.backbone.text_encoder, more = None, {"text_encoder": given_backbone(inner, (*above, here))}
    backbone: Any = build(named, "backbone", **more)
    if checkpoint is not None:
        backbone.text_encoder.known_fingerprints = KnownFingerprints.beside(Path(cfg.paths.store))
        load(checkpoint, backbone.text_encoder)
        backbone.forget_fingerprints()
        log.info("text tower: %s", checkpoint.path)
    made: TwoTower = backbone
    return made


def is_export(folder: Path) -> bool:
    """Whether the folder of a data set is one that a job left."""
    return (folder / "config.yaml").is_file() and (folder / MANIFEST).is_file()


def maker_of(cfg: DictConfig, ckpt: str) -> tuple[DictConfig, Checkpoint | None]:
    """The config of the backbone that `ckpt` names, and its checkpoint. `export` is what made the export that the data set is
    (no checkpoint: a backbone as it is)."""
    if ckpt != EXPORT:
        named = find(ckpt, Path(cfg.paths.outputs))
        return read_saved(named.config_path, cfg), named
    key, folder = f"backbone.text_ckpt={EXPORT}", Path(str(cfg.data.get("root") or "")).expanduser()
    if not is_export(folder):
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
