"""Jobs on a saved index: `retrieve.py task=index_build|index_add|index_remove index_dir=DIR`.

Building streams: pictures go through the trunk into the store, and vectors come out of it shard by shard, so that memory holds
the ids, one shard and the index itself (with `on_disk=true` not even its lists).
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.assembly import saved_index
from picdesk.assembly.named import named_keys
from picdesk.assembly.session import Session
from picdesk.collection import Chosen
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.files import hold, write_json
from picdesk.filters.columns import Columns, columns_of
from picdesk.filters.kept import COLUMNS, write_columns
from picdesk.home import at_door
from picdesk.interfaces import Direction, Embeddings, Index
from picdesk.jobs.folder import Job
from picdesk.parts import config_part
from picdesk.process.foreign_folders import check_to_write
from picdesk.retrieval import index_facts
from picdesk.retrieval.features import head
from picdesk.retrieval.filtering import tell
from picdesk.search.base import join_shards
from picdesk.search.corrected import Corrected
from picdesk.search.open_saved import made_from
from picdesk.search.streaming import build_on_disk
from picdesk.tasks.base import Task

log = logging.getLogger(__name__)
GALLERIES = ("pictures", "texts")
AT_ONCE = 16_384
"""Items that are in memory as vectors at a time."""


@dataclass(kw_only=True)
class IndexTask(Task):
    """A job on the saved index in `index_dir`."""

    index_dir: str | None = None

    def next_step(self, folder: Path) -> str:
        """Search it."""
        return f'{at_door("retrieve")} index_dir={shlex.quote(str(self.index_dir))} "what you look for"'


@config_part
@dataclass(kw_only=True)
class BuildIndex(IndexTask):
    """An index over a part of a data set, never all of its vectors in memory.

    `gallery` is pictures or texts; with `on_disk` the lists of the index are a file.
    """

    gallery: str = "pictures"
    on_disk: bool = False

    def run(self, session: Session) -> None:
        """Encode, build, save."""
        if self.gallery not in GALLERIES:
            raise ConfigError(f"gallery={self.gallery}: choose one of {', '.join(GALLERIES)}")
        if not self.index_dir:
            raise ConfigError("index_dir must be given: task=index_build writes the index there")
        folder = saved_index.place_for(session, self.index_dir, "index_dir")
        session, gallery = session.open(whole=True), self.gallery
        vectors = Vectors(session, gallery)
        job = Job(session)
        facts = facts_of(session, gallery)
        with job.clock.stage("encode and build"):
            index = build_index(session, vectors, folder, facts, self.on_disk)
            if session.correction.active:
                with hold(folder):
                    correct(session, index, vectors, gallery).save_correction(folder)
        report(job, index, folder, "built", session.weights(), session.encoder)


def facts_of(session: Session, gallery: str) -> dict[str, Any]:
    """What an index over this gallery is made from."""
    return index_facts.made_from(
        session.dataset, gallery, session.backbone.facing(direction_of(gallery)), session.encoder
    )


def correct(session: Session, index: Index, vectors: Vectors, gallery: str) -> Corrected:
    """The index with its score correction, fitted shard by shard."""
    banks, direction = session.system.banks(session.dataset), direction_of(gallery)
    return Corrected(index, session.correction, *banks.fit_by_shards(direction, None, vectors.ids, vectors.matrices))


def direction_of(gallery: str) -> Direction:
    """The direction in which items of this kind are found."""
    return "i2t" if gallery == "texts" else "t2i"


class Vectors:
    """The embeddings of one part, in shards, as often as they are asked for; encoded the first time, then out of the store."""

    def __init__(self, session: Session, gallery: str) -> None:
        dataset, part, encoder = session.dataset, session.part, session.encoder
        backbone = session.backbone.facing(direction_of(gallery))
        self.ids = part.picture_ids if gallery == "pictures" else part.text_ids
        if not self.ids:
            raise ConfigError(f"gallery={gallery}: data={part.name} has none")
        self._part, self._backbone, self._encoder = part, backbone, encoder
        if gallery == "pictures":
            saved_index.refuse_captions(backbone, "gallery=pictures")
        self._given = backbone.given_features("text" if gallery == "texts" else "image", part.vectors, part.name)
        self._prompts = dataset.prompts(part) if gallery == "texts" else None

    def known_columns(self) -> Columns:
        """What the data set says of these items."""
        return columns_of(self._part, "i2t" if self._prompts is not None else "t2i")

    def __call__(self) -> Iterator[Embeddings]:
        """Shard after shard, in the order of the part."""
        for start in range(0, len(self.ids), AT_ONCE):
            stop = min(start + AT_ONCE, len(self.ids))
            yield Embeddings(self.ids[start:stop], self._matrix(start, stop))

    def matrices(self) -> Iterator[Any]:
        """The same without their ids."""
        return (shard.matrix for shard in self())

    def _matrix(self, start: int, stop: int) -> Any:
        if self._given is not None:
            return head(self._backbone, "text" if self._prompts is not None else "image", self._given[start:stop])
        if self._prompts is not None:
            return head(self._backbone, "text", self._encoder.texts(self._backbone, self._prompts[start:stop]))
        some = Chosen(self._part.pictures, np.arange(start, stop))
        features = self._encoder.pictures(self._backbone, some, open_picture, self.ids[start:stop])
        return head(self._backbone, "image", features)


def build_index(session: Session, vectors: Vectors, folder: Path, facts: dict[str, Any], on_disk: bool) -> Index:
    """The index of the config, built shard by shard and saved."""
    index: Index = session.new_index()
    if on_disk:
        with hold(folder):
            digest = write_columns(folder, vectors.known_columns())
            index = build_on_disk(index, vectors, folder, facts | saved_index.CONFIG_IS | {COLUMNS: digest})
            saved_index.keep_config(session, folder)
        return index
    tell(index, vectors.known_columns)
    index.build_from_shards(vectors)
    saved_index.save(session, folder, index, facts, vectors.known_columns())
    return index


@config_part
class AddItems(IndexTask):
    """Encode a part of a data set and take it into a saved index, which is not built again."""

    def run(self, session: Session) -> None:
        """Encode, add, save."""
        folder = saved_index.folder_of(self.index_dir)
        if not any(key == "data" or key.startswith("data.") for key in named_keys()):
            raise ConfigError(
                "task=index_add: name what is to be added: data=... (for example data=folder data.root=DIR)"
            )
        check_to_write(folder, "index_dir")
        with hold(folder):  # what is read now is what is written over
            session = saved_index.session_of(session, folder, leave=("data", "split", "part"))
            facts = made_from(folder)
            gallery = str(facts["gallery"])
            expected = facts_of(session, gallery)
            if gallery == "pictures":
                expected["prompt"] = facts["prompt"]  # a text has no share in these vectors
            index = saved_index.open_index(session.index_to_load(), folder, expected, session.backbone.dim)
            job = Job(session)
            with job.clock.stage("encode and add"):
                vectors, known = Vectors(session, gallery), saved_index.known_in(folder, facts)
                tell(index, vectors.known_columns)
                index.add(join_shards(list(vectors())))
                save_again(index, folder, facts, None if known is None else known.join(vectors.known_columns()))
            report(job, index, folder, "added to", session.weights(), session.encoder)


@config_part
@dataclass(kw_only=True)
class RemoveItems(IndexTask):
    """Take items out of a saved index, by their `ids`, which are texts."""

    ids: list[Any] = field(default_factory=list)

    def run(self, session: Session) -> None:
        """Open, remove, save."""
        folder = saved_index.folder_of(self.index_dir)
        ids = self.ids
        if not ids:
            raise ConfigError("ids must be given: task=index_remove ids=[ID,ID,...]")
        odd = [item for item in ids if not isinstance(item, str)]
        if odd:  # of a file of YAML, where 1.10 is 1.1: on the command line an id is what was typed
            raise ConfigError(f"ids: {odd[0]!r} is no text; put it in quotes")
        check_to_write(folder, "index_dir")
        with hold(folder):  # what is read now is what is written over
            session = saved_index.with_index(session, folder)
            facts = made_from(folder)
            index = session.index_to_load()
            index.load(folder)
            job = Job(session)
            with job.clock.stage("remove"):
                index.remove(ids)
                save_again(index, folder, facts, saved_index.known_in(folder, facts))
            report(job, index, folder, "removed from", {"name": str(facts["backbone"])}, None)


def save_again(index: Index, folder: Path, facts: dict[str, Any], known: Columns | None) -> None:
    """Write an index that was changed, with the columns of its items where it has any."""
    if known is None:
        index.save(folder, facts)
    else:
        saved_index.save_known(index, folder, facts, known)


def report(job: Job, index: Index, folder: Path, what: str, weights: dict[str, str], encoder: Encoder | None) -> None:
    """index.json and the manifest of the job; a line on the terminal."""
    job.write_config()
    count = len(index.ids)
    write_json(
        job.folder / "index.json",
        {"task": job.session.settings.task, "folder": str(folder), "count": count, "fingerprint": index.fingerprint},
    )
    job.write_manifest({"index": index.fingerprint}, weights, encoder, 0)
    log.info("%s %s: it holds %s items now", what, folder, f"{count:,}")
