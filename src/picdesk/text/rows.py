"""Rows of CSV and TSV files. No row vanishes: a quote that is no quoting is found, rows of another width are counted."""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from picdesk.errors import ConfigError, DataError

QUOTING = ("auto", "csv", "none")
LONGEST = 2000  # lines that a quoted cell may span while a file with stray quotes is sorted out
Row = tuple[int, list[str]]
csv.field_size_limit(sys.maxsize)  # the library's own limit of 131,072 characters refuses long articles


@dataclass
class Recovered:
    """Rows of a file in which some quotes are no quoting: which lines those are, and whether other quotes are needed."""

    rows: list[Row] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)
    needed: bool = False
    wrapped: int = 0


def split_rows(file: str, text: str, delimiter: str = ",", quoting: str = "auto") -> tuple[list[Row], list[str]]:
    """All rows that hold anything, each with the number of its last line, and notes on what was odd.

    `quoting`: `csv` as RFC 4180 has it (raises `DataError` for a quote that is not closed), `none` takes quotes as
    characters like any other, `auto` is `csv` unless rows show that a quote is none: text behind a closing quote, a quote
    that never closes, or one that would swallow lines that look like rows. If no other cell needs its quotes, the whole
    file is then read without; else those rows alone. The notes say which.
    """
    if quoting not in QUOTING:
        raise ConfigError(f"data.quoting={quoting}: choose one of {', '.join(QUOTING)}")
    lines = io.StringIO(text, newline="").readlines()
    while lines and not lines[-1].strip():
        lines.pop()
    notes: list[str] = []
    if quoting == "none" or '"' not in text:
        rows = _split_unquoted(lines, delimiter)
    else:
        strict = _strict(file, lines, delimiter, quoting == "csv")
        if strict is None and '\\"' in text:
            strict = _strict(file, lines, delimiter, False, escape="\\")
            notes += ["quotes inside cells have a backslash before them"] if strict is not None else []
        rows = strict if strict is not None else _sort_out(lines, delimiter, notes)
    full = [(number, cells) for number, cells in rows if any(map(str.strip, cells))]
    blank = len(rows) - len(full)
    return full, notes + ([f"{blank} blank lines or rows without content"] if blank else [])


def _split_unquoted(lines: Iterable[str], delimiter: str) -> list[Row]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return [(reader.line_num, cells) for cells in reader]


def _strict(file: str, lines: list[str], delimiter: str, wanted: bool, escape: str | None = None) -> list[Row] | None:
    """Rows by the rules of CSV; None (an error if that is `wanted`) where a quote is against them or swallows rows."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, escapechar=escape)
    rows, long, before = [], [], 0
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
            if reader.line_num - before > 1:
                long.append((before, reader.line_num))
            before = reader.line_num
    except csv.Error as error:
        if wanted:
            line = f"{file}, line {reader.line_num}: {error}"
            raise DataError(f"{line}; look for a quote that is not closed, or set data.quoting=none") from None
        return None
    if wanted or not long:
        return rows
    looks = Looks(lines, delimiter)
    return None if any(looks.are_rows(lines[start + 1 : end]) for start, end in long) else rows


def _sort_out(lines: list[str], delimiter: str, notes: list[str]) -> list[Row]:
    """Rows of a file with stray quotes."""
    found = _recover_rows(lines, delimiter)
    numbers = ", ".join(map(str, found.stray[:5])) + (", ..." if len(found.stray) > 5 else "")
    if found.needed or found.wrapped * 2 > len(found.rows):
        told = f"{len(found.stray)} rows with a stray quote were read as they stand: line {numbers}"
        notes.append(f"{told} (data.quoting=csv would refuse them)")
        return found.rows
    told = f"{len(found.stray)} rows with a stray quote (line {numbers}), so quotes were read as plain characters"
    notes.append(f"{told} (data.quoting=none; csv would refuse them)")
    return _split_unquoted(lines, delimiter)


def _recover_rows(lines: list[str], delimiter: str) -> Recovered:
    looks, found, at = Looks(lines, delimiter), Recovered(), 0
    while at < len(lines):
        plain = looks.cells(lines[at])
        if '"' not in lines[at]:
            at += 1
            found.rows.append((at, plain))
            continue
        reader = csv.reader(_until_rows(lines, at, looks), delimiter=delimiter, strict=True)
        bare = [_unwrap(cell) for cell in plain]
        try:
            cells: list[str] | None = next(reader, [])
        except csv.Error:
            cells = None
        if cells is None or looks.are_rows(lines[at + 1 : at + reader.line_num]):
            at += 1
            found.stray.append(at)
            found.rows.append((at, bare))
            continue
        found.needed |= reader.line_num > 1 or bare != cells or (at == 0 and bare != plain)
        found.wrapped += bare != plain
        at += reader.line_num
        found.rows.append((at, cells))
    return found


def _until_rows(lines: list[str], at: int, looks: "Looks") -> Iterator[str]:
    """Lines for one row; they end where the next ones are rows by their looks, so that an open quote reads no further."""
    yield lines[at]
    alike = 0
    for read, line in enumerate(lines[at + 1 : at + LONGEST]):
        if alike == read and read > 2:
            return
        alike += looks.like_a_row(line)
        yield line


def _unwrap(cell: str) -> str:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


class Looks:
    """How the lines of a file look as rows: their width, and the shape of the cells in columns that hold names, not prose."""

    def __init__(self, lines: list[str], delimiter: str) -> None:
        self.delimiter = delimiter
        first = next((line for line in lines if line.strip()), "")
        self.width = len(self.cells(first))
        rows = [cells for cells in map(self.cells, lines[1:]) if len(cells) == self.width]
        self.shapes: dict[int, set[str]] = {}
        for column in range(self.width):
            named = Counter(_shape(row[column]) for row in rows)
            prose = named.pop("", 0)
            if prose * 10 <= len(rows):
                self.shapes[column] = {shape for shape, count in named.items() if count >= max(2, len(rows) / 50)}

    def cells(self, line: str) -> list[str]:
        """The line cut at each delimiter, whatever the quotes."""
        return line.rstrip("\r\n").split(self.delimiter)

    def are_rows(self, lines: list[str]) -> bool:
        """Whether the lines inside a quoted cell are rows by their looks, at least half of them."""
        return bool(lines) and 2 * sum(map(self.like_a_row, lines)) >= len(lines)

    def like_a_row(self, line: str) -> bool:
        """Whether it has the width of a row, and in each column of names a name; by width alone where only tabs can tell."""
        cells = self.cells(line)
        if self.width < 2 or len(cells) != self.width:
            return False
        if not self.shapes:
            return self.delimiter == "\t"
        return all(_shape(cells[column]) in shapes for column, shapes in self.shapes.items())


def _shape(cell: str) -> str:
    """`0_a.a` for `12b_left.jpg`; "" for what holds a space, a quote or nothing, as prose does."""
    name = cell.strip()
    if not name or '"' in name or len(name) > 500 or re.search(r"\s", name):
        return ""
    return re.sub(r"[^\W_]+", lambda run: "0" if any(map(str.isdigit, run[0])) else "a", name)
