"""`retrieve.py index_dir=DIR`: search a saved index. Only the query is encoded; the vectors of the gallery are not needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from picdesk.assembly import correcting, saved_index
from picdesk.assembly.build import build, check_all
from picdesk.assembly.loading import load_backbone, make_encoder
from picdesk.assembly.reranking import contents, parts_at_work, weights_of_parts
from picdesk.assembly.searching import reranked
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Chosen, Collection
from picdesk.data.images import open_picture
from picdesk.data.sources import file_of
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, UserError
from picdesk.interfaces import Direction, Embeddings, Index, RerankContext, Side
from picdesk.jobs.folder import Job
from picdesk.pages import show
from picdesk.pages.answers import write
from picdesk.pages.finish import weights_of
from picdesk.pages.notes import untrained_note
from picdesk.readers.queries import Query
from picdesk.report.content import Item, QueryCard, Ranking
from picdesk.rerankers.base import candidates_alone
from picdesk.retrieval import index_facts
from picdesk.retrieval.features import head
from picdesk.retrieval.tools import Tools
from picdesk.search.corrected import Corrected
from picdesk.search.saved import made_from
from picdesk.tasks.asked import OnePicture, strong
from picdesk.tasks.combined import Piece, as_query, vector_of
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """What there is to show of the items: the data set that the index was built over, where it can be read."""

    collection: Collection | None
    places: dict[str, int] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    details: dict[str, dict[str, str]] = field(default_factory=dict)

    def file(self, item: str) -> str:
        """Path of a picture, as far as it is known."""
        known = self.collection is not None and item in self.places
        return file_of(self.collection, self.places[item]) if self.collection is not None and known else ""

    def read(self, item: str) -> bytes:
        """Bytes of a picture. Raises `KeyError` for one that is not in the data set."""
        if self.collection is None:
            raise KeyError(item)
        return self.collection.pictures.read(self.places[item])


def search_saved(cfg: DictConfig, queries: list[Query], picture: bytes, pieces: Sequence[Piece] = ()) -> Run:
    """One job: texts, or a picture, against a saved index."""
    folder = saved_index.folder_of(cfg)
    cfg, checkpoint = saved_index.with_index(cfg, folder)
    check_all(cfg)
    direction: Direction = "t2i" if queries else "i2t"
    facts = made_from(folder)
    prompt = build(cfg, "prompt").choose(tuple(facts["fields"])) if facts.get("fields") else None
    backbone, encoder = load_backbone(cfg, checkpoint).facing(direction), make_encoder(cfg)
    weights = weights_of(backbone, checkpoint) | contents(cfg)
    job = Job(cfg)
    expected = index_facts.of_backbone(backbone, encoder) | {"prompt": index_facts.told(prompt)}
    expected["gallery"] = "pictures" if queries else "texts"
    with job.clock.stage("load index"):
        index = saved_index.open_index(cfg, folder, expected, backbone.dim)
    shown = what_is_shown(cfg, direction)
    check_count(cfg, index, shown)
    check_pictures(cfg, shown)
    told = prompt if not pieces else None
    texts = [told.render(query.fields) if told else str(query.fields["caption"]) for query in queries]
    with job.clock.stage("encode and search"):
        if pieces:
            asked = Side(("q1",), vector_of(backbone, encoder, prompt, pieces))
        else:
            asked = encoded(backbone, encoder, queries, texts, picture)
        tools = Tools.over(backbone, encoder, shown.collection if direction == "t2i" else None)
        run = search(cfg, direction, index, asked, shown, prompt, tools)
    name = str(as_query(pieces).fields["title"]) if pieces else Path(str(cfg.image)).name
    cards = cards_of(direction, run, queries, texts, shown, name, bool(picture))
    for note in (*correcting.notes(cfg), *untrained_note(backbone)):
        log.warning("%s", note.text)
    write(
        job,
        cfg,
        str(facts.get("data")),
        run,
        cards,
        weights,
        picture,
        shown.read,
        None if pieces else tools.nearness(texts),
    )
    job.write_manifest(cfg, {"index": index.fingerprint}, weights, encoder, 0)
    return run


def encoded(backbone: TwoTower, encoder: Encoder, queries: list[Query], texts: list[str], picture: bytes) -> Side:
    """What is asked, in the shared space."""
    if queries:
        ids = tuple(query.id for query in queries)
        asked = Embeddings(ids, head(backbone, "text", encoder.texts(backbone, texts)))
        return Side(ids, asked, tuple(texts), tuple(query.fields for query in queries))
    source = OnePicture(picture)
    features = encoder.pictures(backbone, source, open_picture)
    return Side(("q1",), Embeddings(("q1",), head(backbone, "image", features)), pictures=source)


def search(
    cfg: DictConfig, direction: Direction, index: Index, asked: Side, shown: Shown, prompt: Any, tools: Tools
) -> Run:
    """Search and rerank; `top_k` at most what the index holds. Only candidates are looked up in the data set."""
    assert asked.embeddings is not None
    found = index.search(asked.embeddings, int(cfg.top_k))
    similarity = index.similarity(asked.embeddings, found) if isinstance(index, Corrected) else None
    run, _ = candidates_alone(strong(cfg, found, similarity))
    if not parts_at_work(cfg):
        return reranked(cfg, run, RerankContext(direction, asked, Side(run.item_ids)), tools)
    items = candidates_of(direction, run.item_ids, shown, prompt)
    return reranked(cfg, run, tools.context(direction, asked, items), tools)


def candidates_of(direction: Direction, ids: tuple[str, ...], shown: Shown, prompt: Any) -> Side:
    """Texts, or pictures, of these items. Raises `ConfigError` where the data set does not have one of them."""
    part = shown.collection
    assert part is not None
    place = shown.places if direction == "t2i" else {name: i for i, name in enumerate(part.text_ids)}
    unknown = [name for name in ids if name not in place]
    if unknown:
        raise ConfigError(
            f"index_dir: a reranker looks at what is found, and {len(unknown)} of {len(ids)} candidates are not in the data "
            f"set, for example {unknown[0]!r}; name it: data=..."
        )
    rows = np.array([place[name] for name in ids], np.int64)
    if direction == "t2i":
        return Side(ids, pictures=Chosen(part.pictures, rows))
    fields = tuple(part.texts[row] for row in rows)
    return Side(ids, None, tuple(prompt.render(own) for own in fields) if prompt else (), fields)


def what_is_shown(cfg: DictConfig, direction: Direction) -> Shown:
    """Titles, and pictures where they are found, out of the data set that the index was built over; nothing is encoded."""
    try:
        collection: Collection = build(cfg, "data").read()
    except UserError as error:
        if any(key == "data" or key.startswith("data.") for key in saved_index.named_keys()):
            raise
        log.warning("the data set of the index cannot be read, so items are shown by their ids alone: %s", error)
        return Shown(None)
    titles = [str(fields.get("title") or fields.get("caption") or "") for fields in collection.texts]
    details = [show.details_of(fields) for fields in collection.texts]
    if direction == "i2t":
        named = dict(zip(collection.text_ids, titles, strict=True))
        return Shown(collection, {}, named, dict(zip(collection.text_ids, details, strict=True)))
    names = [collection.picture_ids[i] for i in reversed(collection.picture_of)]  # so that a picture's first text stays
    own = dict(zip(names, reversed(titles), strict=True))
    more = dict(zip(names, reversed(details), strict=True))
    return Shown(collection, {name: i for i, name in enumerate(collection.picture_ids)}, own, more)


def check_count(cfg: DictConfig, index: Index, shown: Shown) -> None:
    """Where the command line names a data set, the index must hold as many of its items as it holds at all."""
    if shown.collection is None or "data" not in saved_index.named_keys():
        return
    known = shown.places or shown.titles
    unknown = [item for item in index.ids if item not in known]
    if unknown:
        raise ConfigError(
            f"index_dir={cfg.index_dir} does not fit data={shown.collection.name}: count: {len(unknown)} of its "
            f"{len(index.ids)} items are not in the data set, for example {unknown[0]!r}; leave data out"
        )


def check_pictures(cfg: DictConfig, shown: Shown) -> None:
    """Raise `ConfigError` where the data set cannot be read, but a reranker or a submission needs it."""
    if shown.collection is not None:
        return
    wanted = [f"reranker={name}" for name, weight in weights_of_parts(cfg).items() if weight]
    wanted += [f"submission.group={cfg.submission.group}"] if cfg.submission.group else []
    if wanted:
        raise ConfigError(
            f"index_dir={cfg.index_dir}: its data set cannot be read, and {' and '.join(wanted)} needs it; name it: data=..."
        )


def cards_of(
    direction: Direction, run: Run, queries: list[Query], texts: list[str], shown: Shown, file: str, picture: bool
) -> list[QueryCard]:
    """What was found for each query."""
    cards = []
    for row in range(len(run.query_ids)):
        places = [(int(i), float(s)) for i, s in zip(run.index[row], run.scores[row], strict=True) if i >= 0]
        true = queries[row].picture_id if queries else ""
        items = tuple(
            item_of(direction, run.item_ids[i], rank, s, shown, true) for rank, (i, s) in enumerate(places, 1)
        )
        if direction == "i2t":
            own, text = ("q1", "") if picture else ("", file)
            note = file if picture else ""
            cards.append(QueryCard("q1", "i2t", (Ranking(items),), text=text, picture=own, note=note))
            continue
        title = str(queries[row].fields["title"])
        note = "" if texts[row] == title else f"encoded as: {texts[row]}"
        rank = next((item.rank for item in items if item.relevant), None)
        cards.append(QueryCard(queries[row].id, "t2i", (Ranking(items, rank),), text=title, note=note))
    return cards


def item_of(direction: Direction, name: str, rank: int, score: float, shown: Shown, true: str) -> Item:
    """One item as the page shows it."""
    text = shown.titles.get(name, "")
    picture, file = (name, shown.file(name)) if direction == "t2i" else ("", "")
    return Item(name, text, picture, score, rank, bool(true) and name == true, file, shown.details.get(name, {}))
