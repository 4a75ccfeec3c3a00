"""Where the bank of a correction comes from: the queries of a part that is not reported, or the reported ones, said aloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, examples
from picdesk.interfaces import Direction, Embeddings, Index
from picdesk.report.content import Note
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import head, picture_features, text_features
from picdesk.search.corrected import Corrected, blocks_of, gate_of, with_bias, with_gate
from picdesk.search.corrections import Bank, Blocks, Correction, Fitted
from picdesk.search.indexes import FlatIndex

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Banks:
    """What banks are made of: the data set, the encoders, the rule; `seed` draws the queries where there are too many.

    `reported` are the pictures that are asked about and scored, none of which may be in a bank (empty: nothing is scored).
    """

    dataset: Dataset | None
    backbone: TwoTower
    encoder: Encoder
    rule: Correction
    seed: int
    reported: Sequence[str] = ()

    def fit(self, direction: Direction, queries: Embeddings | None, items: Embeddings) -> tuple[Bank, Fitted]:
        """The bank of a direction, and what it says of these items; `queries` are those that a transductive rule may see."""
        return self.fit_by_shards(direction, queries, items.ids, blocks_of(items.matrix))

    def fit_by_shards(
        self, direction: Direction, queries: Embeddings | None, ids: Sequence[str], gallery: Blocks
    ) -> tuple[Bank, Fitted]:
        """The same for items that are not all in memory at once."""
        bank = self.bank(direction, queries, ids)
        return bank, self.rule.fit(bank, gallery)

    def bank(self, direction: Direction, queries: Embeddings | None, ids: Sequence[str]) -> Bank:
        """Texts that ask for pictures, or pictures that ask for texts. Raises `ConfigError` where these are reported."""
        if self.backbone.by_captions:
            raise ConfigError(
                f"scores={self.rule.name}: backbone={self.backbone.name} has no vector of a picture to correct"
            )
        if self.rule.transductive:
            if queries is None:
                raise ConfigError("scores.transductive=true: there are no queries yet, so no bank can be made of them")
            return Bank.of(queries.matrix)
        dataset, part = self._part()
        return self._of_texts(dataset, part, ids) if direction == "t2i" else self._of_pictures(part, ids)

    def _part(self) -> tuple[Dataset, Collection]:
        if self.dataset is None:
            raise ConfigError(f"scores={self.rule.name}: there is no data set here to take a bank of")
        try:
            part = self.dataset.part(self.rule.bank)
        except ConfigError as error:
            raise ConfigError(f"scores.bank={self.rule.bank}: {error}") from None
        both = set(part.picture_ids) & set(self.reported)
        if both:
            raise ConfigError(
                f"scores.bank={self.rule.bank}: {len(both)} of its pictures are reported, for example {examples(sorted(both))}; "
                "queries may not correct their own scores: report another part, or say scores.transductive=true"
            )
        if not part.text_ids:
            raise ConfigError(f"scores.bank={self.rule.bank}: data={part.name} has no texts there")
        return self.dataset, part

    def _of_texts(self, dataset: Dataset, part: Collection, ids: Sequence[str]) -> Bank:
        """The texts of the part, each known to ask for its own picture."""
        some = part.with_texts(self._draw(len(part.text_ids)))
        backbone = self.backbone.facing("t2i")
        matrix = head(backbone, "text", text_features(dataset, some, backbone, self.encoder))
        place = {name: i for i, name in enumerate(ids)}
        item = np.array([place.get(some.picture_ids[p], -1) for p in some.picture_of], np.int64)
        known = np.flatnonzero(item >= 0)
        return Bank.of(matrix, item[known], known)

    def _of_pictures(self, part: Collection, ids: Sequence[str]) -> Bank:
        """The pictures of the part that have texts, each known to ask for its own texts."""
        asking = np.unique(part.picture_of)
        some = part.take(asking[self._draw(len(asking))])
        backbone = self.backbone.facing("i2t")
        matrix = head(backbone, "image", picture_features(some, backbone, self.encoder))
        place = {name: i for i, name in enumerate(ids)}
        item = np.array([place.get(name, -1) for name in some.text_ids], np.int64)
        known = item >= 0
        return Bank.of(matrix, item[known], some.picture_of[known])

    def _draw(self, count: int) -> Longs:
        """Positions of at most `rule.most` of so many, in their order."""
        if not self.rule.most or count <= self.rule.most:
            return np.arange(count)
        drawn = np.random.default_rng(self.seed).choice(count, self.rule.most, replace=False)
        return np.sort(drawn).astype(np.int64)

    def corrected_index(
        self, direction: Direction, queries: Embeddings | None, index: Index, items: Embeddings
    ) -> Corrected:
        """An index over these items with its correction."""
        return Corrected(index, self.rule, *self.fit(direction, queries, items))


def in_one_dimension_more(queries: Embeddings, items: Embeddings, fitted: Fitted) -> tuple[Embeddings, Embeddings]:
    """Queries and items whose inner products are the corrected scores."""
    gate = np.ones(len(queries.ids), np.float32)
    if fitted.gated is not None:
        plain = FlatIndex()
        plain.build(items)
        gate = gate_of(queries, plain, fitted)
    return with_gate(queries, gate), with_bias(items, fitted)


def unfitted_index(rule: Correction, index: Index) -> Index:
    """An index that is about to be loaded, with its correction, which is loaded with it."""
    if not rule.active:
        return index
    if rule.transductive:
        raise ConfigError("scores.transductive=true: a saved index has a bank of its own; leave transductive out")
    nothing = np.zeros((1, 1), np.float32)
    return Corrected(index, rule, Bank.of(nothing), Fitted(np.zeros(0, np.float32), 0.0, None, np.zeros(1)))


def notes(rule: Correction) -> tuple[Note, ...]:
    """What the reader must know of scores that were corrected."""
    if not rule.active:
        return ()
    if rule.transductive:
        told = (
            f"transductive: the reported queries themselves, all at once, corrected the scores ({rule.description()}). "
            "No system that answers one query after the other can do that; do not compare with those that do"
        )
        return (Note(told, True, loud=True),)
    return (Note(f"scores corrected for hubs: {rule.description()}, by a bank of the queries of {rule.bank}"),)
