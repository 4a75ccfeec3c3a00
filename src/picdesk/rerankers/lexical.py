"""`reranker=lexical`: the words of the text against the words of what is known of each picture, by BM25 (Robertson et al. 1994).

What is known of a picture are texts that the data set has of it (`fields`) or those of a file by picture id: captions that a
model wrote, credits, text read out of the picture. Vectors blur names; words do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Fields
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import RerankContext
from picdesk.needs import Need, file_need
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, no_scores
from picdesk.rerankers.captions import own_captions, read_captions
from picdesk.rerankers.words import Words
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
NOTHING = "reranker.fields=[], reranker.file=null: nothing is known of any picture"
SCORES = ("bm25", "entities")
POOLS = ("sum", "mean", "max")
USUAL = ("caption", "title")


@config_part
class Lexical(Scorer):
    """BM25 of the text over what is known of each candidate, or (`score=entities`) the share of the text's names found in it.

    `fields` are those of the data set's texts that describe a picture, `file` (.json, .jsonl or .csv) has more by picture id;
    each such text is a document, and a picture's score is the `pooling` of its documents' (sum, mean, max). Names count by how
    rare they are. A text that is word for word the query, or the caption or title that it was made of, or another field (tags)
    that its prompt put into it, is left out for every picture alike (`leave_out_query`). Candidates of which nothing is known,
    and texts without a name, are unscored.
    """

    def __init__(
        self,
        fields: Sequence[str] = USUAL,
        file: str | None = None,
        score: str = "bm25",
        pooling: str = "mean",
        language: str | None = "english",
        k1: float = 1.2,
        b: float = 0.75,
        leave_out_query: bool = True,
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        for key, value, allowed in (("score", score, SCORES), ("pooling", pooling, POOLS)):
            if value not in allowed:
                raise ConfigError(f"reranker.{key}={value}: choose one of {', '.join(allowed)}")
        if not k1 >= 0 or not 0 <= b <= 1:
            raise ConfigError(f"reranker.k1={k1}, reranker.b={b}: k1 is 0 or more, b lies in [0, 1]")
        if not fields and file is None:
            raise ConfigError(
                f"{NOTHING}; name columns of the data set, or give reranker.file=FILE (.json, .jsonl, .csv by id)"
            )
        self.fields, self.kind, self.pooling, self.language = tuple(fields), score, pooling, language
        self.k1, self.b, self.leave_out_query = float(k1), float(b), leave_out_query
        self.words = Words(language)
        self.given = read_captions(file, "reranker.file") if file is not None else {}

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The file of captions, where one is named or nothing else is."""
        if not values.get("file") and not values.get("fields"):
            return [Need(f"{key}.file", "captions by id", False, remedy=f"give {key}.file=FILE")]
        return [file_need(values["file"], f"{key}.file", "captions by id")] if values.get("file") else []

    def fingerprint(self, context: RerankContext) -> str:
        """Every setting, and all that is known."""
        known = self._known_texts(context)
        rules = [self.kind, self.pooling, self.language, self.k1, self.b, self.leave_out_query]
        return digest_of(["lexical 3", rules, sorted((name, list(own)) for name, own in known.items())])

    def content(self) -> str:
        """The file."""
        return digest_of(["lexical", sorted(self.given.items())])

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """One value a pair [queries, depth]."""
        known = self._known_texts(context)
        if not any(known.get(name) for name in context.pictures.ids):
            return no_scores(run)
        library = Documents(known, context.pictures.ids, self.words)
        own = self._own_documents(context, library.place) if self.leave_out_query else None
        scores = no_scores(run)
        for text, cells, pictures in by_text(run, context.direction == "t2i"):
            values = self._of_documents(library, context.texts.texts[text])
            left_out = own[text] if own is not None else np.empty(0, np.int64)
            if values is not None:
                scores[cells[:, 0], cells[:, 1]] = pool_documents(library.table[pictures], values, left_out, self._pool)
        return scores

    def _own_documents(self, context: RerankContext, place: Mapping[str, int]) -> NDArray[np.int64]:
        """Which documents (numbered by `place`) are each text itself, or a field of it that its prompt put in: [texts, n], -1 for
        none."""
        texts, render = context.texts, context.render
        if render is None or not texts.fields:
            return own_captions(texts, place)
        asked = [[document_asked(render, own, name) for name in self.fields] for own in texts.fields]
        return own_captions(texts, place, [list(filter(None, row)) for row in asked])

    @property
    def _pool(self) -> str:
        return "max" if self.kind == "entities" else self.pooling

    def _of_documents(self, library: Documents, text: str) -> NDArray[np.float32] | None:
        """A value for each document; None where the text has nothing to be matched by."""
        if self.kind == "entities":
            return library.entities(self.words.entities(text))
        words = self.words(text)
        return library.bm25(words, self.k1, self.b) if words else None

    def _known_texts(self, context: RerankContext) -> Mapping[str, Sequence[str]]:
        """Texts by picture id: those of the data set, as far as they are asked for, and those of the file."""
        found: dict[str, list[str]] = {}
        self._check_fields(context)
        for name, own in context.known.items() if context.known else ():
            said = [value for fields in own for key in self.fields for value in documents_in(fields.get(key, ()))]
            found[name] = list(dict.fromkeys(said))
        if not context.known and {*USUAL} & set(self.fields):
            found = {name: list(own) for name, own in context.captions.items()}
        for name, more in self.given.items():
            found.setdefault(name, []).extend(more)
        return found

    def _check_fields(self, context: RerankContext) -> None:
        """Raise `ConfigError` for a field that no text has. Of those that stand for what most data sets have, one is enough."""
        there = (
            set[str]().union(*(fields for own in context.known.values() for fields in own)) if context.known else set()
        )
        lost = [name for name in self.fields if name not in there and (name not in USUAL or not there & {*USUAL})]
        if there and lost and (set(lost) - {*USUAL} or not self.given):
            told = f"no text of the data set has that field; there are {', '.join(sorted(there))}"
            raise ConfigError(f"reranker.fields={','.join(lost)}: {told}")


class Documents:
    """All that is known, each text once, and which of them each picture has: `table` [pictures, most], -1 for none."""

    def __init__(self, known: Mapping[str, Sequence[str]], ids: Sequence[str], words: Words) -> None:
        self.texts = list(dict.fromkeys(text for own in known.values() for text in own))
        self.place = {text: i for i, text in enumerate(self.texts)}
        self._words = words
        self.table = np.full((len(ids), max(1, *(len(known.get(name, ())) for name in ids))), -1, np.int64)
        for row, name in enumerate(ids):
            own = [self.place[text] for text in dict.fromkeys(known.get(name, ()))]
            self.table[row, : len(own)] = own
        self._index: Any = None

    def bm25(self, query: list[str], k1: float, b: float) -> NDArray[np.float32]:
        """BM25 of each document, by the library, in Lucene's form of it."""
        if self._index is None:
            import bm25s

            logging.getLogger("bm25s").setLevel(logging.WARNING)  # it tells of each index that it builds
            self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
            self._index.index([self._words(text) for text in self.texts], show_progress=False)
        ids = self._index.get_tokens_ids(query)
        if not ids:
            return np.zeros(len(self.texts), np.float32)
        return np.asarray(self._index.get_scores_from_ids(ids), np.float32)

    def entities(self, names: list[str]) -> NDArray[np.float32] | None:
        """The share of the names, weighted by how rare they are, that each document has."""
        if not names:
            return None
        rare = np.array([self._rarity(len(self._places_of_words.get(name, ()))) for name in names], np.float32)
        found = np.zeros(len(self.texts), np.float32)
        for name, share in zip(names, rare / rare.sum(), strict=True):
            found[self._places_of_words.get(name, [])] += share
        return found

    def _rarity(self, count: int) -> float:
        return float(np.log1p((len(self.texts) - count + 0.5) / (count + 0.5)))

    @cached_property
    def _places_of_words(self) -> dict[str, list[int]]:
        """The documents that each word, or run of capitalised words, stands in."""
        found: dict[str, list[int]] = {}
        for place, text in enumerate(self.texts):
            for word in {*self._words(text), *self._words.entities(text)}:
                found.setdefault(word, []).append(place)
        return found


def pool_documents(
    table: NDArray[np.int64], values: NDArray[np.float32], left_out: NDArray[np.int64], pool: str
) -> NDArray[np.float32]:
    """One value for each row of documents [pictures, most]; NaN where none is left."""
    usable = (table >= 0) & ~np.isin(table, left_out[left_out >= 0])
    each = values[np.maximum(table, 0)]
    count = usable.sum(1)
    if pool == "max":
        value = np.where(usable, each, -np.inf).max(1)
    else:
        value = np.where(usable, each, 0).sum(1) / (np.maximum(count, 1) if pool == "mean" else 1)
    return np.where(count > 0, value, np.nan).astype(np.float32)


def by_text(run: Run, texts_ask: bool) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Each text once, with its cells (query, place) in the run [n, 2] and the pictures [n] it is paired with."""
    query, place = np.nonzero(run.index >= 0)
    item = run.index[query, place].astype(np.int64)
    texts, pictures = (query, item) if texts_ask else (item, query)
    order = np.argsort(texts, kind="stable")
    starts = np.flatnonzero(np.diff(texts[order], prepend=-1))
    for own in np.split(order, starts[1:]) if len(order) else []:
        yield int(texts[own[0]]), np.stack([query[own], place[own]], axis=1), pictures[own].astype(np.int64)


def document_asked(render: Callable[[Fields], str], fields: Fields, name: str) -> str | None:
    """The document that a field of a text is, where the text would be another one without it; None where it has no share."""
    said = fields.get(name)
    if not said:
        return None
    without = {**fields, name: "" if isinstance(said, str) else ()}
    return next(iter(documents_in(said)), None) if render(fields) != render(without) else None


def documents_in(value: str | Sequence[str]) -> list[str]:
    """A field as documents: a list of tags is one, its items side by side, as BM25 weighs a word by its document's length.

    `search.hybrid` asks of each item by itself whether a query was made of it, and so takes a list apart.
    """
    text = value if isinstance(value, str) else " | ".join(value)
    return [text] if text else []
