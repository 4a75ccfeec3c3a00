"""retrieve.py: find pictures for texts, and texts for a picture; show them and write them down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from picdesk.assembly import saved_index
from picdesk.assembly.opening import rendering_of
from picdesk.assembly.schema import Settings, typed
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Side
from picdesk.jobs.folder import Job, need_positive
from picdesk.pages.answers import cards_of, write
from picdesk.pages.notes import untrained_note
from picdesk.pages.outside import check_submission
from picdesk.readers.queries import Query
from picdesk.retrieval import banks, index_facts
from picdesk.retrieval.gallery import CaptionIndex, Gallery
from picdesk.retrieval.pieces import Piece, as_query, vector_of
from picdesk.tasks.combined import finds_pictures, pieces_of, read_picture, read_texts
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
TASKS = ("retrieve", "write_captions", "index_build", "index_add", "index_remove")


def run_task(cfg: DictConfig) -> None:
    """`task=retrieve`, `task=write_captions`, or one of the jobs on a saved index."""
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    if cfg.task == "write_captions":
        from picdesk.tasks.write_captions import write_captions

        write_captions(cfg)
    elif str(cfg.task).startswith("index_"):
        from picdesk.tasks.index_jobs import index_job

        index_job(cfg)
    else:
        retrieve(cfg)


def retrieve(cfg: DictConfig) -> Run:
    """One job: `query=`, `queries=` or `image=` against one part of a data set, or against a saved index."""
    settings = typed(cfg)
    need_positive(settings)
    given = {"query": settings.query, "queries": settings.queries, "image": settings.image}
    asked = [name for name, value in given.items() if value]
    told = " and ".join(asked) or "none of them"
    pieces = pieces_of(settings)
    if len(asked) != 1 and not pieces:
        raise ConfigError(f"exactly one of query=TEXT, queries=FILE and image=FILE is needed; given: {told}")
    if "queries" in asked and len(asked) > 1:
        raise ConfigError(f"queries=FILE is asked by itself; given: {told}")
    check_submission(settings)
    queries, picture = whats_asked(settings, pieces)
    if pieces:
        Session(cfg).rerankers.refuse(
            "a query out of several, or a picture that finds pictures, is asked of the vectors alone"
        )
    folder = saved_index.folder_of(settings) if settings.index_dir else None
    session = saved_index.session_of(cfg, folder) if folder else Session.open(cfg)
    direction: Direction = "t2i" if queries else "i2t"
    data = None if folder else session.part
    weights = session.weights() | session.rerankers.contents()
    job = Job(session)
    with job.clock.stage("load index" if folder else "encode gallery"):
        gallery = saved_index.gallery_in(session, folder, direction) if folder else gallery_of(session, direction)
    with job.clock.stage("encode and search"):
        asks = asked_of(session, gallery, queries, picture, pieces)
        run = session.system.search(asks, gallery, filter=settings.filter)
    if settings.filter:
        kept = gallery.count(settings.filter)
        log.info("filter=%s: %s of %s items", settings.filter, f"{kept:,}", f"{len(gallery):,}")
    for note in (*banks.notes(session.correction), *untrained_note(session.backbone)):
        log.warning("%s", note.text)
    name = str(as_query(pieces).fields["title"]) if pieces else Path(str(settings.image)).name
    texts = asks.texts or [name]
    cards = cards_of(run, gallery.catalogue, queries, texts, name, bool(picture))
    near = session.system.tools().nearness(texts) if queries and not pieces else None
    write(job, gallery.name, run, cards, weights, picture, gallery.catalogue.read, near)
    if data is None:
        job.write_manifest({"index": gallery.index.fingerprint}, weights, session.encoder, 0)
    else:
        left_out = len(session.dataset.collection.skipped)
        job.write_manifest(session.dataset.fingerprint(data, session.encoder), weights, session.encoder, left_out)
    return run


def gallery_of(session: Session, direction: Direction) -> Gallery:
    """The gallery of the data set; with `save_index=DIR` its index is also written there."""
    save = session.settings.save_index
    if save and session.correction.active and session.correction.transductive:
        told = "a bank of these very queries is not to be kept; leave transductive out"
        raise ConfigError(f"scores.transductive=true, save_index={save}: {told}")
    if save and direction == "t2i":
        saved_index.refuse_captions(session.backbone, f"save_index={save}")
    gallery = session.system.gallery(session.dataset, session.part, direction)
    if save and not isinstance(gallery.index, CaptionIndex):
        kind = "pictures" if direction == "t2i" else "texts"
        facts = index_facts.made_from(session.dataset, kind, session.backbone, session.encoder)
        saved_index.save(session.cfg, Path(save), gallery.index, facts, gallery.columns)
    return gallery


def whats_asked(settings: Settings, pieces: Sequence[Piece]) -> tuple[list[Query], bytes]:
    """The texts that are asked, or the picture; of a query out of several pieces, its name and the first picture in it."""
    if pieces:
        picture = next((one.picture for one in pieces if one.picture), b"")
        return ([as_query(pieces)] if finds_pictures(settings, pieces) else []), picture
    if settings.image:
        return [], read_picture(settings.image, settings.encode.max_pixels)
    return read_texts(settings), b""


def asked_of(session: Session, gallery: Gallery, queries: list[Query], picture: bytes, pieces: Sequence[Piece]) -> Side:
    """What is asked, in the shared space."""
    render = gallery.catalogue.render or rendering_of(session)
    if pieces:
        return Side(("q1",), vector_of(session.backbone, session.encoder, render, pieces))
    if not queries:
        return session.system.asks(pictures=[picture])
    texts = [render(query.fields) for query in queries]
    return session.system.asks(texts, ids=[query.id for query in queries], fields=[query.fields for query in queries])
