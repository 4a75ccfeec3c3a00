"""A list of ids that are asked for: one a line or the first column of a CSV file, with or without a header."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from picdesk.errors import DataError, MissingFileError, check_unique, examples
from picdesk.readers.queries import NAMES, Query
from picdesk.text.files import plain_suffix, read_text
from picdesk.text.rows import split_rows

log = logging.getLogger(__name__)


def read_ids(file: str, known: Sequence[str] | None) -> list[str]:
    """The ids of a file, in its order. The first row is a header if it names an id column, or holds no known id while the
    second does; `known` None takes every id. Raises `DataError` for unknown or repeated ids, for rows of another width than
    the header where ids are not the first column, and for a file without any id."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"subset={file}: no such file")
    delimiter = "\t" if plain_suffix(path) == ".tsv" else ","
    text, odd = read_text(path, key=None)
    numbered, notes = split_rows(path.name, text, delimiter)
    for note in [odd, *notes]:
        if note:
            log.info("subset=%s: %s", file, note)
    rows = [[cell.strip() for cell in row] for _, row in numbered]
    there = set(known or ())
    column = 0
    if rows:
        named = [i for i, cell in enumerate(rows[0]) if cell in NAMES["id"]]
        later = len(rows) > 1 and rows[1][0] in there
        if named or (rows[0][0] not in there and later):
            column = (named or [0])[0]
            ragged = [row for row in rows[1:] if column and len(row) != len(rows[0])]
            if ragged:
                told = f"{len(ragged)} rows have another number of cells than the header's {len(rows[0])}"
                raise DataError(f"subset={file}: {told}, for example {examples(ragged)}")
            rows = rows[1:]
    if not rows:
        raise DataError(f"subset={file}: no ids in it")
    ids = [row[column] for row in rows]
    if not all(ids):
        raise DataError(f"subset={file}: {ids.count('')} rows have no id in column {column + 1}")
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
