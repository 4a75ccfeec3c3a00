"""The scores of a reranker over the candidates of a run: made once, and kept in the store."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picdesk.data.sources import NoPictures, origin
from picdesk.errors import short_repr
from picdesk.files import digest_of, written_whole
from picdesk.interfaces import RerankContext, Reranker, Side
from picdesk.rerankers.base import candidates_alone, take_rows
from picdesk.retrieval.dataset import plain_fields
from picdesk.retrieval.tools import Tools
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One reranker of the config: its name, its weight, the object."""

    name: str
    weight: float
    reranker: Reranker


def scores_of(part: Part, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """Scores [queries, depth] of one reranker over its candidates, out of the store where they were made before."""
    reranker, depth = part.reranker, run.depth
    top_k = min(reranker.top_k or depth, depth)
    head_run = replace(run, index=run.index[:, :top_k], scores=run.scores[:, :top_k])
    scores = np.full(run.index.shape, np.nan, np.float32)
    step = reranker.block or max(len(run.query_ids), 1)
    for start in range(0, len(run.query_ids), step):
        rows = np.arange(start, min(start + step, len(run.query_ids)))
        some, own = (head_run, context) if step >= len(run.query_ids) else section(head_run, context, rows)
        scores[rows, :top_k] = kept_scores(part, some, own, tools)
    tell_silence(part, context, scores[:, :top_k][head_run.index >= 0])
    return scores


def tell_silence(part: Part, context: RerankContext, scores: NDArray[np.float32]) -> None:
    """Say how many candidates were left unscored; aloud where all were, as the reranker then changes nothing."""
    silent, total = int(np.isnan(scores).sum()), len(scores)
    if total and silent == total:
        told = (
            "reranker %s, %s: scores none of the %d candidates (a file for it goes by ids: pictures as %s, texts as %s)"
        )
        ids = (short_repr(side.ids[0]) for side in (context.pictures, context.texts))
        log.warning(told, part.name, context.direction, total, *ids)
    elif silent:
        told = "reranker %s, %s: %d of %d candidates unscored; they keep their place"
        log.info(told, part.name, context.direction, silent, total)


def section(run: Run, context: RerankContext, rows: NDArray[np.int64]) -> tuple[Run, RerankContext]:
    """Some queries of a run, with their side of the context."""
    ids = tuple(run.query_ids[i] for i in rows)
    return replace(run, query_ids=ids, index=run.index[rows], scores=run.scores[rows]), replace(
        context, queries=take_rows(context.queries, rows)
    )


def kept_scores(part: Part, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """What the reranker says, asked once ever: the same reranker, texts, pictures and candidates give the kept scores."""
    reranker = part.reranker
    run, rows = candidates_alone(run)
    if not len(rows):
        return np.full(run.index.shape, np.nan, np.float32)
    if len(rows) < len(context.items.ids):  # what is no candidate has no share in any score
        context = replace(context, items=take_rows(context.items, rows))
    own = reranker.fingerprint(context) if tools is not None else ""
    if tools is None or not own:
        return score_and_count(reranker, run, context, tools)
    encoder = tools.encoder
    counts = encoder.counts.more
    pairs = int((run.index >= 0).sum())
    how = [encoder.arithmetic(tools.backbone), encoder.storage, encoder.fast_decode, *encoder.computing.by_trunk]
    sides = [side_key(side, tools) for side in (context.queries, context.items)]
    shape = hashlib.sha256(np.ascontiguousarray(run.index).tobytes()).hexdigest()
    key = digest_of([own, how, context.direction, sides, shape, list(run.index.shape)])
    path = encoder.store.root / "reranks" / key[:2] / f"{key}.npz"
    known = read_scores(path, run.index.shape)
    if known is not None:
        counts["pairs_reused"] = counts.get("pairs_reused", 0) + pairs
        return known
    scores = score_and_count(reranker, run, context, tools)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, scores=scores)
    return scores


def score_and_count(reranker: Reranker, run: Run, context: RerankContext, tools: Tools | None) -> NDArray[np.float32]:
    """Score, and add what it cost to the counts of the job."""
    before: Mapping[str, int] = dict(reranker.counts)
    scores = reranker.score(run, context)
    if tools is not None:
        counts = tools.encoder.counts.more
        counts["pairs_scored"] = counts.get("pairs_scored", 0) + int((~np.isnan(scores)).sum())
        for name, value in reranker.counts.items():
            counts[name] = counts.get(name, 0) + value - before.get(name, 0)
    return scores


def side_key(side: Side, tools: Tools) -> str:
    """Digest over ids, texts, fields, vectors and picture contents of a side (vectors made elsewhere may have no pictures)."""
    fields = [plain_fields(own) for own in side.fields]
    pictures: list[str] = []
    if side.pictures is not None and side.ids and not isinstance(origin(side.pictures, 0)[0], NoPictures):
        pictures = [key.hex() for key in tools.encoder.picture_keys(side.pictures)]
    vectors = b"" if side.embeddings is None else np.ascontiguousarray(side.embeddings.matrix).tobytes()
    return digest_of([side.ids, side.texts, fields, pictures, hashlib.sha256(vectors).hexdigest()])


def read_scores(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Kept scores, or None where there are none that can be used."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            scores = file["scores"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        log.warning("%s cannot be read; its scores are made again", path)
        return None
    return scores if scores.shape == shape and scores.dtype == np.float32 else None
