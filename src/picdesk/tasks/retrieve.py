"""retrieve.py: find pictures for texts, and texts for a picture; show them and write them down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from picdesk.assembly import correcting, saved_index
from picdesk.assembly.build import build, check_all
from picdesk.assembly.inherit import with_checkpoint
from picdesk.assembly.loading import load_backbone, load_world, make_encoder
from picdesk.assembly.reranking import contents, refuse_reranker
from picdesk.assembly.searching import reranked, retrieve_run
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.interfaces import Embeddings, Side
from picdesk.jobs.folder import Job, need_positive
from picdesk.pages import show
from picdesk.pages.answers import picture_card, text_card, write
from picdesk.pages.finish import weights_of
from picdesk.pages.notes import untrained_note
from picdesk.pages.outside import check_submission
from picdesk.readers.queries import Query
from picdesk.retrieval.dataset import QUERY_FIELDS, World
from picdesk.retrieval.features import head, picture_features, text_features
from picdesk.retrieval.tools import Tools
from picdesk.search.grouping import best_part_run
from picdesk.tasks.asked import OnePicture, read_picture, read_texts, strong
from picdesk.tasks.combined import Asked, Piece, as_query, vector_of
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
    need_positive(cfg)
    asked = [name for name in ("query", "queries", "image") if cfg[name]]
    whole = Asked(cfg.query, cfg.image, cfg.queries, list(cfg.also), cfg.find, int(cfg.encode.max_pixels))
    pieces = whole.pieces()
    if len(asked) != 1 and not pieces:
        given = " and ".join(asked) or "none of them"
        raise ConfigError(f"exactly one of query=TEXT, queries=FILE and image=FILE is needed; given: {given}")
    if "queries" in asked and len(asked) > 1:
        raise ConfigError(f"queries=FILE is asked by itself; given: {' and '.join(asked)}")
    check_submission(cfg)
    queries = read_texts(cfg) if asked != ["image"] and not pieces else []
    picture = read_picture(str(cfg.image), int(cfg.encode.max_pixels)) if asked == ["image"] and not pieces else b""
    if pieces:
        refuse_reranker(cfg, "a query out of several, or a picture that finds pictures, is asked of the vectors alone")
        picture = next((one.picture for one in pieces if one.picture), b"")
        queries = [as_query(pieces)] if whole.finds_pictures(pieces) else []
    if cfg.index_dir:
        from picdesk.tasks.search_saved import search_saved

        return search_saved(cfg, queries, picture, pieces)
    check_all(cfg)
    cfg, checkpoint = with_checkpoint(cfg)
    world = load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = load_backbone(cfg, checkpoint), make_encoder(cfg)
    weights = weights_of(backbone, checkpoint) | contents(cfg)
    job = Job(cfg)
    with job.clock.stage("encode and search"):
        if queries:
            run, texts = search_pictures(cfg, world, part, backbone, encoder, queries, pieces)
            cards = [picture_card(part, world, run, q, texts[q], query) for q, query in enumerate(queries)]
        else:
            run = search_texts(cfg, world, part, backbone, encoder, picture, pieces)
            cards = [text_card(part, world, run, asked_name(cfg, pieces), bool(picture))]
    for note in (*correcting.notes(cfg), *untrained_note(backbone)):
        log.warning("%s", note.text)
    near = Tools(backbone, encoder).nearness(texts) if queries and not pieces else None
    write(job, cfg, part.name, run, cards, weights, picture, show.picture_reader(part), near)
    job.write_manifest(cfg, world.fingerprint(part, encoder), weights, encoder, len(world.collection.skipped))
    return run


def asked_name(cfg: DictConfig, pieces: Sequence[Piece]) -> str:
    """What is asked, for a page without its text."""
    return str(as_query(pieces).fields["title"]) if pieces else Path(str(cfg.image)).name


def search_pictures(
    cfg: DictConfig,
    world: World,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    queries: list[Query],
    pieces: Sequence[Piece] = (),
) -> tuple[Run, list[str]]:
    """The pictures nearest to each text, and the texts as encoded."""
    prompt = world.prompt or build(cfg, "prompt").choose(QUERY_FIELDS)
    texts = [prompt.render(query.fields) if not pieces else str(query.fields["title"]) for query in queries]
    ids = tuple(query.id for query in queries)
    if part.text_ids and "text" in part.vectors:
        backbone.check_texts(world.prompts(part), part.vectors["text"])
    if pieces:
        asked = vector_of(backbone, encoder, prompt, pieces)
    else:
        asked = Embeddings(ids, head(backbone, "text", encoder.texts(backbone, texts)))
    fields = tuple(query.fields for query in queries)
    tools = Tools.over(backbone, encoder, part)
    if backbone.by_captions:
        correcting.refuse(cfg, f"backbone={backbone.name}, which has no vector of a picture to correct")
        if cfg.save_index:
            saved_index.refuse_captions(backbone, f"save_index={cfg.save_index}")
        known = Embeddings(part.text_ids, head(backbone, "text", text_features(world, part, backbone, encoder)))
        run = best_part_run(asked, known, part.picture_of, part.picture_ids, int(cfg.top_k))
        items = Side(part.picture_ids, pictures=part.pictures)
        context = tools.context("t2i", Side(ids, asked, tuple(texts), fields), items)
        return reranked(cfg, strong(cfg, run), context, tools), texts
    gallery = Embeddings(part.picture_ids, head(backbone, "image", picture_features(part, backbone, encoder)))
    items = Side(gallery.ids, gallery, pictures=part.pictures)
    keep = partial(strong, cfg)
    index = saved_index.built_and_kept(cfg, world, asked, items, "pictures", backbone, encoder)
    return retrieve_run(cfg, "t2i", Side(ids, asked, tuple(texts), fields), items, tools, index=index, keep=keep), texts


def search_texts(
    cfg: DictConfig,
    world: World,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    picture: bytes,
    pieces: Sequence[Piece] = (),
) -> Run:
    """The texts nearest to a picture."""
    if not part.text_ids:
        raise ConfigError(f"data={part.name} has no texts to find for image={cfg.image}")
    source, backbone = OnePicture(picture), backbone.facing("i2t")
    if pieces:
        asked = vector_of(backbone, encoder, world.prompt, pieces)
    else:
        asked = Embeddings(("q1",), head(backbone, "image", encoder.pictures(backbone, source, open_picture)))
    gallery = Embeddings(part.text_ids, head(backbone, "text", text_features(world, part, backbone, encoder)))
    items = Side(gallery.ids, gallery, tuple(world.prompts(part)), part.texts)
    index = saved_index.built_and_kept(cfg, world, asked, items, "texts", backbone, encoder)
    tools = Tools(backbone, encoder)
    asking = Side(("q1",), asked, pictures=source)
    return retrieve_run(cfg, "i2t", asking, items, tools, index=index, keep=partial(strong, cfg))
