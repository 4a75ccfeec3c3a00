"""retrieve.py: find pictures for texts, and texts for a picture; show them and write them down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from picdesk.assembly import saved_index
from picdesk.assembly.opening import rendering_of
from picdesk.assembly.schema import Settings
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Side
from picdesk.jobs.folder import Job, need_positive
from picdesk.pages.answers import cards_of, write
from picdesk.pages.notes import untrained_note
from picdesk.pages.outside import check_submission
from picdesk.parts import config_part
from picdesk.readers.queries import Query
from picdesk.retrieval import banks, index_facts
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.pieces import Piece, as_query, vector_of
from picdesk.submissions.asked import Submission
from picdesk.tasks.base import Task
from picdesk.tasks.combined import Question, finds_pictures, pieces_of, read_picture, read_texts
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


@config_part
@dataclass(kw_only=True)
class Retrieve(Task, Question):
    """One job: texts or a picture against one part of a data set, or against a saved index (`index_dir`).

    `save_index`: where the index of the gallery is kept; `submission`: a folder that is handed in.
    """

    takes_filter = True
    takes_min_score = True
    save_index: str | None = None
    index_dir: str | None = None
    submission: Submission = field(default_factory=Submission)

    def run(self, session: Session) -> None:
        """Check what is asked, then search and show."""
        pieces = self.check_question(session.settings)
        queries, picture = whats_asked(self, pieces, session.settings.encode.max_pixels)
        if pieces:
            session.rerankers.refuse(
                "a query out of several, or a picture that finds pictures, is asked of the vectors alone"
            )
        if self.save_index:
            saved_index.place_for(session, self.save_index, "save_index")
        if self.index_dir:
            folder = saved_index.folder_of(self.index_dir)
            retrieve(self, saved_index.session_of(session, folder), queries, picture, pieces, folder)
        else:
            asked = bool(self.query or self.queries)
            retrieve(self, session.open(whole=True, asked=asked), queries, picture, pieces, None)

    def check_question(self, settings: Settings) -> list[Piece]:
        """What is put together. Raises `ConfigError` where nothing, or more than one thing, is asked."""
        need_positive(settings, scored=False)
        asked = [name for name in ("query", "queries", "image") if getattr(self, name)]
        told = " and ".join(asked) or "none of them"
        pieces = pieces_of(self, settings.encode.max_pixels)
        if len(asked) != 1 and not pieces:
            raise ConfigError(f"exactly one of query=TEXT, queries=FILE and image=FILE is needed; given: {told}")
        if "queries" in asked and len(asked) > 1:
            raise ConfigError(f"queries=FILE is asked by itself; given: {told}")
        if self.subset and not self.queries:
            raise ConfigError(f"subset={self.subset} picks among the queries of a file: give queries=FILE too")
        check_submission(self.submission, bool(self.queries), settings.min_score)
        return pieces


def retrieve(
    task: Retrieve,
    session: Session,
    queries: list[Query],
    picture: bytes,
    pieces: Sequence[Piece],
    folder: Path | None,
) -> Run:
    """Search the data set of the session, or the saved index in `folder`, and leave what was found."""
    direction: Direction = "t2i" if queries else "i2t"
    data = None if folder else session.part
    if direction == "t2i":
        session.rerankers.check_fit(session.backbone.name, session.backbone.tuned)
    weights = session.weights() | session.rerankers.contents()
    job = Job(session)
    with job.clock.stage("load index" if folder else "encode gallery"):
        gallery = open_gallery(task, session, direction, folder, max(1, len(queries)))
    with job.clock.stage("encode and search"):
        asks = asked_of(session, gallery, queries, picture, pieces, bool(folder))
        run = session.system.search(asks, gallery, filter=session.settings.filter)
    if session.settings.filter:
        kept = gallery.count(session.settings.filter)
        log.info("filter=%s: %s of %s items", session.settings.filter, f"{kept:,}", f"{len(gallery):,}")
    for note in (*banks.notes(session.correction), *untrained_note(session.backbone)):
        log.warning("%s", note.text)
    name = str(as_query(pieces).fields["title"]) if pieces else Path(str(task.image)).name
    texts = asks.texts or [name]
    cards = cards_of(run, gallery.catalogue, queries, texts, name, bool(picture))
    near = session.system.tools().nearness(texts) if queries and not pieces else None
    write(job, gallery.name, run, cards, weights, picture, gallery.catalogue.read, task.submission, near)
    if data is None:
        job.write_manifest({"index": gallery.index.fingerprint}, weights, session.encoder, 0)
    else:
        left_out = len(session.dataset.collection.skipped)
        job.write_manifest(session.dataset.fingerprint(data, session.encoder), weights, session.encoder, left_out)
    return run


def open_gallery(task: Retrieve, session: Session, direction: Direction, folder: Path | None, coming: int) -> Gallery:
    """What is searched by `coming` queries: the saved index in `folder`, or the data set."""
    if folder is None:
        return gallery_of(session, direction, task.save_index, coming)
    group = task.submission.group
    return saved_index.gallery_in(session, folder, direction, (f"submission.group={group}",) if group else ())


def gallery_of(session: Session, direction: Direction, save: str | None, coming: int | None = None) -> Gallery:
    """The gallery of the data set, for `coming` queries; with a folder to `save` in, its index is also written there."""
    if save and session.correction.active and session.correction.transductive:
        told = "a bank of these very queries is not to be kept; leave transductive out"
        raise ConfigError(f"scores.transductive=true, save_index={save}: {told}")
    if save and direction == "t2i":
        saved_index.refuse_captions(session.backbone, f"save_index={save}")
    gallery = session.system.gallery(session.dataset, session.part, direction, None if save else coming)
    if save and gallery.index.of_vectors:
        kind = "pictures" if direction == "t2i" else "texts"
        facts = index_facts.made_from(session.dataset, kind, session.backbone, session.encoder)
        saved_index.save(session, Path(save).expanduser(), gallery.index, facts, gallery.columns)
    return gallery


def whats_asked(question: Question, pieces: Sequence[Piece], max_pixels: int) -> tuple[list[Query], bytes]:
    """The texts that are asked, or the picture; of a query out of several pieces, its name and the first picture in it."""
    if pieces:
        picture = next((one.picture for one in pieces if one.picture), b"")
        return ([as_query(pieces)] if finds_pictures(question, pieces) else []), picture
    if question.image:
        return [], read_picture(question.image, max_pixels)
    return read_texts(question), b""


def asked_of(
    session: Session, gallery: Gallery, queries: list[Query], picture: bytes, pieces: Sequence[Piece], of_index: bool
) -> Side:
    """What is asked, in the shared space; `of_index` where a saved index is asked, which has a prompt of its own."""
    render = gallery.catalogue.render or rendering_of(session, of_index)
    if pieces:
        return Side(("q1",), vector_of(session.backbone, session.encoder, render, pieces))
    if not queries:
        return session.system.asks(pictures=[picture])
    texts = [render(query.fields) for query in queries]
    return session.system.asks(texts, ids=[query.id for query in queries], fields=[query.fields for query in queries])
