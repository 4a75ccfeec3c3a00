"""Files of queries for `retrieve.py queries=FILE`: one text a line, CSV with a header, or JSON records; lists of some of them.

No query vanishes: a row that cannot be read stops the job, which names the first and counts the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from picdesk.errors import DataError, MissingFileError, UserError, check_unique, examples, short_repr
from picdesk.readers.gathering import Gathering
from picdesk.readers.records import read_records
from picdesk.readers.text_columns import TextColumns
from picdesk.text.as_text import NoTextError, fault_of, name_of, one_text, parse_cell, what
from picdesk.text.files import plain_suffix, read_text
from picdesk.text.row_looks import shape_of
from picdesk.text.rows import split_rows
from picdesk.text.table import name_quoting, read_table

NAMES = {
    "id": ("query_id", "id", "article_id", "text_id"),
    "text": ("query", "text", "title", "article_title", "headline", "caption"),
    "tags": ("tags", "article_tags", "keywords"),
    "picture": ("picture_id", "image_id", "picture", "image"),
}
HEADERS = {name for names in NAMES.values() for name in names}
SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".json")
log = logging.getLogger(__name__)
Rows = list[tuple[int, Mapping[str, object]]]
CellRows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Query:
    """A text that is asked: its id, its fields for the prompt, and the id of its true picture where that is known."""

    id: str
    fields: Mapping[str, str | Sequence[str]]
    picture_id: str = ""


def bare(query_id: str, text: str, tags: Sequence[str] = (), picture_id: str = "") -> Query:
    """A query out of one text: it stands for the title as well as for the caption, whichever the prompt wants."""
    return Query(query_id, {"title": text, "caption": text, "tags": tuple(tags)}, picture_id)


def read_queries(file: str, narrow: Callable[[Rows], Rows] = lambda rows: rows) -> list[Query]:
    """Read a query file (or its `.gz`) by its ending; `narrow` may take columns out of its rows.

    Raises `DataError` for one without queries, with an id that stands twice, or with any row that cannot be used;
    `max_bad_fraction` of questions is 0.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"queries={file}: no such file")
    ending = plain_suffix(path)
    if ending not in SUFFIXES:
        raise DataError(f"queries={file}: the ending must be one of {', '.join(SUFFIXES)}")
    found = Gathering[None](f"queries={file}")
    rows = {".txt": _lines, ".csv": _csv, ".tsv": _csv}.get(ending, _json)(path, found)
    rows = narrow(rows)
    queries = [query for number, row in rows for query in _record(row, path, number, found)]
    if len(_texts_in(rows)) > 1:
        found.notes.append(
            f"each row asks by the first that it has of {', '.join(_texts_in(rows))}; the others are not read"
        )
    if found.skipped:
        where = found.skipped[0].item.removeprefix(path.name).strip()
        more = f" (and {len(found.skipped) - 1} more rows)" if len(found.skipped) > 1 else ""
        raise DataError(f"queries={path}, {where}: {found.skipped[0].reason}{more}")
    if not queries:
        raise DataError(f"queries={file}: no queries in it (zero rows)")
    check_unique([query.id for query in queries], f"queries={file}")
    for note in found.notes:
        log.info("queries=%s: %s", file, note)
    return queries


def _texts_in(rows: Rows) -> list[str]:
    """The columns that may hold what is asked, in the order in which they are looked for."""
    return [name for name in NAMES["text"] if any(row.get(name) is not None for _, row in rows)]


def _lines(path: Path, found: Gathering[None]) -> Rows:
    """One text a line; its id is q and its number among the lines that hold anything."""
    lines = found.lines(path, key=None)
    return [(number, {"query": line.strip(), "id": f"q{place}"}) for place, (number, line) in enumerate(lines, 1)]


def _csv(path: Path, found: Gathering[None]) -> Rows:
    def suits(header: Sequence[str]) -> bool:
        return any(name in header for name in NAMES["text"])

    try:
        table = read_table(path, "auto", wanted=suits, key=None, recover=False)
    except DataError as error:
        raise DataError(f"queries={path}{str(error).removeprefix(path.name)}") from None
    found.note_table(table, path.name)
    return list(table.rows)


def _json(path: Path, found: Gathering[None]) -> Rows:
    records = read_records(path, found, wanted=NAMES["text"], key=None)
    return [(int(where.split(" ")[1]), record) for where, record in records]


def _record(row: Mapping[str, object], path: Path, number: int, found: Gathering[None]) -> list[Query]:
    """One row with named columns; each kind of column under the first of its names that is there."""
    named = {kind: next((name for name in names if row.get(name) is not None), "") for kind, names in NAMES.items()}
    if not named["text"]:
        wanted, there = ", ".join(NAMES["text"]), examples(row, 12)
        raise DataError(
            f"queries={path}, line {number}: no column with the text; wanted one of {wanted}; there are {there}"
        )
    try:
        text = _text(named["text"], row[named["text"]])
        tags = TextColumns(None, None, named["tags"] or None).take(row)
        if tags.faults:
            raise NoTextError(tags.faults[0].removeprefix("data.tags_column="))
        listed = tags.texts[0]["tags"] if tags.texts else ()
        query_id, picture_id = (_name(row, named[kind]) for kind in ("id", "picture"))
        fault = next((fault for fault in map(fault_of, (query_id, text, picture_id, *listed)) if fault), "")
        if fault:
            raise NoTextError(fault)
    except NoTextError as error:
        found.skip(f"{path.name} line {number}", str(error))
        return []
    return [bare(query_id or f"q{number}", text, listed, picture_id)]


def _name(row: Mapping[str, object], column: str) -> str:
    try:
        return name_of(row.get(column))
    except NoTextError as error:
        raise NoTextError(f"{column} {error}") from None


def _text(column: str, cell: object) -> str:
    """The text that is asked. Raises `NoTextError` for anything else, and for nothing."""
    value = parse_cell(cell) if isinstance(cell, str) else cell
    if not isinstance(value, str):
        raise NoTextError(f"{column} holds {what(value)}, which is no text")
    text = one_text(value)
    if not text:
        raise NoTextError("the text is empty" if not value.strip() else f"{column} says {value.strip()!r}: no text")
    return text


def read_captions(file: str) -> dict[str, str]:
    """A caption for each picture id, out of CSV with a header (or JSON lines) with a picture and a caption column.

    Where there is no column `caption`, one of the other columns with a text is taken. Raises `DataError` for several of these,
    for a picture that stands twice, and for a file without captions.
    """
    found: dict[str, str] = {}
    try:
        queries = read_queries(file, partial(_captions_alone, file))
    except UserError as error:
        raise type(error)(str(error).replace("queries=", "captions_file=", 1)) from None
    for query in queries:
        if not query.picture_id:
            raise DataError(f"captions_file={file}: no picture column; one of {', '.join(NAMES['picture'])} is needed")
        if query.picture_id in found:
            raise DataError(f"captions_file={file}: picture {query.picture_id!r} has two captions; one is needed")
        found[query.picture_id] = str(query.fields["caption"])
    return found


def _captions_alone(file: str, rows: Rows) -> Rows:
    """The rows with one column of text, `caption` before any other. Raises `DataError` where that is not certain."""
    there = _texts_in(rows)
    if "caption" not in there and len(there) > 1:
        told = f"several columns may hold the captions: {', '.join(there)}; call the right one caption"
        raise DataError(f"queries={file}: {told}")
    if "caption" not in there:
        return rows
    others = set(NAMES["text"]) - {"caption"}
    alone: Rows = [(number, {name: cell for name, cell in row.items() if name not in others}) for number, row in rows]
    lacking = [number for number, row in alone if row.get("caption") is None]
    if lacking:
        raise DataError(f"queries={file}, line {lacking[0]}: no caption (and {len(lacking) - 1} more rows)")
    return alone


def read_ids(file: str, known: Sequence[str] | None, key: str = "subset") -> list[str]:
    """The ids of a file, in its order: one a line, or CSV; `known` None takes every id. `key` is what names the file.

    The first row is a header if it names a column (`NAMES`); or, said in the log, if no known id looks like it and the next
    row has one. Raises `DataError` for unknown or repeated ids, for an id with a quote or a line break, for rows of
    another width than the first, for a file of another form, and for one without any id.
    """
    path, named = Path(file).expanduser(), f"{key}={file}"
    if not path.is_file():
        raise MissingFileError(f"{named}: no such file")
    if plain_suffix(path) in (".json", ".jsonl"):
        raise DataError(f"{named}: JSON is not read here; one id a line is needed, or CSV with a header")
    rows = _id_rows(path, named)
    there = frozenset(known or ())
    header = rows[0][1] if rows and _is_header(named, [row for _, row in rows[:2]], there) else None
    if not rows[header is not None :]:
        raise DataError(f"{named}: no ids in it")
    column = next((i for i, name in enumerate(header or ()) if name.casefold() in NAMES["id"]), 0)
    _check_id_rows(named, rows, header, column, there)
    ids = [row[column] for _, row in rows[header is not None :]]
    check_unique(ids, named)
    unknown = [name for name in ids if name not in there] if known is not None else []
    if unknown:
        told = f"{len(unknown)} of {len(ids)} ids are not in queries=..., for example {examples(unknown)}"
        first = f"; the first row would be a header if it named a column: {', '.join(NAMES['id'])}"
        raise DataError(f"{named}: {told}{first if header is None and len(ids) > 1 and ids[0] in unknown else ''}")
    return ids


def _id_rows(path: Path, named: str) -> CellRows:
    """The rows of a subset, with their lines; empty cells behind the first row's last are none."""
    text, odd = read_text(path, key=None)
    numbered, notes = split_rows(path.name, text, "\t" if plain_suffix(path) == ".tsv" else ",")
    for note in [odd, *notes]:
        if note:
            log.info("%s: %s", named, name_quoting(note, None))
    rows = [(number, [cell.strip() for cell in row]) for number, row in numbered]
    for _, row in rows:
        while len(row) > len(rows[0][1]) and not row[-1]:
            row.pop()
    return rows


def _is_header(named: str, rows: Sequence[Sequence[str]], there: frozenset[str]) -> bool:
    """Whether the first of the two first rows is a header; one that is so by its looks alone is told."""
    first = rows[0]
    if first[0] in there:
        return False
    if first[0].casefold() in HEADERS or any(cell.casefold() in NAMES["id"] for cell in first):
        return True
    if len(rows) < 2 or rows[1][0] not in there or shape_of(first[0]) in set(map(shape_of, there)):
        return False
    log.warning("%s: its first row %r was taken for a header, not for an id", named, ",".join(first))
    return True


def _check_id_rows(
    named: str, rows: CellRows, header: Sequence[str] | None, column: int, there: frozenset[str]
) -> None:
    """Raise `DataError` for a row in which an id could be lost."""
    width = len(rows[0][1])
    ragged = [(number, row) for number, row in rows if len(row) != width]
    if ragged:
        told = f"{len(ragged)} rows have another number of cells than the {'first row' if header is None else 'header'}'s {width}"
        raise DataError(f"{named}: {told}, for example line {ragged[0][0]}: {examples(ragged[0][1])}")
    own = rows[header is not None :]
    empty = sum(not row[column] for _, row in own)
    if empty:
        raise DataError(f"{named}: {empty} rows have no id in column {column + 1}")
    for number, row in own:
        if any(mark in row[column] for mark in '"\r\n'):
            told = f"the id {short_repr(row[column])} holds a quote or a line break; one id a line is needed"
            raise DataError(f"{named}, line {number}: {told}")
        if header is None and there.intersection(row[1:]):
            raise DataError(f"{named}, line {number}: {examples(row)} are several ids; one id a line is needed")


def only(queries: Sequence[Query], file: str | None) -> list[Query]:
    """The queries that the subset names, in its order; all of them without one."""
    if not file:
        return list(queries)
    own = {query.id: query for query in queries}
    return [own[name] for name in read_ids(file, list(own))]
