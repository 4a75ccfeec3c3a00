"""What all faiss indexes share: taking items in and out, searching, and a folder to live in.

An item keeps the *place* (faiss label) it was given when it came in. Removing leaves the place empty: most faiss types cannot
really delete (graphs, refinements), and those that can renumber what stays. A search looks deeper until enough of what it
found is still there. The vector itself goes when the index is built again, or at once in the exact index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, UniqueIds, check_new, check_unique, examples
from picdesk.files import digest_of
from picdesk.interfaces import Embeddings
from picdesk.search import index_files, making
from picdesk.search.base import IndexBase, Shards, sample_of
from picdesk.search.fingerprints import Taken, fingerprint_of
from picdesk.search.index_files import Facts
from picdesk.trec.runs import Floats, Ints, Run, id_ranks, order_rows


class FaissIndex(IndexBase):
    """An index over unit vectors by inner product. Subclasses say what to build (`factory_for`) and how to search it.

    `recipe` holds what shapes the index, `settings` what only changes a search (faiss's names: efSearch, nprobe, ...).
    """

    kind = "faiss"
    exact = False
    tunable = True

    def __init__(self, recipe: Mapping[str, Any], settings: Mapping[str, float]) -> None:
        self.recipe = dict(recipe)
        self.settings = dict(settings)
        self.ids: tuple[str, ...] = ()
        self.fingerprint = ""
        self._folder: Path | None = None

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text for an index over `count` items of `dim` dimensions."""
        raise NotImplementedError

    def ladders(self, count: int) -> list[list[dict[str, float]]]:
        """Search settings worth trying on `count` items: ladders that climb from quick to thorough."""
        return [[self.settings]]

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Take in the whole gallery. `queries` are examples of what will be asked, for an index that measures itself.

        Raises `DataError` for an empty gallery.
        """
        if not gallery.ids:
            raise DataError("index: the gallery is empty; there is nothing to search")
        self.start(gallery.matrix, len(gallery.ids))
        self.extend(gallery)
        self.finish()

    def build_from_shards(self, shards: Shards, sample: int = 100_000) -> None:
        """Take in shards from disk in two passes: one to draw the training sample, one to take all in."""
        drawn, count = sample_of(shards, sample)
        self.start(drawn, count)
        for shard in shards():
            self.extend(shard)
        self.finish()

    def to_tune(self, items: Embeddings, queries: Embeddings) -> FaissIndex:
        """Itself."""
        return self

    def start(self, sample: Floats, count: int) -> None:
        """Make and train an empty index for `count` items from a sample of them [n, dim]."""
        factory = self.factory_for(count, int(sample.shape[1]))
        self._faiss = making.empty_index(factory, int(sample.shape[1]))
        making.train(self._faiss, sample, factory)
        making.reserve(self._faiss, count)
        self._parts: list[tuple[str, ...]] = []
        self._taken = Taken()

    def extend(self, more: Embeddings) -> None:
        """Take in some of the items; call `finish` after the last."""
        self._take(more.matrix)
        self.note(more)

    def _take(self, matrix: Floats) -> None:
        try:
            self._faiss.add(np.ascontiguousarray(matrix))
        except RuntimeError as error:
            raise ConfigError(f"index={self.kind}: items cannot be added: {making.reason(error)}") from None

    def note(self, more: Embeddings) -> None:
        """Remember ids and fingerprint of items that faiss has, or will have, in this order."""
        self._parts.append(more.ids)
        self._taken.update(more)

    def finish(self) -> None:
        """Make the index ready to be searched."""
        ids: list[str | None] = [item for part in self._parts for item in part]
        self._set_ids(ids)
        self._parts = []
        self.fingerprint = self._taken.fingerprint()
        making.set_search(self._faiss, self.settings)

    def _set_ids(self, at_place: list[str | None]) -> None:
        """Know the items by their places; None where one was removed."""
        self._at_place = at_place
        self.ids = UniqueIds((item for item in at_place if item is not None), "index")
        there = np.array([item is not None for item in at_place])
        self._position = np.where(there, np.cumsum(there) - 1, -1).astype(np.int32)
        self._id_rank: NDArray[np.int64] | None = None

    @property
    def id_rank(self) -> NDArray[np.int64]:
        """Place of each id among the sorted ids, worked out when first needed."""
        if self._id_rank is None:
            self._id_rank = id_ranks(self.ids)
        return self._id_rank

    @property
    def faiss(self) -> Any:
        """The faiss index inside."""
        return self._faiss

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self._faiss.d)

    @property
    def inverted_lists(self) -> int:
        """How many inverted lists there are in it; 0 for none."""
        return making.lists_of(self._faiss)

    @property
    def probes(self) -> int:
        """How many of them a search looks into by its settings."""
        return int(self.settings.get("nprobe", 1))

    def probe(self, lists: int) -> None:
        """Look into so many lists from now on; the settings stay."""
        making.set_search(self._faiss, {"nprobe": lists})

    def to_stream(self) -> FaissIndex:
        """Itself: whether it is inverted lists and nothing else is seen once it is begun."""
        return self

    def tune(self, settings: Mapping[str, float]) -> None:
        """Search with these settings from now on."""
        making.set_search(self._faiss, settings)
        self.settings = dict(settings)

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query (all of them, if there are fewer); equal scores by item id.

        Raises `DataError` for vectors of another width, `ConfigError` for `top_k` below 1.
        """
        if not self.ids:
            raise DataError("index: nothing is in the index; build it from a gallery or load it first")
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}: at least 1 is needed")
        if queries.dim != self.dim:
            raise DataError(f"index: queries of dimension {queries.dim}, gallery of {self.dim}")
        index, scores = self.nearest(queries.matrix, min(top_k, len(self.ids)))
        return Run(queries.ids, self.ids, index, scores, len(self.ids), exact=self.exact)

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """Positions in `ids` and scores, both [n, top_k], of the best items found; -1 and -inf where fewer were found."""
        queries = np.ascontiguousarray(queries, np.float32)
        if len(self._at_place) > len(self.ids):
            index, scores = self._found_among_removed(queries, top_k)
        else:
            scores, places = self._faiss.search(queries, top_k)
            index = places.astype(np.int32)
        # Few numpy calls here: a single query over a thousand items takes 30 microseconds, a call takes one or two.
        if index[:, -1].min() < 0:
            scores[index < 0] = -np.inf
        if (scores[:, 1:] == scores[:, :-1]).any():
            index, scores = order_rows(index, scores, self.id_rank)
        return index, scores

    def _found_among_removed(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """What faiss finds, as positions, looking deeper until enough of it is still there."""
        depth = top_k
        while True:
            scores, places = self._faiss.search(queries, depth)
            index = np.where(places >= 0, self._position[places], -1)
            short = (index >= 0).sum(axis=1) < top_k
            if depth >= len(self._at_place) or not (short & (places[:, -1] >= 0)).any():
                break
            depth = min(2 * depth, len(self._at_place))
        order = np.argsort(index < 0, axis=1, kind="stable")[:, :top_k]
        return np.take_along_axis(index, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def add(self, more: Embeddings) -> None:
        """Take in further items. Raises `DataError` for ids that are there already or another dimension."""
        if more.dim != self.dim:
            raise DataError(f"index: items of dimension {more.dim} for an index of {self.dim}")
        check_new(set(self.ids), more.ids)
        self._refuse_on_disk("take further items")
        self._load_into_memory()
        self._take(more.matrix)
        self._set_ids([*self._at_place, *more.ids])
        self.fingerprint = digest_of([self.fingerprint, "added", fingerprint_of(more)])

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out. Raises `DataError` for an id that is not there, or if nothing would be left."""
        check_unique(tuple(ids), "index: removing")
        gone = set(ids)
        unknown = sorted(gone - set(self.ids))
        if unknown:
            raise DataError(f"index: {len(unknown)} ids to remove are not there, for example {examples(unknown)}")
        if len(gone) == len(self.ids):
            raise DataError("index: removing all items would leave an empty index")
        self._drop(np.array([item in gone for item in self._at_place]))
        self.fingerprint = digest_of([self.fingerprint, "removed", sorted(gone)])

    def _drop(self, gone: NDArray[np.bool_]) -> None:
        self._set_ids([None if out else item for item, out in zip(self._at_place, gone, strict=True)])

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Write the index whole. `made_from` says what the embeddings were made with (backbone, prompt, precision, ...).

        Raises `DataError` where it is empty.
        """
        if not self.ids:
            raise DataError("index: nothing is in the index; build it from a gallery first")
        self._refuse_on_disk("be saved elsewhere")
        index_files.write_folder(Path(folder), self._faiss, self._at_place, self.facts(made_from))

    def facts(self, made_from: Mapping[str, Any] | None) -> Facts:
        """What the header of a saved index says."""
        return Facts(
            kind=self.kind,
            exact=self.exact,
            recipe=self.recipe,
            settings=self.settings,
            dim=self.dim,
            count=len(self.ids),
            places=len(self._at_place),
            fingerprint=self.fingerprint,
            made_from=dict(made_from or {}),
        )

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open a saved index of this kind and recipe, memory-mapped. `expected`: facts it must have been made from.

        Raises `MissingFileError`, or `DataError` naming what is damaged or each key that differs.
        """
        index, at_place, facts = index_files.read_folder(Path(folder))
        index_files.check_expected(Path(folder), facts, {"kind": self.kind, **self.recipe, **(expected or {})})
        self.take_over(Path(folder), index, at_place, facts)
        making.set_search(self._faiss, self.settings)

    def take_over(self, folder: Path, index: Any, at_place: list[str | None], facts: Facts) -> None:
        """Become the index that was read from a folder."""
        self._folder, self._faiss, self.fingerprint = folder, index, facts.fingerprint
        self._set_ids(at_place)

    def _refuse_on_disk(self, what: str) -> None:
        """Raise `ConfigError` if the lists are on disk: changing them would change a saved index under its checksum."""
        if making.lists_on_disk(self._faiss):
            raise ConfigError(f"index={self.kind}: its lists stay on disk in {self._folder}, so it cannot {what}")

    def _load_into_memory(self) -> None:
        """Bring a memory-mapped index into memory, because faiss ends the process when a mapped one is changed."""
        if self._folder is not None:
            self._faiss = faiss.deserialize_index(faiss.serialize_index(self._faiss))
            self._folder = None
