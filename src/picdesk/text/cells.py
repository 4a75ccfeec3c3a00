"""CSV files that are written here, and those of them that people open in a spreadsheet, without formulas.

A cell that begins with `= + - @`, a tab or a line break is run as a formula by Excel, LibreOffice and Google Sheets, whoever
wrote it (OWASP, "CSV Injection"). An apostrophe before it makes it a text there. So it does inside a cell, behind what begins one
in a spreadsheet that cuts at semicolons or tabs, as Excel does in half of Europe: to it a quote behind a comma is none, and one
behind a semicolon begins a cell that goes on after it.
Numbers stay as they are, negative ones too.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

RISKY = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "＝",
    "＋",
    "－",
    "＠",
)  # the last four: full width, taken for the first ones
INSIDE = re.compile(r"([;\t\r\n]\"*)(?=[=+\-@＝＋－＠])")


def harmless(cell: Any) -> Any:
    """The cell; with an apostrophe before it, or before what a spreadsheet may cut off of it, where that would be run."""
    if not isinstance(cell, str) or is_number(cell):
        return cell
    inside = INSIDE.sub(r"\1'", cell)
    return f"'{inside}" if cell.startswith(RISKY) else inside


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()


class CsvWriter:
    """A CSV writer that puts line breaks of all kinds into quotes, whatever ends its own lines: the library's writer leaves those
    as they are that its line ends do not hold (Python 3.11), and a row that holds one is cut in two when it is read."""

    def __init__(self, stream: Any, lineterminator: str = "\r\n") -> None:
        self._stream = stream
        self._end = lineterminator

    def writerow(self, row: Iterable[Any]) -> None:
        """Write one row."""
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)
        self._stream.write(line.getvalue().removesuffix("\r\n") + self._end)

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write many."""
        for row in rows:
            self.writerow(row)


class PeopleWriter(CsvWriter):
    """A CSV writer whose rows a spreadsheet shows as they are."""

    def writerow(self, row: Iterable[Any]) -> None:
        """Write one row."""
        super().writerow([harmless(cell) for cell in row])
