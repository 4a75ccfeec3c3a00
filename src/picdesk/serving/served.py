"""One generation of what is served: a searcher with its galleries, and the answers to questions. A reload makes another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

from picdesk.assembly.opening import Opened
from picdesk.data.images import open_picture
from picdesk.embedding.forward import use_threads
from picdesk.embedding.standing import Standing
from picdesk.errors import ConfigError, UserError
from picdesk.files import digest_of
from picdesk.interfaces import Modality, Side
from picdesk.pages.answers import item_of, listed_in
from picdesk.readers.queries import Query
from picdesk.report.content import Item
from picdesk.retrieval.catalogue import Catalogue
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.pieces import Piece, vector_of
from picdesk.retrieval.reranking import Reranking
from picdesk.retrieval.searcher import DIRECTION_OF, Find
from picdesk.serving.questions import AskError, Question

NUMBERS = count(1)
FIELDS = {"filter": "filter", "weights": "rerankers", "pieces": "also"}
MOST_TITLES = 300_000
"""Texts up to which the picture of a text that is asked word for word is known."""

MOST_FACTS = 50_000
"""Items whose titles and columns are kept as answers say them: some 50 MB."""


@dataclass(frozen=True)
class Served:
    """What answers until the next reload. Questions are answered one at a time (`Hand` sees to that); all else is safe for
    threads."""

    opened: Opened
    number: int = field(default_factory=lambda: next(NUMBERS))
    since: float = field(default_factory=time.time)
    _facts: dict[tuple[Find, str], dict[str, Any]] = field(default_factory=dict)
    _opening: dict[Find, Future[Gallery]] = field(default_factory=dict)
    _turn: threading.RLock = field(default_factory=threading.RLock)
    _noting: threading.Lock = field(default_factory=threading.Lock)  # for `_opening`, held for no work

    def __post_init__(self) -> None:
        _ = self.first_find, self.fingerprint  # by what is open now; the other gallery comes when it is asked for

    @cached_property
    def standing(self) -> Standing:
        """The encoder of questions; galleries were encoded through the store."""
        return Standing.from_encoder(self.opened.searcher.system.encoder)

    @cached_property
    def system(self) -> Any:
        """The searcher's system with the standing encoder in it."""
        return replace(self.opened.searcher.system, encoder=self.standing)

    @property
    def has_texts(self) -> bool:
        """Whether the data set has texts, encoded or not."""
        return self.pictures.collection is not None and bool(len(self.pictures.collection.text_ids))

    @property
    def weights(self) -> dict[str, float]:
        """The rerankers with their weights."""
        return {part.name: part.weight for part in self.system.reranking.parts}

    @cached_property
    def fingerprint(self) -> str:
        """A digest over weights, data, and every index that is open from the start."""
        opened = self.opened.searcher.open_galleries
        indexes = {direction: gallery.index.fingerprint for direction, gallery in sorted(opened.items())}
        return digest_of([self.opened.weights, indexes, self.opened.same, self.weights])[:16]

    @cached_property
    def data(self) -> Mapping[str, str]:
        """Digests of what the data set holds; nothing for a saved index."""
        with self._turn:
            return self.opened.data()

    def gallery(self, find: Find) -> Gallery:
        """What is searched: what is open at once, whatever is opened or digested meanwhile. Raises `AskError` where there is
        nothing of the kind."""
        known = self.opened.searcher.open_galleries.get(DIRECTION_OF[find])
        if known is not None:
            return known
        try:
            with self._turn, self.standing.tokenizing:
                return self.opened.searcher.gallery(find)
        except UserError as error:
            raise unsearchable(find, error) from None

    def opening(self, find: Find) -> Future[Gallery] | None:
        """The gallery that was not open yet, once a thread has encoded and opened it; None where nobody need wait for it."""
        with self._noting:
            ahead, known = self.opened.encode_ahead, self._opening.get(find)
            if ahead is None or DIRECTION_OF[find] in self.opened.searcher.open_galleries or not self.has_texts:
                return None
            if known is None:
                known = self._opening[find] = Future()
                known.set_running_or_notify_cancel()  # whoever waits no longer ends it for nobody else
                threading.Thread(target=self._open, args=(find, ahead, known), name=f"open {find}", daemon=True).start()
            return known

    def _open(self, find: Find, ahead: Callable[[Find], object], made: Future[Gallery]) -> None:
        try:
            with use_threads(self.standing.threads):  # this thread may have been given one alone
                ahead(find)
                found = self.gallery(find)
        except Exception as error:
            with self._noting:  # whoever comes next may try again
                del self._opening[find]
            made.set_exception(unsearchable(find, error) if isinstance(error, UserError) else error)
        else:
            made.set_result(found)

    @cached_property
    def first_find(self) -> Find:
        """What was opened at the start: pictures, or the texts of an index of texts."""
        return "pictures" if "t2i" in self.opened.searcher.open_galleries else "texts"

    def catalogue(self, find: Find = "pictures") -> Catalogue:
        """What is known of the pictures, or of the texts; for a saved index of the other kind too."""
        known = self.gallery(self.first_find).catalogue
        return Catalogue(known.collection, DIRECTION_OF[find], known.render)

    @cached_property
    def pictures(self) -> Catalogue:
        """The pictures by id."""
        return self.catalogue("pictures")

    @cached_property
    def texts(self) -> Catalogue:
        """The texts by id."""
        return self.catalogue("texts")

    def item(self, name: str) -> tuple[Find, Item]:
        """A picture or a text by its id. Raises `AskError` (404) where there is none."""
        for find, catalogue in (("pictures", self.pictures), ("texts", self.texts)):
            if name in catalogue:
                return find, item_of(name, catalogue, None, None, False)  # type: ignore[return-value]
        raise AskError("id", "no picture and no text has this id", 404)

    def read(self, name: str) -> bytes:
        """Bytes of a picture. Raises `AskError` (404) where there is none, or it cannot be read."""
        if name not in self.pictures:
            raise AskError("id", "no picture has this id", 404)
        try:
            return self.pictures.read(name)
        except (KeyError, UserError):
            raise AskError("id", "the file of this picture cannot be read", 404) from None

    def piece_of(self, name: str, weight: float = 1.0) -> Piece:
        """A picture of the collection as a piece of a query: by its bytes, as any picture; by its vector where vectors came with
        the data and no picture is encoded. Raises `AskError` (404) where there is none."""
        gallery = self.gallery("pictures") if self.system.backbone.knows_given_alone else None
        if gallery is None or gallery.items is None or gallery.items.embeddings is None:
            return Piece(weight, name, picture=self.read(name))
        place = next((i for i, known in enumerate(gallery.items.ids) if known == name), None)
        if place is None:
            raise AskError("id", "no picture has this id", 404)
        return Piece(weight, name, vector=gallery.items.embeddings.matrix[place])

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The picture of each text of the data set, by the text in lower case; only of texts that one picture has."""
        collection = self.pictures.collection
        if collection is None or len(collection.texts) > MOST_TITLES:
            return {}
        found: dict[str, str] = {}
        for fields, picture in zip(collection.texts, collection.picture_of.tolist(), strict=True):
            for text in {str(fields[name]).strip().lower() for name in ("title", "caption") if fields.get(name)}:
                name = collection.picture_ids[picture]
                found[text] = name if found.get(text, name) == name else ""
        return {text: name for text, name in found.items() if name}

    def true_of(self, query: Query) -> str:
        """The picture that belongs to a text: as the client says, or that of the very text in the data set; "" if unknown."""
        return query.picture_id or self.owners.get(str(query.fields["title"]).lower(), "")

    def texts_in(self, question: Question) -> list[str]:
        """The texts that an answer will have encoded."""
        render = self.opened.searcher.rendering(self.gallery(question.find))
        if question.query:
            return [render(question.query.fields)]
        return []

    def load_trunk(self, modality: Modality) -> None:
        """Make a trunk ready that questions will go through; nothing where the vectors came with the data."""
        backbone = self.system.backbone
        if modality == "text" or not (backbone.by_captions or backbone.knows_given_alone):
            self.standing.prepare(backbone.facing("t2i" if modality == "text" else "i2t"), modality)

    def try_company(self) -> None:
        """Find out whether a text has the bits among others that it has alone, and compile the pass of several."""
        if not self.system.backbone.knows_given_alone:
            self.standing.agrees(self.system.backbone.facing("t2i"))

    def warm(self, questions: list[Question]) -> None:
        """Encode the texts of questions, together."""
        texts = list(dict.fromkeys(text for question in questions for text in self.texts_in(question)))
        if texts:
            self.standing.texts(self.system.backbone.facing("t2i"), texts)

    def look_at(self, picture: bytes) -> None:
        """Decode a picture that will be asked. Raises `AskError` for what is none, or too large."""
        backbone = self.system.backbone
        try:
            if backbone.by_captions or backbone.knows_given_alone:
                open_picture(picture, self.standing.max_pixels)
            else:
                self.standing.look_at(backbone.facing("i2t"), picture, open_picture)
        except ValueError as error:
            too_large = getattr(error, "kind", "") == "too_large"
            raise AskError("picture", str(error), 413 if too_large else 422) from None

    def encode_question(self, question: Question) -> Side:
        """The question in the shared space."""
        gallery = self.gallery(question.find)
        render = self.opened.searcher.rendering(gallery)
        query, pieces = question.query, question.pieces
        if query:
            return self.system.asks([render(query.fields)], ids=[query.id], fields=[query.fields])  # type: ignore[no-any-return]
        if len(pieces) == 1 and pieces[0].picture and question.find == "texts":
            return self.system.asks(pictures=[pieces[0].picture])  # type: ignore[no-any-return]
        return Side(("q1",), vector_of(self.system.backbone, self.standing, render, pieces))

    def answer(self, question: Question) -> dict[str, Any]:
        """What `retrieve.py` finds, as plain values. Raises `AskError` for a question that this system cannot be asked."""
        options = question.options
        try:
            gallery, asks = self.gallery(question.find), self.encode_question(question)
            reranked = bool(question.query) or asks.pictures is not None
            system = self.system if reranked else replace(self.system, reranking=Reranking())
            if options.min_score is not None:
                system = replace(system, min_score=options.min_score)
            weights = dict(options.weights) if reranked else None
            run = system.search(asks, gallery, options.k, weights, options.where or None)
        except ConfigError as error:
            raise AskError(field_of(str(error)), str(error)) from None
        true = self.true_of(question.query) if question.query else ""
        best = listed_in(run, 0)
        places = {name: rank for rank, (name, _) in enumerate(best, 1)}
        known = {"true_picture": true, "true_rank": places.get(true)} if true in gallery.catalogue else {}
        said = asks.texts[0] if asks.texts else None
        asked = {"query_id": asks.ids[0], "query": question.name, "encoded_as": said, "find": question.find}
        found = [
            {"id": name, "score": score, "rank": rank, **self.facts_of(name, question.find, gallery.catalogue)}
            for rank, (name, score) in enumerate(best, 1)
        ]
        return {**asked, **known, "fingerprint": self.fingerprint, "results": found}

    def facts_of(self, name: str, find: Find, catalogue: Catalogue) -> dict[str, Any]:
        """What an answer says of an item beside its score; where a picture lies on the server's disk is nobody's business."""
        facts = self._facts.get((find, name))
        if facts is None:
            item = item_of(name, catalogue, None, None, False)
            file = {"file": item.name} if find == "pictures" else {}
            facts = {"title": item.text, **file, "columns": dict(item.details)}
            if len(self._facts) >= MOST_FACTS:  # a server is asked about the same few again and again
                self._facts.clear()
            self._facts[find, name] = facts
        return facts


def unsearchable(find: Find, error: UserError) -> AskError:
    """What a client is told who looks for what cannot be found here."""
    return error if isinstance(error, AskError) else AskError("find", f"{find} cannot be searched here: {error}")


def field_of(message: str) -> str:
    """The field of a question that the engine finds wrong: its messages begin with the key."""
    return next((name for name, start in FIELDS.items() if message.startswith(start)), "query")
