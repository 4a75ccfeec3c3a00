"""Text files as people really have them: UTF-8 with or without a byte order mark, stray Latin-1 bytes, any line ends."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from picdesk.errors import DataError, examples


@dataclass(frozen=True)
class Table:
    """Header and rows of a CSV file, each row with the number of its last line; rows of a wrong width are in `ragged`."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    ragged: tuple[tuple[int, int], ...]
    note: str


def read_text(path: Path) -> tuple[str, str]:
    """Text of a file and a note on what was odd about it ("" if nothing was). Raises `DataError` for UTF-16.

    Lines that are not UTF-8 are taken as Latin-1 (its Windows form, code page 1252, where that has a character), one by one,
    so that a few old lines do not spoil the others.
    """
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path.name}: the file is UTF-16; save it as UTF-8")
    odd = []
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
        odd.append("starts with a byte order mark")
    if b"\r\n" in raw:
        odd.append("CRLF line ends")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text, latin = _decode_lines(raw)
        listed = ", ".join(map(str, latin[:5])) + (", ..." if len(latin) > 5 else "")
        odd.append(f"not UTF-8 in {len(latin)} lines, which were read as Latin-1: {listed}")
    return text, f"{path.name}: {'; '.join(odd)}" if odd else ""


def lines_of(text: str) -> list[str]:
    """Lines without their ends, which are LF, CRLF or CR: `splitlines` also cuts at U+2028, U+0085, form feeds and the like."""
    return re.split(r"\r\n|\n|\r", text)


def _decode_lines(raw: bytes) -> tuple[str, list[int]]:
    lines, latin = [], []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            latin.append(number)
            lines.append(_latin(line))
    return "\n".join(lines), latin


def _latin(line: bytes) -> str:
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def read_table(path: Path, delimiter: str = ",") -> Table:
    """A CSV file with a header line. Raises `DataError` for an unclosed quote or a repeated or absent header."""
    text, note = read_text(path)
    numbered = _records(path, text, delimiter)
    header = tuple(name.strip() for name in next(numbered, (0, []))[1])
    if not header:
        raise DataError(f"{path.name}: the file is empty: a header line is needed")
    if len(set(header)) != len(header):
        raise DataError(f"{path.name}: a column name stands twice in the header: {', '.join(header)}")
    rows, ragged, broken = [], [], 0
    for number, cells in numbered:
        if len(cells) != len(header):
            ragged.append((number, len(cells)))
            continue
        broken += any("\n" in cell or "\r" in cell for cell in cells)
        rows.append((number, dict(zip(header, cells, strict=True))))
    if broken:
        note = f"{note or path.name + ':'}{';' if note else ''} {broken} rows with a line break inside quotes"
    return Table(header, tuple(rows), tuple(ragged), note)


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: {error}; look for a quote that is not closed") from None


def need_columns(columns: dict[str, str | None], header: tuple[str, ...], file: str, group: str = "data") -> None:
    """Raise `DataError` naming the config key of each column that the file does not have.

    `columns` maps the config key (`picture_column`) to the column's name; None asks for nothing.
    """
    absent = [
        f"{group}.{key}={column}" for key, column in columns.items() if column is not None and column not in header
    ]
    if absent:
        raise DataError(f"{file}: no such column: {', '.join(absent)}; the columns are {examples(header, 12)}")
