"""`index=milvus`: the gallery in a Milvus collection, in a file beside us or on a server or cluster; the same code for all."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, check_new, check_unique, examples
from picdesk.files import digest_of
from picdesk.interfaces import Embeddings
from picdesk.needs import Need, package_need
from picdesk.parts import config_part
from picdesk.search.base import IndexBase
from picdesk.search.fingerprints import Taken, fingerprint_of
from picdesk.search.milvus_client import LONGEST_ID, Collection
from picdesk.search.open_saved import read_note, write_note
from picdesk.trec.runs import Floats, Run, id_ranks, order_rows

log = logging.getLogger(__name__)
Hits = list[tuple[str, float]]

MOST_AT_ONCE = 16_384
"""Milvus's own bound on `top_k`."""
TIED = 16
"""How many more items than wanted are asked for at first, so that a list does not end among equal scores."""


@config_part
class MilvusIndex(IndexBase):
    """A gallery in Milvus: `uri` is a file ending in .db (milvus-lite) or an address such as `http://host:19530`.

    `kind` is Milvus's index type (FLAT, HNSW, IVF_FLAT, ...), `params` what it is built with and `search_params` what a
    search may look at, both by Milvus's names. The token comes from MILVUS_TOKEN in the environment, or from
    `token`, which no config may hold.
    `{fingerprint}` in the name of the collection becomes that of the gallery, so that each gallery has its own. Building the
    same gallery again picks up where a stopped one ended; another one under the same name is refused unless `replace` is set.
    """

    searches_among = True

    def __init__(
        self,
        uri: str,
        collection: str = "picdesk_{fingerprint}",
        kind: str = "FLAT",
        params: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        token: str = "",
        replace: bool = False,
        batch: int = 1000,
        timeout: float = 30,
    ) -> None:
        if batch < 1:
            raise ConfigError(f"index.batch={batch}: at least 1 is needed")
        if not timeout > 0:
            raise ConfigError(f"index.timeout={timeout}: more than 0 seconds are needed")
        self._collection, self._name = Collection(uri, collection, token, timeout), collection
        self.kind, self.params, self.search_params = kind, dict(params or {}), dict(search_params or {})
        self.replace, self.batch = replace, batch
        self._ids: tuple[str, ...] | None = None
        self._facts: dict[str, Any] = {}
        self._resuming = False

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The client."""
        return [package_need("pymilvus", key, "'picdesk[milvus]'")]

    @property
    def ids(self) -> tuple[str, ...]:
        """Items that can be found; of a collection opened by `load` they are fetched when first asked for."""
        if self._ids is None:
            self._ids = self._collection.all_ids() if self._facts else ()
        return self._ids

    @property
    def fingerprint(self) -> str:
        """Digest over all that was taken in and out."""
        return str(self._facts.get("fingerprint", ""))

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Fill the collection, or what it still lacks. Raises `DataError` if it holds something else."""
        self.build_from_shards(lambda: [gallery])

    def build_from_shards(self, shards: Callable[[], Iterable[Embeddings]]) -> None:
        """The same from shards that come and go: once for the fingerprint of all, once to put them in."""
        taken, dim = Taken(), 0
        ids: list[tuple[str, ...]] = []
        for shard in shards():
            _check_ids(shard.ids)
            taken.update(shard)
            ids.append(shard.ids)
            dim = shard.dim
        named = tuple(item for part in ids for item in part)
        check_unique(named, "index")
        if not named:
            raise DataError("index: the gallery is empty; there is nothing to search")
        self._prepare(
            {"fingerprint": taken.fingerprint(), "dim": dim, "kind": self.kind, "params": self.params}, len(named)
        )
        if self._facts["state"] != "whole":
            for shard in shards():
                self._fill(shard)
            self._keep(state="whole")
        self._check_count()
        self._collection.load()
        self._ids = named

    def _prepare(self, wanted: Mapping[str, Any], count: int) -> None:
        """Make the collection, or make sure that what stands there is the same one."""
        self._collection.name = self._name.replace("{fingerprint}", str(wanted["fingerprint"])[:16])
        if self._collection.exists() and self.replace:
            self._collection.drop()
        self._resuming = self._collection.exists()
        if self._resuming:
            self._check_same(wanted)
            self._collection.load()
            return
        self._collection.create(int(wanted["dim"]), self.kind, self.params)
        self._facts = {**wanted, "metric": "inner_product", "made_from": {}, "count": count, "state": "filling"}
        self._collection.write_facts(self._facts)

    def _check_same(self, wanted: Mapping[str, Any]) -> None:
        self._facts = self._collection.read_facts()
        differing = [key for key in wanted if self._facts.get(key) != wanted[key]]
        if differing:
            told = "; ".join(f"{key} is {self._facts.get(key)!r} there, {wanted[key]!r} here" for key in differing)
            where = f"{self._collection.name!r} at index.uri={self._collection.uri}"
            raise DataError(
                f"collection {where} holds another index: {told}; name another one or set index.replace=true"
            )

    def _fill(self, gallery: Embeddings) -> None:
        """Insert batch by batch, leaving out the batches that are there already."""
        skipped = 0
        for start in range(0, len(gallery.ids), self.batch):
            ids = gallery.ids[start : start + self.batch]
            if self._resuming and len(self._collection.present(ids)) == len(ids):
                skipped += len(ids)
                continue
            self._collection.insert(ids, gallery.matrix[start : start + self.batch])
        if skipped:
            log.info("milvus: %d of %d items were there already", skipped, len(gallery.ids))

    def _keep(self, **changed: Any) -> None:
        self._facts |= changed
        self._collection.write_facts(self._facts)

    def _check_count(self) -> None:
        found = self._collection.count()
        if found != self._facts["count"]:
            name = self._collection.name
            raise DataError(
                f"collection {name!r}: count is {found}, {self._facts['count']} were put in; set index.replace=true"
            )

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items, which are sent by their ids, costs less than a list of that depth over all."""
        return depth > MOST_AT_ONCE or 10 * admitted < depth

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the admitted items [ids], which Milvus is given by their ids."""
        ids = self.ids
        return self._find(queries, top_k, [ids[row] for row in np.flatnonzero(admitted)])

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query, equal scores by item id.

        The run names all items of a gallery that was built here, and only those found in a collection opened by `load`.
        """
        return self._find(queries, top_k)

    def _find(self, queries: Embeddings, top_k: int, among: Sequence[str] | None = None) -> Run:
        if not self._facts:
            raise DataError("index: nothing is in the index; build it from a gallery or load it first")
        if not 1 <= top_k <= MOST_AT_ONCE:
            raise ConfigError(f"top_k={top_k}: Milvus gives 1 to {MOST_AT_ONCE}")
        if queries.dim != self._facts["dim"]:
            raise DataError(f"index: queries of dimension {queries.dim}, gallery of {self._facts['dim']}")
        count = int(self._facts["count"])
        depth = min(top_k, count)
        lists = self._nearest(queries.matrix, depth, among)
        named = self._ids if self._ids is not None else tuple(sorted({item for hits in lists for item, _ in hits}))
        place = {item: position for position, item in enumerate(named)}
        index = np.full((len(lists), depth), -1, np.int32)
        scores = np.full((len(lists), depth), -np.inf, np.float32)
        for row, hits in enumerate(lists):
            index[row, : len(hits)] = [place[item] for item, _ in hits]
            scores[row, : len(hits)] = [score for _, score in hits]
        return Run(queries.ids, named, *order_rows(index, scores, id_ranks(named)), count, exact=False)

    def _nearest(self, queries: Floats, wanted: int, among: Sequence[str] | None) -> list[Hits]:
        """Ids and scores of the `wanted` best items of each query. What somebody else put into the collection since its ids were
        read is not among them: it is looked further until enough others are found, and, where every vector is compared, until a
        list does not end among equal scores: of those the first by id are taken, as in exact search."""
        known, exact = None if self._ids is None else set(self._ids), self.kind == "FLAT"
        depth = first = min(wanted + (TIED if exact else 0), MOST_AT_ONCE)
        found: list[Hits] = [[] for _ in queries]
        left = list(range(len(queries)))
        while left:
            further, some = [], max(1, self.batch * first // depth)  # answers stay of one size, however deep
            for rows in (left[start : start + some] for start in range(0, len(left), some)):
                lists = self._collection.search(queries[rows], depth, self.search_params, among)
                for row, hits in zip(rows, lists, strict=True):
                    kept = [hit for hit in hits if known is None or hit[0] in known]
                    found[row] = sorted(kept, key=lambda hit: (-hit[1], hit[0]))[:wanted]
                    short = len(kept) < wanted or (exact and kept[wanted - 1][1] == kept[-1][1])
                    further += [row] if short and len(hits) == depth < MOST_AT_ONCE else []
            left, depth = further, min(2 * depth, MOST_AT_ONCE)
        return found

    def add(self, more: Embeddings) -> None:
        """Take in further items. Raises `DataError` for ids that are there already or another dimension."""
        _check_ids(more.ids)
        if more.dim != self._facts.get("dim"):
            raise DataError(f"index: items of dimension {more.dim} for an index of {self._facts.get('dim')}")
        check_new(set(self._present(more.ids)), more.ids)
        for start in range(0, len(more.ids), self.batch):
            self._collection.insert(more.ids[start : start + self.batch], more.matrix[start : start + self.batch])
        self._ids = None if self._ids is None else self._ids + more.ids
        changed = digest_of([self.fingerprint, "added", fingerprint_of(more)])
        self._keep(fingerprint=changed, count=self._collection.count())

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out. Raises `DataError` for an id that is not there."""
        check_unique(tuple(ids), "index: removing")
        unknown = sorted(set(ids) - self._present(ids))
        if unknown:
            raise DataError(f"index: {len(unknown)} ids to remove are not there, for example {examples(unknown)}")
        for start in range(0, len(ids), self.batch):
            self._collection.delete(ids[start : start + self.batch])
        gone = set(ids)
        self._ids = None if self._ids is None else tuple(item for item in self._ids if item not in gone)
        changed = digest_of([self.fingerprint, "removed", sorted(gone)])
        self._keep(fingerprint=changed, count=self._collection.count())

    def _present(self, ids: Sequence[str]) -> set[str]:
        parts = (ids[start : start + self.batch] for start in range(0, len(ids), self.batch))
        return {item for part in parts for item in self._collection.present(part)}

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Keep `made_from` in the collection, where the vectors are; the folder gets a note of where that is."""
        if not self._facts:
            raise DataError("index: nothing is in the index; build it from a gallery first")
        self._keep(made_from=dict(made_from or {}))
        place = {"uri": self._collection.uri, "collection": self._collection.name}
        note = {**place, "fingerprint": self.fingerprint, "made_from": self._facts["made_from"]}
        write_note(Path(folder), note)

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open the collection of the config, or the one that the folder's note names if the config leaves it open.

        Raises `DataError` naming each key of `expected` that differs.
        """
        if "{fingerprint}" in self._name:
            self._collection.name = read_note(Path(folder))["collection"]
        if not self._collection.exists():
            where = f"index.uri={self._collection.uri}"
            raise DataError(f"{where}: there is no collection {self._collection.name!r}; building the index makes it")
        facts = self._collection.read_facts()
        known = {**facts["made_from"], **facts}
        wanted = {"state": "whole", **(expected or {})}
        differing = [key for key in wanted if known.get(key) != wanted[key]]
        if differing:
            told = "; ".join(f"{key} is {known.get(key)!r} there, {wanted[key]!r} here" for key in differing)
            raise DataError(f"collection {self._collection.name!r} does not fit: {told}; build the index again")
        self._facts, self._ids = facts, None
        self._collection.load()
        self._check_count()

    def close(self) -> None:
        """Let go of the server or file."""
        self._collection.close()


def _check_ids(ids: Sequence[str]) -> None:
    long = [item for item in ids if not 0 < len(item.encode()) <= LONGEST_ID]
    if long:
        shown = examples([item[:40] for item in long])
        raise DataError(f"index=milvus: {len(long)} ids are empty or above {LONGEST_ID} bytes, for example {shown}")
