"""A LanceDB table of ids, vectors and columns. What goes wrong there is told in one line."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from picdesk import network
from picdesk.errors import ConfigError, DataError, MissingFileError, short_repr
from picdesk.files import file_digest, workshop
from picdesk.filters import sql
from picdesk.filters.columns import Columns
from picdesk.filters.kept import MEND
from picdesk.interfaces import Embeddings
from picdesk.process.foreign_folders import links_out
from picdesk.search.own_files import TABLE, WRITTEN, free_turn
from picdesk.trec.runs import Floats, Ints, order_rows

INSTALL = "index=lancedb needs the package lancedb: install picdesk[lancedb]"
FUNCTIONS = b"embedding_functions"
"""What the metadata of a table calls models by which LanceDB fills and asks columns: it loads them, foreign code allowed."""
OF_A_NOTE = {"uri": str, "files": dict, "columns": dict, "dim": int, "version": int, "count": int}
"""What is read of the note of a saved index, and its kind."""
ROWS_AT_ONCE = 10_000
TYPES = {"string": pa.string(), "double": pa.float64(), "int64": pa.int64()}
TIED = (16, 256, 4_096)
"""How many more items than wanted are asked for in turn, until a list does not end among equal scores."""
SEARCH = ("nprobes", "refine_factor", "ef")
HINT = "latest_version_hint.json"
KINDS = {
    "FLAT": "",
    "IVF_FLAT": "IvfFlat",
    "IVF_SQ": "IvfSq",
    "IVF_PQ": "IvfPq",
    "IVF_RQ": "IvfRq",
    "IVF_HNSW_SQ": "HnswSq",
    "IVF_HNSW_PQ": "HnswPq",
    "IVF_HNSW_FLAT": "HnswFlat",
}
"""Kinds of index by the names of LanceDB's own classes."""


class LanceTable:
    """One table at an address; `kinds` say what its columns are."""

    def __init__(self, at: str, name: str, dim: int) -> None:
        os.environ.setdefault("LANCEDB_LOG", "error")  # it tells of every table that is made
        try:
            library = importlib.import_module("lancedb")
        except ImportError as error:
            raise ConfigError(f"{INSTALL} ({error})") from None
        if "://" in at:
            network.need(f"index.uri={at}")
        self.at, self.name, self.dim = at, name, dim
        self.kinds: dict[str, dict[str, Any]] = {}
        self._pinned = False
        with self.one_line_errors():
            self._base: Any = library.connect(at)
        self._table: Any = None

    @contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn what LanceDB raises inside the block into a `ConfigError` of one line."""
        try:
            yield
        except (ConfigError, DataError):
            raise
        except (RuntimeError, ValueError, OSError, NotImplementedError, KeyError) as error:
            said = " ".join(str(error).split())[:200]
            raise ConfigError(f"index.uri={self.at}, table {self.name!r}: LanceDB says: {said}") from None

    def exists(self) -> bool:
        """Whether there is such a table."""
        with self.one_line_errors():
            return self.name in self._base.list_tables(limit=100_000).tables

    def make(self, shards: Iterable[Embeddings], known: Columns | None) -> None:
        """Make the table of these items, over one that is there."""
        self.kinds = sql.kinds_of(known) if known is not None else {}
        batches = (batch for shard in shards for batch in self._batches(shard, known))
        with self.one_line_errors():
            self._table = self._base.create_table(self.name, data=batches, schema=self._schema(), mode="overwrite")

    def index(self, kind: str, params: Mapping[str, Any]) -> None:
        """Make an approximate index of the vectors."""
        make = getattr(importlib.import_module("lancedb.index"), KINDS[kind])
        try:
            how = make(distance_type="dot", **params)
        except TypeError as error:
            raise ConfigError(f"index.params: LanceDB's {KINDS[kind]}: {str(error).split('()')[-1].strip()}") from None
        with self.one_line_errors():
            self._table.create_index("vector", config=how)

    def index_words(self, columns: Sequence[str]) -> None:
        """Make a full-text index of each of these columns: stems of English words, accents folded."""
        how = importlib.import_module("lancedb.index").FTS(stem=True, remove_stop_words=True, ascii_folding=True)
        for name in columns:
            with self.one_line_errors():
                self._table.create_index(f"t{sql.own_of(name, self.kinds)['k']}", config=how)

    def find_words(self, text: str, columns: Sequence[str], depth: int, where: str | None) -> tuple[list[str], Floats]:
        """Ids and vectors [found, dim] of the items whose columns share words with a text, best first by BM25."""
        query = importlib.import_module("lancedb.query").MultiMatchQuery
        fields = [f"t{sql.own_of(name, self.kinds)['k']}" for name in columns]
        with self.one_line_errors():
            asked = self._table.search(query(text, fields), query_type="fts")
            asked = asked if where is None else asked.where(where, prefilter=True)
            found = asked.limit(depth).select(["id", "vector", "_score"]).to_arrow()
        vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.dim)
        return found["id"].to_pylist(), vectors

    def open(self, version: int, kinds: Mapping[str, Mapping[str, Any]]) -> None:
        """Open the table as it was at a version. Raises `DataError` for one with models that LanceDB would load."""
        self.kinds = {name: dict(own) for name, own in kinds.items()}
        with self.one_line_errors():
            self._table = self._base.open_table(self.name)
            self._table.checkout(version)
            if FUNCTIONS in (self._table.schema.metadata or {}):
                told = "has embedding functions of LanceDB, whose models may be code"
                raise DataError(f"index.uri={self.at}, table {self.name!r}: {told}; picdesk makes none: {MEND}")
        self._pinned = True

    def _to_write(self) -> Any:
        """The table, the version that was opened as its latest."""
        if self._pinned:
            self._table.restore()
            self._pinned = False
        return self._table

    @property
    def version(self) -> int:
        """The version as it is now."""
        return int(self._table.version)

    def _schema(self) -> Any:
        columns = [pa.field(name, pa.list_(TYPES[kind])) for name, kind in sql.fields_of(self.kinds)]
        return pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), self.dim)), *columns])

    def _batches(self, items: Embeddings, known: Columns | None) -> Iterator[Any]:
        """The rows of some items, with what is known of them."""
        schema = self._schema()
        for start in range(0, len(items.ids), ROWS_AT_ONCE):
            ids = items.ids[start : start + ROWS_AT_ONCE]
            cells = sql.cells_of((known or Columns((), {})).take(ids), self.kinds, range(len(ids)))
            flat = pa.array(items.matrix[start : start + ROWS_AT_ONCE].ravel())
            arrays = [pa.array(ids, pa.string()), pa.FixedSizeListArray.from_arrays(flat, self.dim)]
            arrays += [pa.array(cells[field.name], field.type) for field in list(schema)[2:]]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def add(self, items: Embeddings, known: Columns | None) -> None:
        """Put further items in; a column that is new is empty for those before."""
        with self.one_line_errors():
            table, before = self._to_write(), set(self._schema().names)
            if known is not None and self.kinds:
                self.kinds = sql.kinds_of(known, self.kinds)
                fresh = [field for field in self._schema() if field.name not in before]
                if fresh:
                    table.add_columns(pa.schema(fresh))
            table.add(pa.Table.from_batches(list(self._batches(items, known)), self._schema()))

    def delete(self, ids: Sequence[str]) -> None:
        """Take items out."""
        with self.one_line_errors():
            self._to_write().delete(id_list(ids))

    def count(self, where: str | None = None) -> int:
        """How many items there are, or fulfil a condition."""
        with self.one_line_errors():
            return int(self._table.count_rows(where))

    def all_ids(self) -> tuple[str, ...]:
        """Every id, in the order of the table."""
        with self.one_line_errors():
            found = self._table.search().select(["id"]).limit(max(1, self.count())).to_arrow()
        return tuple(found["id"].to_pylist())

    def nearest(
        self,
        vectors: Floats,
        depth: int,
        where: str | None,
        how: Mapping[str, Any],
        place: Mapping[str, int],
        ranks: NDArray[np.int64],
        further: Sequence[int],
    ) -> tuple[Ints, Floats]:
        """The `place` and the inner product [queries, depth] of the nearest of each query, in order.

        Equal ones at the end of a list are those of the first `ranks`, as in exact search, as far as `further` numbers of items
        show them; the database gives those that it came upon first.
        """
        for more in further:
            wide = min(depth + more, len(place))
            index, scores = order_rows(*self._search(vectors, wide, where, how, place), ranks)
            if wide == len(place) or not ((scores[:, depth - 1] == scores[:, -1]) & (index[:, -1] >= 0)).any():
                break
        return index[:, :depth], scores[:, :depth]

    def _search(
        self, vectors: Floats, depth: int, where: str | None, how: Mapping[str, Any], place: Mapping[str, int]
    ) -> tuple[Ints, Floats]:
        """The same as the database has it; -1 and -inf where there are fewer."""
        asked = self._table.search(np.ascontiguousarray(vectors), vector_column_name="vector").distance_type("dot")
        for name, value in how.items():
            asked = getattr(asked, name)(value)
        asked = asked if where is None else asked.where(where, prefilter=True)
        with self.one_line_errors():
            found = asked.limit(depth).select(["id", "_distance"]).to_arrow()
        if "query_index" not in found.column_names:  # a single one has none
            found = found.append_column("query_index", pa.array(np.zeros(len(found), np.int32)))
        found = found.sort_by([("query_index", "ascending"), ("_distance", "ascending")])
        rows = found["query_index"].to_numpy()
        slots = np.arange(len(rows)) - np.searchsorted(rows, rows)
        index, scores = (
            np.full((len(vectors), depth), -1, np.int32),
            np.full((len(vectors), depth), -np.inf, np.float32),
        )
        index[rows, slots] = [place[item] for item in found["id"].to_pylist()]
        scores[rows, slots] = 1 - found["_distance"].to_numpy()
        return index, scores


def id_list(ids: Sequence[str]) -> str:
    """The condition that an item is one of these."""
    return f"id IN ({', '.join(map(sql.quote, ids))})" if ids else "false"


def take_table(at: Path, name: str, folder: Path) -> str:
    """Have the table's files below the folder of an index, copied if they lie elsewhere; the name of the folder they are in."""
    folder = folder.resolve()
    if at.resolve().parent == folder:
        return at.name
    place = folder / TABLE.format(free_turn(folder))
    with workshop(place) as part:
        shutil.copytree(at / f"{name}.lance", part / f"{name}.lance")
        part.chmod(0o755)
        part.replace(place)
    return place.name


def digests_in(place: Path) -> dict[str, list[Any]]:
    """Size and digest of every file of a table, but for the one that is a hint alone and changes."""
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.name != HINT)
    return {path.relative_to(place).as_posix(): [path.stat().st_size, file_digest(path)] for path in files}


def check_note(path: Path, note: Mapping[str, Any]) -> None:
    """Raise `DataError` where the note of an index lacks what is read of it, or has it in another kind."""
    odd = [key for key, kind in OF_A_NOTE.items() if type(note.get(key)) is not kind]
    if odd:
        raise DataError(f"{path}: {', '.join(odd)}: not what the note of an index says; {MEND}")


def place_of_table(folder: Path, note: Mapping[str, Any], uri: str | None) -> Path | str:
    """Where the table is that a note in a folder tells of: in the folder, or at the `uri` of the config. Anybody may have written
    the note, so no other place that it names is opened, or written to.

    Raises `DataError`, or `ConfigError` where the config must say.
    """
    name = str(note["uri"])
    if not note["files"] and uri is None:
        told = f"its table lies elsewhere, at {short_repr(name)}; if you mean that, say index=lancedb index.uri={name[:80]}"
        raise ConfigError(f"index folder {folder}: {told}")
    if not note["files"]:
        return str(uri)
    if not WRITTEN.fullmatch(name) or links_out(folder / name, folder):
        raise DataError(f"index folder {folder}: {short_repr(name)} is no folder of a table inside it; {MEND}")
    check_files(folder / name, note["files"])
    return folder / name


def check_files(place: Path, digests: Mapping[str, Sequence[Any]]) -> None:
    """Raise `MissingFileError` or `DataError` where a file of a table is not as it was saved. Files besides are of no version
    that is opened."""
    for name, (size, digest) in digests.items():
        path = place / name
        if ".." in Path(name).parts or Path(name).is_absolute() or path.is_symlink():
            raise DataError(f"{place}: the note names a file outside it: {name!r}")
        if not path.is_file():
            raise MissingFileError(f"{path} is missing; {MEND}")
        if path.stat().st_size != size or file_digest(path) != digest:
            raise DataError(f"{path}: it is not what was saved: it was changed or damaged; {MEND}")
