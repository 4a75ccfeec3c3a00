"""The columns of a saved index, in a file beside it that is named by its digest, which the header of the index says."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import weakref
from pathlib import Path
from typing import BinaryIO

from picdesk.errors import DataError, MissingFileError, check_unique
from picdesk.files import written_whole
from picdesk.filters.columns import Column, Columns

PREFIX, FIELD = "columns-", "field."
COLUMNS = "columns"
"""What the header of an index calls the digest of its columns."""
MEND = "build the index again"


def write_columns(folder: Path, known: Columns) -> str:
    """Write the columns beside an index; the digest of the file, by which it is found."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    made = {"id": pa.array(known.ids, pa.string())}
    for name, column in known.columns.items():
        words = pa.array(column.words, pa.string()).take(pa.array(column.codes))
        made[FIELD + name] = pa.ListArray.from_arrays(pa.array(column.bounds, pa.int32()), words)
    stream = io.BytesIO()
    pq.write_table(pa.table(made), stream, compression="zstd")
    digest = hashlib.sha256(stream.getbuffer()).hexdigest()
    with written_whole(place_of(folder, digest)) as temporary:
        temporary.write_bytes(stream.getbuffer())
    return digest


def place_of(folder: Path, digest: str) -> Path:
    """Where columns of this digest lie."""
    return folder / f"{PREFIX}{digest[:16]}.parquet"


def read_columns(folder: Path, digest: str) -> Columns:
    """The columns of that digest. Raises `MissingFileError`, or `DataError` where the file is not what was written."""
    return KeptColumns(folder, digest)()


class KeptColumns:
    """The columns of that digest as they lie beside an index when it is opened, read when they are asked for: a later job on the
    index may have put others in their place by then, and the index that was opened is still searched."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._path, self._digest = folder, place_of(folder, digest), digest
        self._file: BinaryIO | None = None
        self._turn = threading.Lock()
        if self._path.is_file() and os.access(self._path, os.R_OK):
            self._file = self._path.open("rb")
            weakref.finalize(self, self._file.close)

    def __call__(self) -> Columns:
        """Read them. Raises `MissingFileError`, or `DataError` where the file is not what was written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path
        if self._file is None:
            why = "cannot be read" if path.exists() else "is missing"
            raise MissingFileError(f"index folder {self._folder}: {path.name} {why}; {MEND}")
        with self._turn:
            self._file.seek(0)
            content = self._file.read()
        if hashlib.sha256(content).hexdigest() != self._digest:
            raise DataError(f"{path}: its checksum is not the one that the index names: it was damaged; {MEND}")
        try:
            table = pq.read_table(pa.BufferReader(content)).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: {' '.join(str(error).split())[:200]}; {MEND}") from None
        ids = tuple(table["id"].to_pylist())
        check_unique(ids, str(path))
        names = [name for name in table.column_names if name.startswith(FIELD)]
        return Columns(ids, {name.removeprefix(FIELD): column_of(table[name].to_pylist()) for name in names})


def column_of(values: list[list[str] | None]) -> Column:
    """A column of lists."""
    return Column.of(len(values), ((place, value) for place, own in enumerate(values) for value in own or ()))
