"""Collection: pictures, texts, which text belongs to which picture, and the split each picture is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, check_unique, examples
from picdesk.interfaces import Direction, Modality, PictureBytes
from picdesk.trec.runs import Qrels

Fields = Mapping[str, str | Sequence[str]]


def in_words(value: str | Sequence[str]) -> str:
    """A field as running text: a list becomes its items with commas between."""
    return value if isinstance(value, str) else ", ".join(value)


@dataclass(frozen=True)
class Skipped:
    """One item that a reader left out: where it stands and why.

    `row` is false for what is no row of the data: a name in a list of splits that no picture has. It is listed with the
    others and counts toward no fraction. `picture` is the id that a picture which was left out would have had.
    """

    item: str
    reason: str
    row: bool = True
    picture: str = ""


@dataclass(frozen=True)
class Collection:
    """What every reader gives and every later step takes.

    `picture_ids[i]` names the picture whose bytes are `pictures.read(i)`; `texts[j]` holds the fields of text `text_ids[j]`
    (strings, or lists of strings such as tags); `picture_of[j]` is the position of the picture it belongs to. Any number of
    texts may share a picture, and a picture may have none. `official` names, where the data set has its own split lists,
    the split of each picture ("" for none); a *split* config option turns that, or a seed, into the split that is used.
    `skipped` lists what the reader left out, `notes` what it found worth saying about what it kept (an encoding, line ends).
    `vectors` holds embeddings that came with the data set, [pictures, dim] and [texts, dim], where there are any. `judgments` say
    by direction what else is relevant, in whatever part; with `judged_only` they alone count, and what they do not name is no
    query. `aside` rows were read too but lie beyond `data.limit`: shares of bad rows are of all that were read.
    Raises `DataError` where the parts do not fit together.
    """

    name: str
    picture_ids: tuple[str, ...]
    pictures: PictureBytes
    text_ids: tuple[str, ...]
    texts: tuple[Fields, ...]
    picture_of: NDArray[np.int64]
    official: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=())
    notes: tuple[str, ...] = ()
    vectors: Mapping[Modality, NDArray[np.float32]] = field(default_factory=dict)
    judgments: Mapping[Direction, Qrels] = field(default_factory=dict)
    judged_only: bool = False
    aside: int = 0

    def __post_init__(self) -> None:
        check_unique(self.picture_ids, f"data={self.name}: pictures")
        check_unique(self.text_ids, f"data={self.name}: texts")
        if not self.picture_ids:
            raise DataError(f"data={self.name}: the data set is empty: no usable picture was found")
        if len(self.pictures) != len(self.picture_ids):
            raise DataError(f"data={self.name}: {len(self.picture_ids)} picture ids for {len(self.pictures)} pictures")
        if not len(self.texts) == len(self.text_ids) == len(self.picture_of):
            counts = (len(self.text_ids), len(self.texts), len(self.picture_of))
            raise DataError(f"data={self.name}: text ids, texts and their pictures differ in number: {counts}")
        outside = (self.picture_of < 0) | (self.picture_of >= len(self.picture_ids))
        if outside.any():
            names = examples([self.text_ids[j] for j in np.flatnonzero(outside)[:4]])
            raise DataError(f"data={self.name}: {int(outside.sum())} texts point at no picture, for example {names}")
        if self.official and len(self.official) != len(self.picture_ids):
            raise DataError(
                f"data={self.name}: split membership for {len(self.official)} of {len(self.picture_ids)} pictures"
            )

        for modality, rows in self.vectors.items():
            ids = self.picture_ids if modality == "image" else self.text_ids
            if len(rows) != len(ids):
                raise DataError(f"data={self.name}: {len(rows)} {modality} embeddings for {len(ids)} ids")

    def field_names(self) -> tuple[str, ...]:
        """Text fields that there are, in the order of first appearance."""
        return tuple(dict.fromkeys(name for fields in self.texts for name in fields))

    def take(self, pictures: NDArray[np.int64]) -> Collection:
        """The given pictures, in the given order, with all their texts, in the order they had."""
        place = np.full(len(self.picture_ids), -1, np.int64)
        place[pictures] = np.arange(len(pictures))
        texts = np.flatnonzero(place[self.picture_of] >= 0) if len(self.texts) else np.empty(0, np.int64)
        chosen = self.with_texts(texts)
        return replace(
            chosen,
            picture_ids=tuple(self.picture_ids[i] for i in pictures),
            pictures=Chosen(self.pictures, pictures),
            picture_of=place[chosen.picture_of],
            official=tuple(self.official[i] for i in pictures) if self.official else (),
            vectors={
                name: choose_rows(rows, pictures) if name == "image" else rows for name, rows in chosen.vectors.items()
            },
        )

    def with_texts(self, texts: NDArray[np.int64]) -> Collection:
        """All pictures with the given texts alone, in the given order."""
        return replace(
            self,
            text_ids=tuple(self.text_ids[j] for j in texts),
            texts=tuple(self.texts[j] for j in texts),
            picture_of=self.picture_of[texts],
            vectors={name: choose_rows(rows, texts) if name == "text" else rows for name, rows in self.vectors.items()},
        )

    def qrels(self, direction: Direction) -> Qrels:
        """Which items are relevant: t2i, each text's picture; i2t, each picture's texts (pictures without texts ask nothing);
        and what the judgments name besides."""
        own = self._own_qrels(direction)
        if direction not in self.judgments:
            return own
        queries, items = self.text_ids, self.picture_ids
        if direction == "i2t":
            queries, items = items, queries
        return together(own, self.judgments[direction], queries, items, self.judged_only)

    def _own_qrels(self, direction: Direction) -> Qrels:
        """The same by the pairs of the data set alone."""
        texts = np.arange(len(self.text_ids), dtype=np.int64)
        if direction == "t2i":
            return Qrels.from_pairs(self.text_ids, self.picture_ids, texts, self.picture_of)
        asked = np.unique(self.picture_of)
        ids = tuple(self.picture_ids[i] for i in asked)
        return Qrels.from_pairs(ids, self.text_ids, np.searchsorted(asked, self.picture_of), texts)


def choose_rows(matrix: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The given rows, in the given order; the matrix itself where these are all in their order, as it may be gigabytes."""
    same = len(rows) == len(matrix) and np.array_equal(rows, np.arange(len(matrix)))
    return matrix if same else matrix[rows]


def together(
    own: Qrels, more: Qrels, queries: tuple[str, ...], items: tuple[str, ...], judged_only: bool = False
) -> Qrels:
    """The pairs of both, or (`judged_only`) of `more` alone, among these queries and items, at their higher grade.

    Queries without a relevant item are left out. A query is about the item that it is about in `own`, whatever else is relevant
    to it: the captions of one picture are no more independent for having further answers.

    Raises `DataError` where nothing is left.
    """
    query_place = {name: i for i, name in enumerate(queries)}
    item_place = {name: i for i, name in enumerate(items)}
    pairs: dict[tuple[int, int], int] = {}
    for qrels in (more,) if judged_only else (own, more):
        grades = np.ones(len(qrels.items), np.int64) if qrels.grades is None else qrels.grades
        for q, i, grade in zip(qrels.query_of.tolist(), qrels.items.tolist(), grades.tolist(), strict=True):
            place = (query_place.get(qrels.query_ids[q], -1), item_place.get(qrels.item_ids[i], -1))
            if min(place) >= 0:
                pairs[place] = max(grade, pairs.get(place, 0))
    if not pairs:
        raise DataError("data.qrels: it names no query of this part together with an item of it")
    asked, item = np.array(sorted(pairs), np.int64).T
    kept, number = np.unique(asked, return_inverse=True)
    grade = np.array([pairs[pair] for pair in sorted(pairs)], np.int64)
    found = Qrels.from_pairs(tuple(queries[q] for q in kept), items, number.ravel(), item, grade)
    subject = dict(zip(own.query_ids, own.subjects.tolist(), strict=True))
    about = [subject.get(query, other) for query, other in zip(found.query_ids, found.subjects.tolist(), strict=True)]
    return replace(found, about=np.array(about, np.int32))


@dataclass(frozen=True)
class Chosen:
    """Some pictures of another source, in another order."""

    source: PictureBytes
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int) -> bytes:
        """Bytes of the `i`-th chosen picture."""
        return self.source.read(int(self.rows[i]))
