"""What is searched: an index that is ready, and what is known of its items. Built over a data set or opened from a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.errors import ConfigError
from picdesk.filters.columns import Columns, columns_of
from picdesk.filters.language import parse_filter
from picdesk.interfaces import Direction, Embeddings, Index, Side
from picdesk.rerankers.base import candidates_alone
from picdesk.retrieval.catalogue import Catalogue, Render
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import head, picture_features, text_features
from picdesk.retrieval.filtering import search_among
from picdesk.retrieval.tools import Tools
from picdesk.search.base import IndexBase
from picdesk.search.grouping import best_part_run
from picdesk.search.hybrid import find
from picdesk.trec.runs import Floats, Run

Kept = Callable[[Run, Floats | None], Run]
MASKS = 8
"""Filters whose answer is kept, as a page is asked again with the same one."""


@dataclass
class CaptionIndex(IndexBase):
    """The index of a backbone that finds pictures by what is said of them: a picture scores by its best caption."""

    known: Embeddings
    owner: NDArray[np.int64]
    ids: tuple[str, ...]
    fingerprint: str = ""
    of_vectors = False

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best pictures of each query, exhaustively."""
        return best_part_run(queries, self.known, self.owner, self.ids, top_k)


@dataclass(frozen=True)
class Gallery:
    """An index over pictures (direction t2i) or texts (i2t). `items` are all that is known of them, in the order of the index;
    None where vectors are in the index alone, and items are looked up in the `catalogue` once they are candidates."""

    direction: Direction
    index: Index
    catalogue: Catalogue
    items: Side | None = None
    name: str = ""
    prompt: object = field(default=None, repr=False)
    known: Callable[[], Columns] | None = field(default=None, repr=False)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.index.ids)

    @cached_property
    def columns(self) -> Columns:
        """What a filter asks: what is known of the items of the index, in its order; `known` if it is given, else what the data
        set says. Raises `ConfigError` where nothing is known."""
        if self.known is not None:
            return self.known().take(self.index.ids)
        part = self.catalogue.collection
        if part is None:
            told = "this index was saved without columns, and its data set cannot be read: name it (data=...), or build it again"
            raise ConfigError(f"filter: {told}")
        return columns_of(part, self.direction).take(self.index.ids)

    def fulfilling(self, filter: str) -> NDArray[np.bool_]:  # noqa: A002 - as it is called everywhere
        """Which items [index.ids] fulfil a filter such as `date > 2021-01-01 and credit = 'Reuters'`.

        Raises `ConfigError` where it cannot be read, or asks about a column that is not there.
        """
        found = self.masks.get(filter)
        if found is None or len(found) != len(self):
            found = self.columns.fulfilling(filter)
            while len(self.masks) >= MASKS:
                self.masks.pop(next(iter(self.masks)))
            self.masks[filter] = found
        return found

    def count(self, filter: str) -> int:  # noqa: A002
        """How many items fulfil a filter."""
        if self.index.has_columns:
            return self.index.count_where(parse_filter(filter))
        return int(self.fulfilling(filter).sum())

    def search(
        self,
        queries: Embeddings,
        top_k: int,
        keep: Kept | None = None,
        filter: str | None = None,  # noqa: A002
        texts: Sequence[str] = (),
    ) -> Run:
        """The `top_k` best items of each query, over all items or, where they are looked up, over the candidates alone.

        `keep` may drop what was found, by its similarity [queries, top_k], which is given where the scores are corrected ones.
        With a `filter` only items that fulfil it are found. An index that reads words looks for `texts` too (up to `top_k` more).
        """
        if self.index.has_columns or not filter:
            run = find(self.index, queries, texts, min(top_k, len(self)), parse_filter(filter) if filter else None)
        else:
            run = search_among(self.index, queries, min(top_k, len(self)), self.fulfilling(filter))
        if keep is not None:
            run = keep(run, self.index.similarity(queries, run))
        return run if self.items is not None else candidates_alone(run)[0]

    @property
    def known_texts(self) -> tuple[Collection | None, Render | None]:
        """What the data set says of the pictures that are searched, and what makes texts of it."""
        return (self.catalogue.collection if self.direction == "t2i" else None), self.catalogue.render

    def candidates(self, run: Run) -> Side:
        """What rerankers may look at: the items of the run."""
        return self.items if self.items is not None else self.catalogue.side(run.item_ids)


def gallery_of(
    dataset: Dataset,
    part: Collection,
    direction: Direction,
    tools: Tools,
    build: Callable[[Side], Index],
) -> Gallery:
    """The gallery of one part of a data set: its pictures (t2i) or its texts (i2t), encoded through the store and indexed.

    Raises `ConfigError` where there are no texts to find.
    """
    backbone, encoder = tools.backbone, tools.encoder
    render = dataset.prompt.render if dataset.prompt is not None else None
    catalogue = Catalogue(part, direction, render)
    if direction == "i2t":
        if not part.text_ids:
            raise ConfigError(f"data={part.name} has no texts to find for a picture")
        backbone = backbone.facing("i2t")
        texts = Embeddings(part.text_ids, head(backbone, "text", text_features(dataset, part, backbone, encoder)))
        items = Side(texts.ids, texts, tuple(dataset.prompts(part)), part.texts)
        return Gallery(direction, build(items), catalogue, items, part.name, dataset.prompt)
    if part.text_ids and "text" in part.vectors:
        backbone.check_texts(dataset.prompts(part), part.vectors["text"])
    if backbone.by_captions:
        known = Embeddings(part.text_ids, head(backbone, "text", text_features(dataset, part, backbone, encoder)))
        index = CaptionIndex(known, part.picture_of, part.picture_ids)
        return Gallery(
            direction, index, catalogue, Side(part.picture_ids, pictures=part.pictures), part.name, dataset.prompt
        )
    pictures = Embeddings(part.picture_ids, head(backbone, "image", picture_features(part, backbone, encoder)))
    items = Side(pictures.ids, pictures, pictures=part.pictures)
    return Gallery(direction, build(items), catalogue, items, part.name, dataset.prompt)
