"""A list of ids that are asked for: one a line or the first column of a CSV file, with or without a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from picdesk.data.queries import NAMES, Query
from picdesk.data.readers.text import read_text
from picdesk.errors import DataError, MissingFileError, check_unique, examples


def read_ids(file: str, known: Sequence[str] | None) -> list[str]:
    """The ids of a file, in its order. The first row is a header if it names an id column, or holds no known id while the
    second does; `known` None takes every id. Raises `DataError` for unknown or repeated ids, or a file without any."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"subset={file}: no such file")
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(io.StringIO(read_text(path)[0]))
        if any(map(str.strip, row))
    ]
    there = set(known or ())
    column = 0
    if rows:
        named = [i for i, cell in enumerate(rows[0]) if cell in NAMES["id"]]
        later = len(rows) > 1 and rows[1][0] in there
        if named or (rows[0][0] not in there and later):
            column, rows = (named or [0])[0], rows[1:]
    if not rows:
        raise DataError(f"subset={file}: no ids in it")
    short = [row for row in rows if len(row) <= column]
    if short:
        raise DataError(f"subset={file}: {len(short)} rows have no column {column + 1}, for example {examples(short)}")
    ids = [row[column] for row in rows]
    check_unique(ids, f"subset={file}")
    unknown = [name for name in ids if name not in there] if known is not None else []
    if unknown:
        raise DataError(
            f"subset={file}: {len(unknown)} of {len(ids)} ids are not in queries=..., for example {examples(unknown)}"
        )
    return ids


def only(queries: Sequence[Query], file: str | None) -> list[Query]:
    """The queries that the subset names, in its order; all of them without one."""
    if not file:
        return list(queries)
    own = {query.id: query for query in queries}
    return [own[name] for name in read_ids(file, list(own))]
