"""Rows of CSV and TSV files. No row vanishes: a quote that is no quoting is found, rows of another width are counted."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from picdesk.errors import ConfigError, DataError, short_repr
from picdesk.text.row_looks import Looks

QUOTING = ("auto", "csv", "none")
SPACED = re.compile(r' +"')
LONGEST = 2000  # lines that a quoted cell may span while a file with stray quotes is sorted out
MARKED = re.compile(r'\\([\\"])')
STAND_INS = {
    '"': "\ufdd0",
    "\\": "\ufdd1",
}  # no characters (Unicode 23.7): they stand for marked ones while rows are cut
Row = tuple[int, list[str]]
csv.field_size_limit(sys.maxsize)  # the library's own limit of 131,072 characters refuses long articles


@dataclass(frozen=True)
class Form:
    """How a file is cut: at which delimiter, and whether spaces before a cell are dropped, so that its quotes count."""

    file: str
    delimiter: str
    spaced: bool = False

    def rows(self, lines: Iterable[str]) -> Any:
        """A reader by the rules of CSV."""
        return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self.spaced)

    def bare(self, cell: str) -> str:
        """A cell without the quotes around it."""
        cell = cell.lstrip(" ") if self.spaced else cell
        return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


@dataclass
class Recovered:
    """Rows of a file in which some quotes are no quoting: which lines those are, and whether other quotes are needed."""

    rows: list[Row] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)
    needed: bool = False
    wrapped: int = 0


def split_rows(
    file: str, text: str, delimiter: str = ",", quoting: str = "auto", recover: bool = True, before: int = 0
) -> tuple[list[Row], list[str]]:
    """All rows that hold anything, each with the number of its last line, and notes on what was odd.

    `quoting`: `csv` as RFC 4180 has it (raises `DataError` for a quote that is not closed), `none` takes quotes as
    characters like any other, `auto` is `csv` unless rows show that a quote is none: text behind a closing quote, a quote
    that never closes, or one that would swallow lines that look like rows (`text/row_looks.py`). If no other cell needs its
    quotes, the whole file is then read without; else those rows alone. Quotes behind a space that follows the delimiter
    are quoting if the cells fit so. The notes say which. Without `recover` a quote that would swallow rows, or never
    closes, raises `DataError`. `before` blank lines at the beginning are not counted: what stood there is known.
    """
    if quoting not in QUOTING:
        raise ConfigError(f"data.quoting={quoting}: choose one of {', '.join(QUOTING)}")
    lines = io.StringIO(text, newline="").readlines()
    while lines and not lines[-1].strip():
        lines.pop()
    notes: list[str] = []
    form = Form(file, delimiter)
    if quoting == "none" or '"' not in text:
        rows = _split_unquoted(lines, form)
    else:
        strict, form, looks = _strict_form(lines, form, quoting == "csv", notes)
        if strict is None and '\\"' in text and not set(STAND_INS.values()) & set(text):
            strict = _read_marked(lines, form, notes)
        rows = strict if strict is not None else _sort_out(lines, form, looks, recover, notes)
    full = [(number, cells) for number, cells in rows if any(map(str.strip, cells))]
    blank = len(rows) - len(full) - before
    return full, notes + ([f"{blank} blank lines or rows without content"] if blank else [])


def _split_unquoted(lines: Iterable[str], form: Form) -> list[Row]:
    reader = csv.reader(lines, delimiter=form.delimiter, quoting=csv.QUOTE_NONE, skipinitialspace=form.spaced)
    return [(reader.line_num, cells) for cells in reader]


def _strict_form(
    lines: list[str], form: Form, wanted: bool, notes: list[str]
) -> tuple[list[Row] | None, Form, Looks | None]:
    """Rows by the rules of CSV; spaces before quotes are dropped where most rows have such, or all rows then have one width.

    None for the rows where a quote is against the rules or swallows rows; then the looks of the rows, where they are known.
    """
    rows, looks = _strict(lines, form, wanted)
    if rows is not None:
        count = sum(any(SPACED.match(cell) for cell in cells) for _, cells in rows)
    else:
        count = sum(any(SPACED.match(cell) for cell in line.split(form.delimiter)[1:]) for line in lines)
    if not count or wanted or form.delimiter == " ":
        return rows, form, looks
    dropped = Form(form.file, form.delimiter, spaced=True)
    again, again_looks = _strict(lines, dropped, False)
    widths = {len(cells) for _, cells in again or () if any(map(str.strip, cells))}
    if len(widths) == 1 or 2 * count > len(lines):
        notes.append(f"{count} rows have a space between delimiter and quote, which was dropped")
        return again, dropped, again_looks
    notes += [f"{count} rows have a quote behind a space, which was read as a character"] if rows is not None else []
    return rows, form, looks


def _read_marked(lines: list[str], form: Form, notes: list[str]) -> list[Row] | None:
    """Rows in which a backslash marks quotes and backslashes inside cells; every other backslash stays."""
    hidden = [MARKED.sub(lambda found: STAND_INS[found[1]], line) for line in lines]
    rows, _ = _strict(hidden, form, False)
    if rows is None:
        return None
    notes.append("quotes inside cells have a backslash before them")
    shown = str.maketrans({stand_in: letter for letter, stand_in in STAND_INS.items()})
    return [(number, [cell.translate(shown) for cell in cells]) for number, cells in rows]


def _strict(lines: list[str], form: Form, wanted: bool) -> tuple[list[Row] | None, Looks | None]:
    """Rows by the rules of CSV; None (an error if they are `wanted` so) where a quote is against them or swallows rows."""
    reader = form.rows(lines)
    rows: list[Row] = []
    long, before = [], 0
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
            if reader.line_num - before > 1:
                long.append((before, reader.line_num))
            before = reader.line_num
    except csv.Error as error:
        if wanted:
            line = f"{form.file}, line {reader.line_num}: {error}"
            raise DataError(f"{line}; look for a quote that is not closed, or set data.quoting=none") from None
        return None, None
    if wanted or not long:
        return rows, None
    looks = Looks.of_rows(rows, lines, form.delimiter)
    swallowed = any(looks.are_rows(lines[start], lines[start + 1 : end]) for start, end in long)
    return (None, looks) if swallowed else (rows, None)


def _sort_out(lines: list[str], form: Form, looks: Looks | None, recover: bool, notes: list[str]) -> list[Row]:
    """Rows of a file with stray quotes."""
    found = _recover_rows(lines, form, looks or Looks.of_lines(lines, form.delimiter), recover)
    numbers = ", ".join(map(str, found.stray[:5])) + (", ..." if len(found.stray) > 5 else "")
    if found.needed or found.wrapped * 2 > len(found.rows):
        told = f"{len(found.stray)} rows with a stray quote were read as they stand: line {numbers}"
        notes.append(f"{told} (data.quoting=csv would refuse them)")
        return found.rows
    told = f"{len(found.stray)} rows with a stray quote (line {numbers}), so quotes were read as plain characters"
    notes.append(f"{told} (data.quoting=none; csv would refuse them)")
    return _split_unquoted(lines, form)


def _recover_rows(lines: list[str], form: Form, looks: Looks, recover: bool) -> Recovered:
    found, at = Recovered(), 0
    while at < len(lines):
        plain = looks.cells(lines[at])
        if '"' not in lines[at]:
            at += 1
            found.rows.append((at, plain))
            continue
        reader = form.rows(_until_rows(lines, at, looks))
        bare = [form.bare(cell) for cell in plain]
        try:
            cells: list[str] | None = next(reader, [])
        except csv.Error:
            cells = None
        if cells is None or looks.are_rows(lines[at], lines[at + 1 : at + reader.line_num]):
            at += 1
            if not recover and reader.line_num > 1:
                told = f"{form.file}, line {at}: the quote in {short_repr(lines[at - 1].strip())} is not closed in its line"
                raise DataError(f"{told} and would swallow the rows below; close it, or write it without")
            found.stray.append(at)
            found.rows.append((at, bare))
            continue
        found.needed |= reader.line_num > 1 or bare != cells or (at == 0 and bare != plain)
        found.wrapped += bare != plain
        at += reader.line_num
        found.rows.append((at, cells))
    return found


def _until_rows(lines: list[str], at: int, looks: Looks) -> Iterator[str]:
    """Lines for one row; they end where the next ones are rows by their looks, so that an open quote reads no further."""
    yield lines[at]
    alike = 0
    for read, line in enumerate(lines[at + 1 : at + LONGEST]):
        if alike == read and read > 2:
            return
        alike += looks.like_a_row(line)
        yield line
