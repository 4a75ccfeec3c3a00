"""A CSV file with a header: its columns by name, and what was odd about it."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.errors import ConfigError, DataError, UserError, examples
from picdesk.text.files import read_text
from picdesk.text.rows import Row, split_rows

DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
TRIED = (",", "\t", ";", "|")
SEPARATOR = re.compile(r'(\s*)"?sep=([^\r\n"])"?[ \t,;]*(?=[\r\n])', re.IGNORECASE)  # Excel's own first line
LOOKED_THROUGH = 20  # lines in which a header is looked for that is not the first
Wanted = Iterable[str] | Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Table:
    """Header and rows of a CSV file, each row with the number of its last line; rows of a wrong width are in `ragged`.

    `hint` says where the wanted columns stand, if not in the first line.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    ragged: tuple[tuple[int, int], ...]
    note: str
    hint: str = ""

    def unused_rows(self, file: str) -> list[tuple[str, str]]:
        """Each row of a wrong width: where it is, and why it is not used."""
        width = len(self.header)
        return [(f"{file} line {line}", f"{cells} cells for {width} columns") for line, cells in self.ragged]


def delimiter_named(value: str, key: str = "data.delimiter") -> str:
    """The character that a config value means: itself, or `tab`, `\\t`, `comma`, `semicolon`, `pipe`; `auto` stays."""
    found = DELIMITERS.get(value.strip().lower() or value, value)
    if found != "auto" and (len(found) != 1 or found in '\r\n"'):
        raise ConfigError(f"{key}={value!r}: one character is needed, such as ',' or ';' or tab, or auto")
    return found


def read_table(
    path: Path,
    delimiter: str = ",",
    quoting: str = "auto",
    encoding: str | None = None,
    wanted: Wanted = (),
    key: str | None = "data.encoding",
    recover: bool = True,
) -> Table:
    """A CSV file with a header line. Raises `DataError` for a repeated or absent header, and without `recover` for a quote
    that would swallow rows.

    `delimiter="auto"` takes the first of comma, tab, semicolon and bar that gives the `wanted` columns. Empty cells and
    names behind the last column, and rows without any content, are no rows and no cells; the note counts them. Nor is the
    header where it stands again, of several columns, as in files put one behind the other. A first line `sep=;`, as Excel has
    it, is no row: it says the delimiter where none is given.
    """
    text, odd = read_text(path, encoding, key)
    notes = [odd] if odd else []
    if not callable(wanted):
        wanted = tuple(wanted)
    declared = SEPARATOR.match(text)
    if declared:
        text = declared[1] + text[declared.end() :]
        notes.append(f"{path.name}: the first line, sep={declared[2]}, is a spreadsheet's and no row")
        if delimiter in ("auto", ",") and declared[2] in _first(text):
            delimiter = declared[2]
            notes += [f"{path.name}: split at each {_delimiter_name(delimiter)}"] if delimiter != "," else []
    if delimiter == "auto":
        delimiter = _delimiter(text, wanted)
        notes += [f"{path.name}: split at each {_delimiter_name(delimiter)}"] if delimiter != "," else []
    quoting_key = key and key.replace("encoding", "quoting")
    try:
        numbered, more = split_rows(path.name, text, delimiter, quoting, recover, int(declared is not None))
    except UserError as error:
        raise type(error)(name_quoting(str(error), quoting_key)) from None
    notes += [f"{path.name}: {name_quoting(note, quoting_key)}" for note in more]
    header = _header(path.name, numbered)
    rows, ragged, again, broken = [], [], [], 0
    for number, cells in numbered[1:]:
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(header) > 1 and header[0] in cells[0] and _names(cells) == header:
            again.append(number)
            continue
        if len(cells) != len(header):
            ragged.append((number, len(cells)))
            continue
        broken += any("\n" in cell or "\r" in cell for cell in cells)
        rows.append((number, dict(zip(header, cells, strict=True))))
    if again:
        told = f"{len(again)} rows are the header again, and no rows"
        notes.append(f"{path.name}: {told}: line {', '.join(map(str, again[:5]))}{', ...' if len(again) > 5 else ''}")
    notes += [f"{path.name}: {broken} rows with a line break inside quotes"] if broken else []
    return Table(header, tuple(rows), tuple(ragged), "; ".join(notes), _hint(text, header, wanted))


def name_quoting(told: str, key: str | None) -> str:
    """What `split_rows` tells, with the config key of this file in place of `data.quoting` (None: there is none)."""
    if key is not None:
        return told.replace("data.quoting", key)
    return re.sub(r" \([^()]*data\.quoting[^()]*\)|[;,] (or )?set data\.quoting=\w+", "", told)


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str.strip, cells))


def _header(file: str, numbered: list[Row]) -> tuple[str, ...]:
    header = _names(numbered[0][1]) if numbered else ()
    while header and not header[-1]:
        header = header[:-1]
    if not header:
        raise DataError(f"{file}: the file is empty: a header line is needed")
    twice = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if twice:
        raise DataError(
            f"{file}: a column name stands twice in the header: {examples(twice)} of {examples(header, 12)}"
        )
    return header


def _delimiter(text: str, wanted: Wanted) -> str:
    first = _first(text)
    return next((one for one in TRIED if _suits(wanted, _split(first, one))), ",")


def _first(text: str) -> str:
    return next((line for line in io.StringIO(text, newline="") if line.strip()), "")


def _split(line: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _suits(wanted: Wanted, header: Sequence[str]) -> bool:
    """Whether a header has the wanted columns; not where none is wanted."""
    if callable(wanted):
        return wanted(header)
    names = tuple(wanted)
    return bool(names) and all(name in header for name in names)


def _hint(text: str, header: Sequence[str], wanted: Wanted) -> str:
    """Where the wanted columns stand, if not in the first line."""
    if _suits(wanted, header):
        return ""
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if number > LOOKED_THROUGH:
            break
        if any(_suits(wanted, _split(line, one)) for one in TRIED) and line != _first(text):
            return f"line {number} has them; take out what stands before it"
    return ""


def _delimiter_name(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else repr(delimiter)


def need_columns(
    columns: dict[str, str | None],
    header: tuple[str, ...],
    file: str,
    group: str = "data",
    deep: bool = False,
    hint: str = "",
    named: bool = True,
    cut: bool = True,
) -> None:
    """Raise `DataError` naming the config key of each column that the file does not have.

    `columns` maps the config key (`picture_column`) to the column's name; None asks for nothing. With `deep` a name may
    lead into records (`sentences.raw`), so its first part is enough. `hint` is the table's. Not `named`: the columns have no
    config keys. Not `cut`: the file is no table that a delimiter cuts.
    """
    there = set(header)
    absent = [
        f"{group}.{key}={column}" if named else column
        for key, column in columns.items()
        if column is not None and column not in there and not (deep and column.split(".")[0] in there)
    ]
    if absent:
        told = f"{file}: no such column: {', '.join(absent)}; the columns are {examples(header, 12)}"
        asked = {part for column in columns.values() if column is not None for part in (column, column.split(".")[0])}
        split = [one for one in TRIED if cut and len(header) == 1 and asked & set(_split(header[0], one))]
        others = " or ".join(map(_delimiter_name, split))
        more = [hint] if hint else [f"is the delimiter {others}? ({group}.delimiter)"] if others else []
        raise DataError("; ".join([told, *more]))
