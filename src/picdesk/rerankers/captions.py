"""Captions as the bridge: a text is compared with what is said of each candidate picture, sentence against sentence.

The captions come from a file, keyed by picture id, or from the data set itself. A caption that is word for word the query, or
the caption or title that the prompt made the query of, is left out for every picture alike, since a data set whose captions are
also its queries would otherwise find them by themselves; so it would by a file of them in small letters, without full stops.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import Doubled, digest_of, json_objects, json_value
from picdesk.home import at_door
from picdesk.interfaces import Backbone, RerankContext, Side
from picdesk.needs import Need, file_need
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, no_scores
from picdesk.rerankers.cross_backbone import backbone_digest
from picdesk.text.alike import said_by
from picdesk.text.as_text import NoTextError, fault_of, name_of, one_text, parse_cell, what
from picdesk.text.files import lines_of, plain_suffix, read_text
from picdesk.text.table import read_table
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
POOLS = ("max", "mean")
COLUMNS = (("id", "picture_id", "image_id", "image", "article_id"), ("caption", "captions", "text"))


@config_part
class Captions(Scorer):
    """Cosine of the query and the captions of each candidate, both encoded by `sentences`: the highest, or their `mean`.

    `file` (.json, .jsonl or .csv) holds captions by picture id; null takes those of the data set. A candidate without a
    caption is unscored. From picture to text it is the other way round: the captions of the query against each text.
    """

    def __init__(
        self,
        sentences: Backbone,
        file: str | None = None,
        pooling: str = "max",
        leave_out_query: bool = True,
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        self.sentences, self.pooling, self.leave_out_query = sentences, check_pooling(pooling), leave_out_query
        self.given = read_captions(file, "reranker.file") if file is not None else None

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The file of captions, where one is named."""
        return [file_need(values["file"], f"{key}.file", "captions by id")] if values.get("file") else []

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """Cosines [queries, depth]."""
        embedder = context.embedder
        if embedder is None:
            return no_scores(run)
        known = context.captions if self.given is None else self.given
        captions = [list(known.get(name, ())) for name in context.pictures.ids]
        said = list(dict.fromkeys(caption for own in captions for caption in own))
        if not said:
            return no_scores(run)
        place = {caption: i for i, caption in enumerate(said)}
        rows = [np.array([place[caption] for caption in own], np.int64) for own in captions]
        texts = context.texts.texts
        vectors = embedder.texts(self.sentences, [*said, *texts])
        same = own_captions(context.texts, place) if self.leave_out_query else np.full((len(texts), 1), -1)
        pairs = Pairs(vectors[: len(said)], rows, vectors[len(said) :], same, self.pooling)
        return pairs.scores(run, context.direction == "t2i")

    def fingerprint(self, context: RerankContext) -> str:
        """The sentence encoder, the rules and the captions."""
        known = context.captions if self.given is None else self.given
        own = [list(known.get(name, ())) for name in context.pictures.ids]
        return digest_of(["captions 4", backbone_digest(self.sentences), self.pooling, self.leave_out_query, own])

    def content(self) -> str:
        """The sentence encoder, and the captions of the file."""
        given = None if self.given is None else sorted(self.given.items())
        return digest_of(["captions", backbone_digest(self.sentences), given])


def own_captions(texts: Side, place: Mapping[str, int], more: Sequence[Sequence[str]] = ()) -> NDArray[np.int64]:
    """Which captions (numbered by `place`) are each text itself, as encoded or its caption or title, or one of `more` for each
    text, whatever the case, spaces and signs between: [texts, n], -1 for none."""
    by_words: dict[str, list[int]] = {}
    for caption, i in place.items():
        by_words.setdefault(said_by(caption), []).append(i)
    fields = texts.fields or tuple({} for _ in texts.texts)
    rows = []
    for text, own, further in zip(texts.texts, fields, more or [()] * len(texts.texts), strict=True):
        forms = [text, *(str(own[name]) for name in ("caption", "title") if own.get(name)), *further]
        rows.append([i for form in dict.fromkeys(map(said_by, forms)) for i in by_words.get(form, ())])
    table = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int64)
    for row, own_ones in enumerate(rows):
        table[row, : len(own_ones)] = own_ones
    return table


class Pairs:
    """Vectors of captions and texts, which captions each picture has, and which are each text itself [texts, n] (-1: none)."""

    def __init__(
        self,
        captions: NDArray[np.float32],
        rows: Sequence[NDArray[np.int64]],
        texts: NDArray[np.float32],
        same: NDArray[np.int64],
        pooling: str,
    ) -> None:
        self.captions, self.texts, self.same, self.pooling = captions, texts, same, pooling
        longest = max(len(own) for own in rows)
        self.table = np.full((len(rows), longest), -1, np.int64)
        for picture, own in enumerate(rows):
            self.table[picture, : len(own)] = own

    def scores(self, run: Run, texts_ask: bool) -> NDArray[np.float32]:
        """Query by query: the candidates' captions against the text, or the candidates' texts against the captions."""
        scores = no_scores(run)
        for query, index in enumerate(run.index):
            filled = np.flatnonzero(index >= 0)
            pictures, texts = index[filled], np.full(len(filled), query)
            if not texts_ask:
                pictures, texts = texts, pictures
            scores[query, filled] = self._pool(pictures, texts)
        return scores

    def _pool(self, pictures: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.float32]:
        table = self.table[pictures]
        usable = (table >= 0) & (table[:, :, None] != self.same[texts][:, None, :]).all(axis=2)
        cosines = np.einsum("pcd,pd->pc", self.captions[np.maximum(table, 0)], self.texts[texts])
        any_ = usable.any(axis=1)
        if self.pooling == "max":
            value = np.where(usable, cosines, -np.inf).max(axis=1)
        else:
            value = np.where(usable, cosines, 0).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
        return np.where(any_, value, np.nan).astype(np.float32)


def check_pooling(pooling: str) -> str:
    """How the scores of several captions become one. Raises `ConfigError` for another word than `max` or `mean`."""
    if pooling not in POOLS:
        raise ConfigError(f"reranker.pooling={pooling}: choose one of {', '.join(POOLS)}")
    return pooling


def read_captions(file: str, key: str) -> Mapping[str, tuple[str, ...]]:
    """Captions by id. Raises `DataError` where the file is not one of ids and captions: captions without ids are not taken."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"{key}={file}: no such file; `{at_door('retrieve')} task=write_captions` writes one")
    readers = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".tsv": _csv}
    if plain_suffix(path) not in readers:
        raise ConfigError(f"{key}={file}: the ending must be one of {', '.join(readers)}")
    try:
        found = readers[plain_suffix(path)](path)
    except (ValueError, NoTextError) as error:
        raise DataError(f"{key}={file}: not captions by id ({error})") from None
    if not found:
        raise DataError(f"{key}={file}: no captions in it")
    return found


def _json(path: Path) -> dict[str, tuple[str, ...]]:
    value = json_value(read_text(path, key=None)[0])
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _gather(list(enumerate(value, 1)))
    if not isinstance(value, dict):
        raise ValueError(f"an object {{id: [captions]}} is needed, found {type(value).__name__}")
    if isinstance(value, Doubled):
        raise ValueError(f"the id {value.twice!r} stands twice")
    return {str(name): _several(own) for name, own in value.items()}


def _jsonl(path: Path) -> dict[str, tuple[str, ...]]:
    return _gather(list(json_objects(lines_of(read_text(path, key=None)[0]))))


def _csv(path: Path) -> dict[str, tuple[str, ...]]:
    table = read_table(path, "auto", wanted=lambda header: all(set(names) & set(header) for names in COLUMNS), key=None)
    for where, reason in table.unused_rows(path.name):
        raise ValueError(f"{where}: {reason}; {len(table.ragged)} rows are so")
    if table.note:
        log.info("captions: %s", table.note)
    return _gather(table.rows)


def _gather(rows: Sequence[tuple[int, Mapping[str, object]]]) -> dict[str, tuple[str, ...]]:
    """Captions out of rows, each with the number of its line."""
    found: dict[str, tuple[str, ...]] = {}
    for number, row in rows:
        if isinstance(row, Doubled):
            raise ValueError(f"line {number}: the key {row.twice!r} stands twice")
        cells = [next((row[name] for name in names if row.get(name) is not None), None) for names in COLUMNS]
        if cells[0] in (None, "") or cells[1] is None:
            wanted = " and ".join(" or ".join(names) for names in COLUMNS)
            raise ValueError(f"line {number} lacks {wanted}")
        try:
            name = name_of(cells[0])
            found[name] = found.get(name, ()) + _several(cells[1])
        except (NoTextError, ValueError) as error:
            raise ValueError(f"line {number}: {error}") from None
    return found


def _several(value: object) -> tuple[str, ...]:
    """A caption, or several; a list may also be written in a cell. Raises `ValueError` for what is no text."""
    inner = parse_cell(value) if isinstance(value, str) else value
    if isinstance(inner, str | list) and (not isinstance(inner, list) or all(isinstance(one, str) for one in inner)):
        texts = [inner] if isinstance(inner, str) else inner
        fault = next(filter(None, map(fault_of, texts)), "")
        if fault:
            raise ValueError(fault)
        return tuple(filter(None, map(one_text, texts)))
    raise ValueError(f"a caption must be a text or a list of texts, found {what(inner)}")
