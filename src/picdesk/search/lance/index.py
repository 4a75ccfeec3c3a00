"""`index=lancedb`: vectors with their columns in a LanceDB table, in files beside the index or on object storage.

Which rows fulfil a filter is asked by the database before it searches. A saved index on this machine has its table in its own
folder; every file of the table is under a checksum, and the version that was saved is the one that is opened.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, UniqueIds, check_new, check_unique, examples
from picdesk.files import digest_of
from picdesk.filters.columns import Columns
from picdesk.filters.kept import MEND
from picdesk.filters.language import Filter
from picdesk.filters.sql import sql_of
from picdesk.interfaces import Embeddings
from picdesk.needs import Need, package_need
from picdesk.parts import config_part
from picdesk.products import quick_product
from picdesk.search.base import IndexBase
from picdesk.search.fingerprints import Taken, fingerprint_of
from picdesk.search.lance.table import (
    KINDS,
    SEARCH,
    TIED,
    LanceTable,
    check_note,
    digests_in,
    id_list,
    place_of_table,
    take_table,
)
from picdesk.search.open_saved import read_note, write_note
from picdesk.search.own_files import LANCE_NOTE
from picdesk.trec.runs import Run, id_ranks, order_rows

IDS_IN_A_LIST = 5_000


@config_part
class LanceIndex(IndexBase):
    """A gallery in LanceDB. `uri` is a folder or the address of a bucket (`s3://...`); None for a folder of its own, which
    goes into the folder of the index when that is saved.

    `kind` is FLAT (every vector is compared) or LanceDB's index type, `params` what it is built with (`num_partitions`, `m`,
    ...) and `search_params` what a search may look at (`nprobes`, `refine_factor`, `ef`), all by LanceDB's names.
    `words` are columns that a text asks word by word as well (hybrid search): what its words find joins what its vector finds.
    """

    searches_among = True
    keeps_columns = True

    def __init__(
        self,
        uri: str | None = None,
        table: str = "picdesk_{fingerprint}",
        kind: str = "FLAT",
        params: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        replace: bool = False,
        batch: int = 256,
        words: Sequence[str] | None = None,
    ) -> None:
        odd = [name for name in search_params or {} if name not in SEARCH]
        if kind not in KINDS or odd:
            told = f"search_params.{odd[0]}" if odd else f"kind={kind}"
            raise ConfigError(f"index.{told}: choose one of {', '.join(SEARCH if odd else KINDS)}")
        if batch < 1:
            raise ConfigError(f"index.batch={batch}: at least 1 is needed")
        self.uri, self._name, self.kind, self.replace, self.batch = uri, table, kind, replace, batch
        self.params, self.search_params = dict(params or {}), dict(search_params or {})
        self.words: Sequence[str] = tuple(words or ())
        self._known: Columns | None = None
        self._ids: tuple[str, ...] | None = None
        self._ordered: tuple[tuple[str, ...], dict[str, int], NDArray[np.int64]] | None = None
        self._facts: dict[str, Any] = {}
        self._table: LanceTable | None = None

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The database."""
        return [package_need("lancedb", key, "'picdesk[lancedb]'")]

    @property
    def table(self) -> LanceTable:
        """The table. Raises `DataError` before there is one."""
        if self._table is None:
            raise DataError("index: nothing is in the index; build it from a gallery or load it first")
        return self._table

    @property
    def ids(self) -> tuple[str, ...]:
        """Items that can be found; of a table opened by `load` they are fetched when first asked for."""
        if self._ids is None:
            self._ids = UniqueIds(self._table.all_ids() if self._table is not None else (), "index")
        return self._ids

    @property
    def fingerprint(self) -> str:
        """Digest over all that was taken in and out."""
        return str(self._facts.get("fingerprint", ""))

    @property
    def has_columns(self) -> bool:
        """Whether the table has the columns of its items."""
        return self._table is not None and bool(self._table.kinds)

    def know(self, known: Columns) -> None:
        """Take in what is known of the items that are put in from now on."""
        self._known = known

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Make the table of the whole gallery."""
        self.build_from_shards(lambda: [gallery])

    def build_from_shards(self, shards: Callable[[], Iterable[Embeddings]]) -> None:
        """The same from shards that come and go: once for the fingerprint of all, once to put them in."""
        if self._known is not None:
            self._need_words([*self._known.columns, "id"])
        taken, dim = Taken(), 0
        ids: list[tuple[str, ...]] = []
        for shard in shards():
            taken.update(shard)
            ids.append(shard.ids)
            dim = shard.dim
        named = UniqueIds((item for part in ids for item in part), "index")
        if not named:
            raise DataError("index: the gallery is empty; there is nothing to search")
        name = self._name.replace("{fingerprint}", taken.fingerprint()[:16])
        table = LanceTable(self._place(), name, dim)
        if "{fingerprint}" not in self._name and not self.replace and table.exists():
            told = "is there already; name another one or set index.replace=true"
            raise ConfigError(f"index.uri={self.uri}: table {name!r} {told}")
        table.make(shards(), self._known)
        if self.kind != "FLAT":
            table.index(self.kind, self.params)
        table.index_words([name for name in self.words if name in table.kinds])
        self._table, self._ids = table, named
        self._facts = {"fingerprint": taken.fingerprint(), "dim": dim, "kind": self.kind, "params": self.params}
        self._facts |= {"words": list(self.words)}
        self._facts |= {"metric": "inner_product", "count": len(named), "made_from": {}}

    def _place(self) -> str:
        """Where the table is made."""
        if self.uri is not None:
            return str(self.uri)
        own = tempfile.mkdtemp(prefix="picdesk-lance-")
        weakref.finalize(self, shutil.rmtree, own, True)
        return own

    def _need_words(self, columns: Collection[str]) -> None:
        """Raise `ConfigError` for words of a column that the items do not have."""
        unknown = [name for name in self.words if name not in columns]
        if unknown:
            there = ", ".join(name for name in columns if name != "id") or "none"
            told = f"there is no such column; there are {there} (data.more_columns names further ones)"
            raise ConfigError(f"index.words={','.join(unknown)}: {told}")

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query, equal scores by item id."""
        return self._find(queries, top_k, None)

    def search_where(self, queries: Embeddings, top_k: int, wanted: Filter) -> Run:
        """The `top_k` best of the items that fulfil a filter, which the database asks before it searches."""
        return self._find(queries, top_k, sql_of(wanted, self.table.kinds))

    def search_both(self, queries: Embeddings, texts: Sequence[str], top_k: int, wanted: Filter | None) -> Run:
        """The `top_k` nearest of each query, and the `top_k` that its text finds by words, with their inner products."""
        self._need_words(self.table.kinds)
        where = None if wanted is None else sql_of(wanted, self.table.kinds)
        near = self._find(queries, top_k, where)
        place, ranks = self._order
        depth = min(2 * near.depth, len(self.ids))
        index = np.pad(near.index, ((0, 0), (0, depth - near.depth)), constant_values=-1)
        scores = np.pad(near.scores, ((0, 0), (0, depth - near.depth)), constant_values=-np.inf)
        for row, text in enumerate(texts):
            ids, vectors = self.table.find_words(text, self.words, near.depth, where)
            rows = np.array([place[item] for item in ids], np.int32)
            more = np.flatnonzero(~np.isin(rows, near.index[row]))[: depth - near.depth]
            free = slice(near.depth, near.depth + len(more))
            index[row, free], scores[row, free] = rows[more], quick_product(vectors[more], queries.matrix[row])
        index, scores = order_rows(index, scores, ranks)
        return replace(near, index=index, scores=scores)

    def count_where(self, wanted: Filter) -> int:
        """How many items fulfil a filter."""
        return self.table.count(sql_of(wanted, self.table.kinds))

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items, which are told by their ids, costs less than a list of that depth."""
        return depth > IDS_IN_A_LIST or 10 * admitted < depth

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the admitted items [ids], which LanceDB is given by their ids."""
        ids = self.ids
        return self._find(queries, top_k, id_list([ids[row] for row in np.flatnonzero(admitted)]))

    def _find(self, queries: Embeddings, top_k: int, where: str | None) -> Run:
        table, ids = self.table, self.ids
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}: at least 1 is needed")
        if queries.dim != table.dim:
            raise DataError(f"index: queries of dimension {queries.dim}, gallery of {table.dim}")
        shape = (len(queries.ids), min(top_k, len(ids)))
        index, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        for start in range(0, len(queries.ids), self.batch):
            rows = slice(start, start + self.batch)
            asked = (queries.matrix[rows], shape[1], where, self.search_params)
            index[rows], scores[rows] = table.nearest(*asked, *self._order, TIED if self.kind == "FLAT" else (0,))
        return Run(queries.ids, ids, index, scores, len(ids), exact=False)

    @property
    def _order(self) -> tuple[dict[str, int], NDArray[np.int64]]:
        """Where each id stands, and its place among the sorted ids; worked out once for the same items."""
        if self._ordered is None or self._ordered[0] is not self.ids:
            ids = self.ids
            self._ordered = ids, {item: position for position, item in enumerate(ids)}, id_ranks(ids)
        return self._ordered[1:]

    def add(self, more: Embeddings) -> None:
        """Take in further items. Raises `DataError` for ids that are there already or another dimension."""
        if more.dim != self.table.dim:
            raise DataError(f"index: items of dimension {more.dim} for an index of {self.table.dim}")
        before = self.ids
        check_new(set(before), more.ids)
        self.table.add(more, self._known)
        self._change(before + more.ids, ["added", fingerprint_of(more)])

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out. Raises `DataError` for an id that is not there, or if nothing would be left."""
        check_unique(tuple(ids), "index: removing")
        before, gone = self.ids, set(ids)
        unknown = sorted(gone - set(before))
        if unknown:
            raise DataError(f"index: {len(unknown)} ids to remove are not there, for example {examples(unknown)}")
        if len(gone) == len(before):
            raise DataError("index: removing all items would leave an empty index")
        for start in range(0, len(ids), IDS_IN_A_LIST):
            self.table.delete(ids[start : start + IDS_IN_A_LIST])
        self._change(tuple(item for item in before if item not in gone), ["removed", sorted(gone)])

    def _change(self, ids: tuple[str, ...], what: list[Any]) -> None:
        self._ids = UniqueIds(ids, "index")
        self._facts |= {"fingerprint": digest_of([self.fingerprint, *what]), "count": len(ids)}

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Write a note of the table, its version and its facts; a table of no other address comes into the folder."""
        folder, table = Path(folder), self.table
        self._facts["made_from"] = dict(made_from or {})
        place, digests = table.at, {}
        folder.mkdir(parents=True, exist_ok=True)
        if self.uri is None:
            place = take_table(Path(table.at), table.name, folder)
            digests = digests_in(folder / place)
        note = {**self._facts, "uri": place, "collection": table.name, "version": table.version, "files": digests}
        write_note(folder, {**note, "columns": table.kinds}, LANCE_NOTE)
        if place != table.at and not (folder / place).samefile(table.at):
            self._open(folder / place, {**note, "columns": table.kinds})

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open the table that the folder's note names. Raises `DataError` naming each key of `expected` that differs."""
        folder = Path(folder)
        note = read_note(folder, LANCE_NOTE)
        check_note(folder / LANCE_NOTE, note)
        known = {
            **note["made_from"],
            **{key: note.get(key) for key in ("kind", "dim", "metric", "fingerprint", "params")},
            "words": note.get("words", []),
        }
        wanted = {"kind": self.kind, "params": self.params, "words": list(self.words), **(expected or {})}
        differing = [key for key in wanted if known.get(key) != wanted[key]]
        if differing:
            told = "; ".join(f"{key} is {known.get(key)!r} there, {wanted[key]!r} here" for key in differing)
            raise DataError(f"index folder {folder} does not fit: {told}; {MEND}")
        self._open(place_of_table(folder, note, self.uri), note)
        if self.table.count() != note["count"]:
            raise DataError(f"index folder {folder}: {self.table.count()} items, {note['count']} were saved; {MEND}")

    def _open(self, at: Path | str, note: Mapping[str, Any]) -> None:
        """Become the table at a place, as it was at the version of the note."""
        table = LanceTable(str(at), str(note["collection"]), int(note["dim"]))
        table.open(int(note["version"]), note["columns"])
        self._table, self._ids = table, self._ids if self._table is not None else None
        kept = ("fingerprint", "dim", "kind", "params", "metric", "count", "made_from")
        self._facts = {key: note[key] for key in kept} | {"words": note.get("words", [])}
