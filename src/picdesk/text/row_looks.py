"""Whether a line inside a quoted cell is a row that a stray quote swallowed, or a line of a text: by the looks of the rows."""

import csv
import re
from collections import Counter
from collections.abc import Sequence

FILE = re.compile(r"[^\n\r\"]*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}")


class Looks:
    """How the rows of a file look: their width, and the shape of the cells in columns that hold names, not prose.

    `rows` are cells, the header first; those with a line break inside say nothing. A line is a row by its width and by the
    columns of file names, where there are such; else by all columns of names. Where no column holds names, the width alone
    counts, if no space follows the delimiters (as it does in prose) or the header has such spaces itself. Lines with more
    cells than the header are rows too where they begin with a name as the rows do. In a file that quotes each row's first
    cell (`quoted`), only a line that begins with a quote is a row.
    """

    def __init__(
        self, rows: Sequence[Sequence[str]], delimiter: str, spaced: bool = False, quoted: bool = False
    ) -> None:
        self.delimiter = delimiter
        self.spaced = spaced
        self.quoted = quoted
        self.width = len(rows[0]) if rows else 0
        self.shapes: dict[int, set[str]] = {}
        full = [cells for cells in rows[1:] if len(cells) == self.width]
        for column in range(self.width):
            named = Counter(
                shape_of(cells[column]) for cells in full if not re.search(r"[\r\n]", cells[column].strip())
            )
            count = named.total()
            if count and named.pop("", 0) * 10 <= count:
                shapes = {shape for shape, times in named.items() if times >= (max(2, count / 50) if count > 3 else 1)}
                if count > 3 or _is_strong(shapes):  # a few words may be short texts
                    self.shapes[column] = shapes
        self.files = {
            column: shapes for column, shapes in self.shapes.items() if shapes and all("." in s for s in shapes)
        }

    @classmethod
    def of_lines(cls, lines: Sequence[str], delimiter: str) -> "Looks":
        """By the lines of a file whose rows are not known yet."""
        full = [line for line in lines if line.strip()]
        cells = [line.rstrip("\r\n").split(delimiter) for line in full]
        return cls(cells, delimiter, spaced=_is_spaced(cells[0]) if cells else False)

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[int, list[str]]], lines: Sequence[str], delimiter: str) -> "Looks":
        """By rows that were read by the rules of CSV, each with the number of its last line."""
        full = [cells for _, cells in rows if any(map(str.strip, cells))]
        first = next((line for line in lines if line.strip()), "")
        starts = [lines[number] for number, _ in [(0, []), *rows[:-1]] if number < len(lines) and lines[number].strip()]
        quoted = len(starts) > 1 and all(line.startswith('"') for line in starts)
        return cls(full, delimiter, _is_spaced(first.split(delimiter)), quoted)

    def cells(self, line: str) -> list[str]:
        """The line cut at each delimiter, whatever the quotes."""
        return line.rstrip("\r\n").split(self.delimiter)

    def are_rows(self, first: str, lines: Sequence[str]) -> bool:
        """Whether the lines inside a quoted cell that opens in the line `first` are rows by their looks.

        Half of them must look so, or one where the rows begin with a file's name. A quote that opens the row swallows rows
        only if its line is a whole one: the cells behind the closing quote make a row's width in any case.
        """
        opened = len(next(csv.reader([first], delimiter=self.delimiter, skipinitialspace=self.spaced), [])) - 1
        if opened == 0 and self.width > 1 and not self.like_a_row(first):
            return False
        full = [line for line in lines if line.strip()]
        alike = sum(map(self.like_a_row, full))
        return alike > 0 and (bool(self.files) or 2 * alike >= len(full))

    def like_a_row(self, line: str) -> bool:
        """Whether the line looks as the rows of the file do."""
        cells = self.cells(line)
        if not line.strip() or (self.quoted and not line.startswith('"')):
            return False
        if self.width < 2:
            return self.width == 1
        if len(cells) != self.width:
            return len(cells) > self.width and _is_strong(self.shapes.get(0, ())) and self._fits(cells, (0,))
        if self.files:
            return all(shape_of(cells[column]) in shapes for column, shapes in self.files.items())
        if any(map(_is_strong, self.shapes.values())):
            return all(shape_of(cells[column]) in shapes for column, shapes in self.shapes.items())
        return self._fits(cells, self.shapes)

    def _fits(self, cells: Sequence[str], columns: Sequence[int] | dict[int, set[str]]) -> bool:
        """Whether the cells in these columns have the file's shapes, and no space or end as in prose follows the delimiter."""
        prose = self.delimiter != "\t" and not self.spaced and any(cell[:1] in ("", " ") for cell in cells[1:2])
        return not prose and all(shape_of(cells[column]) in self.shapes[column] for column in columns)


def _is_spaced(cells: Sequence[str]) -> bool:
    return any(cell[:1] == " " for cell in cells[1:])


def _is_strong(shapes: set[str] | tuple[()]) -> bool:
    """Whether names of these shapes are seldom words: they hold digits or dots."""
    return bool(shapes) and all("0" in shape or "." in shape for shape in shapes)


def shape_of(cell: str) -> str:
    """`0_a.a` for `12b_left.jpg`, `*.a` for the name of a file with spaces; "" for anything else with a space, a quote or
    nothing, as prose has it."""
    name = cell.strip()
    if name.startswith('"') or name.endswith('"'):
        name = name.strip('"').strip()
    if not name or '"' in name or len(name) > 500:
        return ""
    if re.search(r"\s", name):
        return "*.a" if FILE.fullmatch(name) else ""
    return re.sub(r"[^\W_]+", lambda run: "0" if any(map(str.isdigit, run[0])) else "a", name)
