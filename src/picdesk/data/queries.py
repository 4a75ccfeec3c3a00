"""Files of queries for `retrieve.py queries=FILE`: one text a line, CSV with a header, or JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.data.readers.columns import split_tags
from picdesk.data.readers.text import lines_of, read_table, read_text
from picdesk.errors import DataError, MissingFileError, UserError, check_unique
from picdesk.files import json_objects

NAMES = {
    "id": ("query_id", "id", "article_id", "text_id"),
    "text": ("query", "text", "title", "article_title", "headline", "caption"),
    "tags": ("tags", "article_tags", "keywords"),
    "picture": ("picture_id", "image_id", "picture", "image"),
}
SUFFIXES = (".txt", ".csv", ".jsonl")


@dataclass(frozen=True)
class Query:
    """A text that is asked: its id, its fields for the prompt, and the id of its true picture where that is known."""

    id: str
    fields: Mapping[str, str | Sequence[str]]
    picture_id: str = ""


def bare(query_id: str, text: str, tags: Sequence[str] = (), picture_id: str = "") -> Query:
    """A query out of one text: it stands for the title as well as for the caption, whichever the prompt wants."""
    return Query(query_id, {"title": text, "caption": text, "tags": tuple(tags)}, picture_id)


def read_queries(file: str) -> list[Query]:
    """Read a query file by its ending. Raises `DataError` for one without queries, or with an id that stands twice."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"queries={file}: no such file")
    if path.suffix not in SUFFIXES:
        raise DataError(f"queries={file}: the ending must be one of {', '.join(SUFFIXES)}")
    reader = {".txt": _lines, ".csv": _csv, ".jsonl": _jsonl}[path.suffix]
    queries = reader(path)
    if not queries:
        raise DataError(f"queries={file}: no queries in it (zero rows)")
    check_unique([query.id for query in queries], f"queries={file}")
    return queries


def _lines(path: Path) -> list[Query]:
    lines = [line.strip() for line in lines_of(read_text(path)[0])]
    return [bare(f"q{number}", line) for number, line in enumerate((line for line in lines if line), 1)]


def _csv(path: Path) -> list[Query]:
    return [_record(row, path, number) for number, row in read_table(path).rows]


def _jsonl(path: Path) -> list[Query]:
    lines = lines_of(read_text(path)[0])
    try:
        rows = list(json_objects(lines))
    except ValueError as error:
        raise DataError(f"queries={path}, {error}") from None
    return [_record(row, path, number) for number, row in rows]


def _record(row: Mapping[str, object], path: Path, number: int) -> Query:
    """One row with named columns; each kind of column under the first of its names that is there."""
    cell = {kind: next((row[name] for name in names if name in row), None) for kind, names in NAMES.items()}
    if cell["text"] is None:
        wanted, there = ", ".join(NAMES["text"]), ", ".join(row)
        raise DataError(
            f"queries={path}, line {number}: no column with the text; wanted one of {wanted}; there are {there}"
        )
    if not str(cell["text"]).strip():
        raise DataError(f"queries={path}, line {number}: the text is empty")
    tags = cell["tags"]
    listed = [str(tag) for tag in tags] if isinstance(tags, list) else list(split_tags(_given(tags), ";|"))
    return bare(_given(cell["id"]) or f"q{number}", str(cell["text"]).strip(), listed, _given(cell["picture"]))


def _given(cell: object) -> str:
    """A cell as text; 0 is a value like any other."""
    return "" if cell is None else str(cell)


def read_captions(file: str) -> dict[str, str]:
    """A caption for each picture id, out of CSV with a header (or JSON lines) with a picture and a caption column.

    Raises `DataError` for a picture that stands twice, and for a file without captions.
    """
    found: dict[str, str] = {}
    try:
        queries = read_queries(file)
    except UserError as error:
        raise type(error)(str(error).replace("queries=", "captions_file=", 1)) from None
    for query in queries:
        if not query.picture_id:
            raise DataError(f"captions_file={file}: no picture column; one of {', '.join(NAMES['picture'])} is needed")
        if query.picture_id in found:
            raise DataError(f"captions_file={file}: picture {query.picture_id!r} has two captions; one is needed")
        found[query.picture_id] = str(query.fields["caption"])
    return found
