"""Jobs on a saved index: `retrieve.py task=index_build|index_add|index_remove index_dir=DIR`.

Building streams: pictures go through the trunk into the store, and vectors come out of it shard by shard, so that memory holds
the ids, one shard and the index itself (with `on_disk=true` not even its lists).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from picdesk.assembly import saved_index
from picdesk.assembly.named import named_keys
from picdesk.assembly.schema import typed
from picdesk.assembly.session import Session
from picdesk.collection import Chosen
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.files import held, write_json
from picdesk.filters.columns import Columns, columns_of
from picdesk.filters.kept import drop_others, write_columns
from picdesk.interfaces import Direction, Embeddings, Index
from picdesk.jobs.folder import Job
from picdesk.process.folders import check_to_write
from picdesk.retrieval import index_facts
from picdesk.retrieval.features import head
from picdesk.retrieval.filtering import tell
from picdesk.search.corrected import Corrected
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.lance.index import LanceIndex
from picdesk.search.milvus import MilvusIndex
from picdesk.search.saved import made_from
from picdesk.search.streaming import build_from_shards, build_on_disk

log = logging.getLogger(__name__)
GALLERIES = ("pictures", "texts")
AT_ONCE = 16_384
"""Items that are in memory as vectors at a time."""


def index_job(cfg: DictConfig) -> None:
    """The job that `task` names."""
    jobs = {"index_build": build_index, "index_add": add_items, "index_remove": remove_items}
    if cfg.task not in jobs:
        raise ConfigError(f"task={cfg.task}: choose one of retrieve, {', '.join(jobs)}")
    if cfg.gallery not in GALLERIES:
        raise ConfigError(f"gallery={cfg.gallery}: choose one of {', '.join(GALLERIES)}")
    jobs[cfg.task](cfg)


def build_index(cfg: DictConfig) -> None:
    """`task=index_build`: an index over a part of a data set, never all of its vectors in memory."""
    if not cfg.index_dir:
        raise ConfigError("index_dir must be given: task=index_build writes the index there")
    folder = Path(str(cfg.index_dir)).expanduser()
    check_to_write(folder, "index_dir")
    session = Session.open(cfg)
    gallery = session.settings.gallery
    vectors = Vectors(session, gallery)
    job = Job(session)
    facts = index_facts.made_from(
        session.dataset, gallery, session.backbone.facing(direction_of(gallery)), session.encoder
    )
    with job.clock.stage("encode and build"):
        index = built(session, vectors, folder, facts)
        if session.correction.active:
            with held(folder):
                correct(session, index, vectors).save_correction(folder)
    report(job, index, folder, "built", session.weights(), session.encoder)


def correct(session: Session, index: Index, vectors: Vectors) -> Corrected:
    """The index with its score correction, fitted shard by shard."""
    banks, direction = session.system.banks(session.dataset), direction_of(session.settings.gallery)
    return Corrected(index, session.correction, *banks.fitted_by_shards(direction, None, vectors.ids, vectors.matrices))


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
        self._given = backbone.given("text" if gallery == "texts" else "image", part.vectors, part.name)
        self._prompts = dataset.prompts(part) if gallery == "texts" else None

    def known(self) -> Columns:
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


def built(session: Session, vectors: Vectors, folder: Path, facts: dict[str, Any]) -> Index:
    """The index of the config, built shard by shard and saved."""
    index: Index = session.new_index()
    if session.settings.on_disk:
        if not isinstance(index, FaissIndex):
            raise ConfigError(f"on_disk=true: {type(index).__name__} has no inverted lists; choose ivf_flat or factory")
        with held(folder):
            digest = write_columns(folder, vectors.known())
            index = build_on_disk(index, vectors, folder, facts | {saved_index.COLUMNS: digest})
            drop_others(folder, digest)
            saved_index.keep_config(session.cfg, folder)
        return index
    tell(index, vectors.known)
    if isinstance(index, FaissIndex):
        build_from_shards(index, vectors)
    elif isinstance(index, MilvusIndex | LanceIndex):
        index.build_from_shards(vectors)
    else:  # it compares kinds on the gallery, so it has to have it
        index.build(whole(vectors))
    saved_index.save(session.cfg, folder, index, facts, vectors.known())
    return index


def whole(vectors: Callable[[], Iterator[Embeddings]]) -> Embeddings:
    """All shards in one."""
    parts = list(vectors())
    return Embeddings(tuple(i for part in parts for i in part.ids), np.concatenate([part.matrix for part in parts]))


def add_items(cfg: DictConfig) -> None:
    """`task=index_add data=...`: encode a part of a data set and take it into a saved index, which is not built again."""
    folder = saved_index.folder_of(typed(cfg))
    if not any(key == "data" or key.startswith("data.") for key in named_keys()):
        raise ConfigError("task=index_add: name what is to be added: data=... (for example data=folder data.root=DIR)")
    check_to_write(folder, "index_dir")
    with held(folder):  # what is read now is what is written over
        session = saved_index.session_of(cfg, folder, leave=("data", "split", "part"))
        facts = made_from(folder)
        gallery = str(facts["gallery"])
        expected = index_facts.made_from(
            session.dataset, gallery, session.backbone.facing(direction_of(gallery)), session.encoder
        )
        if gallery == "pictures":
            expected["prompt"] = facts["prompt"]  # a text has no share in these vectors
        index = saved_index.open_index(session.index_to_load(), folder, expected, session.backbone.dim)
        job = Job(session)
        with job.clock.stage("encode and add"):
            vectors, known = Vectors(session, gallery), saved_index.known_in(folder, facts)
            tell(index, vectors.known)
            index.add(whole(vectors))
            if known is None:
                index.save(folder, facts)
            else:
                saved_index.save_known(index, folder, facts, known.joined(vectors.known()))
        report(job, index, folder, "added to", session.weights(), session.encoder)


def remove_items(cfg: DictConfig) -> None:
    """`task=index_remove ids=[...]`: take items out of a saved index."""
    folder = saved_index.folder_of(typed(cfg))
    ids = [str(item) for item in cfg.ids]
    if not ids:
        raise ConfigError("ids must be given: task=index_remove ids=[ID,ID,...]")
    check_to_write(folder, "index_dir")
    with held(folder):  # what is read now is what is written over
        session = Session(*saved_index.with_index(cfg, folder))
        facts = made_from(folder)
        index = session.index_to_load()
        index.load(folder)
        job = Job(session)
        with job.clock.stage("remove"):
            index.remove(ids)
            known = saved_index.known_in(folder, facts)
            if known is None:
                index.save(folder, facts)
            else:
                saved_index.save_known(index, folder, facts, known)
        report(job, index, folder, "removed from", {"name": str(facts["backbone"])}, None)


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
