"""CSV files that people open in a spreadsheet: a text that the spreadsheet would take for a formula is made harmless.

A cell that begins with `= + - @`, a tab or a line break is run as a formula by Excel, LibreOffice and Google Sheets, whoever
wrote it (OWASP, "CSV Injection"). An apostrophe before it makes it a text there. Numbers stay as they are, negative ones too.
"""

from __future__ import annotations

import csv
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


def harmless(cell: Any) -> Any:
    """The cell; with an apostrophe before it where it is a text that a spreadsheet would run."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(RISKY) and not is_number(cell) else cell


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()


class PeopleWriter:
    """A CSV writer whose rows a spreadsheet shows as they are."""

    def __init__(self, stream: Any, lineterminator: str = "\r\n") -> None:
        self._writer = csv.writer(stream, lineterminator=lineterminator)

    def writerow(self, row: Iterable[Any]) -> None:
        """Write one row."""
        self._writer.writerow([harmless(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write many."""
        for row in rows:
            self.writerow(row)
