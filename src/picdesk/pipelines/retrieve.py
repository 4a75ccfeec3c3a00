"""retrieve.py: find pictures for texts, and texts for a picture; show them and write them down."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.images import open_picture
from picdesk.data.queries import Query, bare, read_queries
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, MissingFileError
from picdesk.files import write_json
from picdesk.interfaces import Direction, Embeddings, Side
from picdesk.pipelines import show
from picdesk.pipelines.build import check_all
from picdesk.pipelines.evaluate import untrained_note
from picdesk.pipelines.finish import weights_of
from picdesk.pipelines.job import Job, need_positive
from picdesk.pipelines.resume import with_checkpoint
from picdesk.pipelines.scoring import retrieve_run
from picdesk.pipelines.world import (
    World,
    head,
    load_backbone,
    load_world,
    make_encoder,
    picture_features,
    text_features,
)
from picdesk.report.content import Fact, Item, QueryCard, Ranking, RetrievalPage
from picdesk.report.page import write_retrieval
from picdesk.report.terminal import print_retrieval
from picdesk.search.grouping import answered, at_least, best_part_run
from picdesk.trec import Run
from picdesk.trec_io import write_runs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnePicture:
    """The picture that is asked about, as a source of one."""

    data: bytes

    def __len__(self) -> int:
        return 1

    def read(self, i: int) -> bytes:
        """Its bytes."""
        return self.data


def retrieve(cfg: DictConfig) -> Run:
    """One job: `query=`, `queries=` or `image=` against one part of a data set."""
    need_positive(cfg)
    asked = [name for name in ("query", "queries", "image") if cfg[name]]
    if len(asked) != 1:
        given = " and ".join(asked) or "none of them"
        raise ConfigError(f"exactly one of query=TEXT, queries=FILE and image=FILE is needed; given: {given}")
    queries = read_texts(cfg) if asked != ["image"] else []
    picture = read_picture(str(cfg.image)) if asked == ["image"] else b""
    check_all(cfg)
    cfg, checkpoint = with_checkpoint(cfg)
    world = load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = load_backbone(cfg, checkpoint), make_encoder(cfg)
    job = Job(cfg)
    with job.clock.stage("encode and search"):
        if queries:
            run, texts = search_pictures(cfg, world, part, backbone, encoder, queries)
            run = strong(cfg, run)
            cards = [picture_card(part, world, run, q, texts[q], query) for q, query in enumerate(queries)]
        else:
            run = strong(cfg, search_texts(cfg, world, part, backbone, encoder, picture))
            cards = [text_card(part, world, run, Path(str(cfg.image)).name)]
    for note in untrained_note(backbone.name, checkpoint):
        log.warning("%s", note.text)
    write(job, cfg, part, run, cards, weights_of(backbone, checkpoint), picture)
    job.write_manifest(
        cfg, world.fingerprint(part, encoder), weights_of(backbone, checkpoint), encoder, len(world.collection.skipped)
    )
    return run


def read_texts(cfg: DictConfig) -> list[Query]:
    """The queries of the command line."""
    if cfg.queries:
        return read_queries(str(cfg.queries))
    if not str(cfg.query).strip():
        raise ConfigError("query is empty; give a text, for example query='flood warnings in the north'")
    return [bare("q1", str(cfg.query).strip())]


def read_picture(file: str) -> bytes:
    """Bytes of the picture that is asked about, which must be one."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"image={file}: no such file")
    data = path.read_bytes()
    try:
        open_picture(data)
    except ValueError as error:
        raise ConfigError(f"image={file}: {error}") from None
    return data


def search_pictures(
    cfg: DictConfig, world: World, part: Collection, backbone: TwoTower, encoder: Encoder, queries: list[Query]
) -> tuple[Run, list[str]]:
    """The pictures nearest to each text, and the texts as encoded."""
    prompt = world.prompt
    texts = [prompt.render(query.fields) if prompt else str(query.fields["caption"]) for query in queries]
    ids = tuple(query.id for query in queries)
    asked = Embeddings(ids, head(backbone, "text", encoder.texts(backbone, texts)))
    if backbone.by_captions:
        known = Embeddings(part.text_ids, head(backbone, "text", text_features(world, part, backbone, encoder)))
        return best_part_run(asked, known, part.picture_of, part.picture_ids, int(cfg.top_k)), texts
    gallery = Embeddings(part.picture_ids, head(backbone, "image", picture_features(part, backbone, encoder)))
    items = Side(gallery.ids, gallery, pictures=part.pictures)
    return retrieve_run(cfg, "t2i", Side(ids, asked, tuple(texts)), items), texts


def search_texts(
    cfg: DictConfig, world: World, part: Collection, backbone: TwoTower, encoder: Encoder, picture: bytes
) -> Run:
    """The texts nearest to a picture."""
    if not part.text_ids:
        raise ConfigError(f"data={part.name} has no texts to find for image={cfg.image}")
    source = OnePicture(picture)
    asked = Embeddings(("q1",), head(backbone, "image", encoder.pictures(backbone, source, open_picture)))
    gallery = Embeddings(part.text_ids, head(backbone, "text", text_features(world, part, backbone, encoder)))
    return retrieve_run(cfg, "i2t", Side(("q1",), asked, pictures=source), Side(gallery.ids, gallery))


def strong(cfg: DictConfig, run: Run) -> Run:
    """What scores `min_score` or more; where nothing does, that is said, with the score of the best."""
    kept = at_least(run, cfg.min_score)
    for q in np.flatnonzero(~(kept.index >= 0).any(axis=1)):
        log.warning(
            "%s: nothing scores min_score=%g or more; the best has %.3f",
            run.query_ids[q],
            cfg.min_score,
            run.scores[q, 0],
        )
    return kept


def picture_card(part: Collection, world: World, run: Run, q: int, text: str, query: Query) -> QueryCard:
    """One text and the pictures found for it; the true one outlined where it is known."""
    prompts = world.titles(part)
    places = list(part.picture_ids)
    found = tuple(
        show.item("t2i", part, prompts, int(i), rank, float(s), part.picture_ids[i] == query.picture_id)
        for rank, (i, s) in enumerate(zip(run.index[q], run.scores[q], strict=True), 1)
        if i >= 0
    )
    true = places.index(query.picture_id) if query.picture_id in places else None
    truth = (show.item("t2i", part, prompts, true, None, None, True),) if true is not None else ()
    rank = next((item.rank for item in found if item.relevant), None)
    asked = str(query.fields["title"])
    note = "" if text == asked else f"encoded as: {text}"
    return QueryCard(query.id, "t2i", (Ranking(found, rank),), text=asked, truth=truth, note=note)


def text_card(part: Collection, world: World, run: Run, name: str) -> QueryCard:
    """The picture and the texts found for it."""
    prompts = world.titles(part)
    found = tuple(
        Item(part.text_ids[i], prompts[i], "", float(s), rank)
        for rank, (i, s) in enumerate(zip(run.index[0], run.scores[0], strict=True), 1)
        if i >= 0
    )
    return QueryCard("q1", "i2t", (Ranking(found),), picture="q1", note=name)


def write(
    job: Job,
    cfg: DictConfig,
    part: Collection,
    run: Run,
    cards: list[QueryCard],
    weights: dict[str, str],
    picture: bytes,
) -> None:
    """results.json, run.trec, the page; the terminal table."""
    direction: Direction = "t2i" if cards[0].direction == "t2i" else "i2t"
    job.write_config(cfg)
    write_json(job.folder / "results.json", [as_json(card) for card in cards])
    write_runs(job.folder / "run.trec", {direction: answered(run)})
    read = show.picture_reader(part)
    page = RetrievalPage(
        title=f"{len(cards):,} {'query' if len(cards) == 1 else 'queries'} · {part.name}",
        subtitle=f"{run.gallery_size:,} items searched by {weights['name']}",
        cards=tuple(cards),
        facts=(Fact("data", part.name), Fact("part", str(cfg.part)), Fact("backbone", weights["name"])),
        files=("results.json", "run.trec", "manifest.json", "config.yaml"),
    )
    write_retrieval(job.folder / "index.html", page, lambda name: picture if name == "q1" and picture else read(name))
    print_retrieval(cards)
    log.info("retrieval page: %s", job.folder / "index.html")


def as_json(card: QueryCard) -> dict[str, Any]:
    """One query with its results, for results.json."""
    found = [
        {"rank": item.rank, "id": item.id, "score": item.score, "text": item.text} for item in card.rankings[0].found
    ]
    known = {"true_picture": card.truth[0].id, "true_rank": card.rankings[0].rank} if card.truth else {}
    return {"query_id": card.id, "query": card.text or card.note, **known, "results": found}
