"""What a check of a data set found: counts, examples, what was done about it; for the terminal and as JSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, check_fraction

if TYPE_CHECKING:
    from rich.table import Table

Action = Literal["left out", "reported"]
MOST_LISTED = 1000


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: how many items have it, which, and whether they are left out or only reported.

    `together` are the ids of pictures that belong together (equal, or nearly so), one group an item.
    """

    kind: str
    action: Action
    items: tuple[str, ...]
    unit: str
    together: tuple[tuple[str, ...], ...] = ()

    @property
    def count(self) -> int:
        """Number of items that have it."""
        return len(self.items)


@dataclass(frozen=True)
class CheckReport:
    """Findings of one data set. `pictures` and `texts` hold the positions of those that are good, ascending.

    `rows_seen` counts the texts (pictures, where there are no texts) and what the reader left out.
    """

    name: str
    level: str
    pictures_seen: int
    texts_seen: int
    rows_seen: int
    pictures: NDArray[np.int64]
    texts: NDArray[np.int64]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def count(self, kind: str) -> int:
        """Number of items with one kind of trouble, 0 if there are none."""
        return sum(finding.count for finding in self.findings if finding.kind == kind)

    def bad(self, unit: str) -> int:
        """Number of bad pictures (`picture`), or of rows that the reader and the check left out (`row`)."""
        return sum(finding.count for finding in self.findings if finding.action == "left out" and finding.unit == unit)

    def bad_fraction(self) -> float:
        """The larger of bad pictures / pictures and rows left out / rows."""
        return max(self.bad("picture") / max(1, self.pictures_seen), self.bad("row") / max(1, self.rows_seen))

    def require(self, max_bad_fraction: float) -> None:
        """Raise `DataError` if more than this fraction of pictures or rows is bad, `ConfigError` if it is no fraction."""
        check_fraction("data.max_bad_fraction", max_bad_fraction)
        if self.bad_fraction() <= max_bad_fraction and len(self.pictures):
            return
        worst = [finding for finding in self.findings if finding.action == "left out"]
        first = "; ".join(f"{finding.count} {finding.kind}, first {finding.items[0]}" for finding in worst)
        counts = f"{self.bad('picture')} of {self.pictures_seen} pictures and {self.bad('row')} of {self.rows_seen} rows are bad"
        share = f"{self.bad_fraction():.3g} is above data.max_bad_fraction={max_bad_fraction:g}"
        raise DataError(f"data={self.name}: {counts}, {share}: {first}")

    @property
    def counts(self) -> str:
        """How many pictures and texts are used, of how many."""
        pictures, texts = (
            f"{len(self.pictures):,} of {self.pictures_seen:,}",
            f"{len(self.texts):,} of {self.texts_seen:,}",
        )
        return f"{pictures} pictures, {texts} texts are used"

    def to_json(self) -> dict[str, Any]:
        """As plain values; of each finding the first 1,000 items."""
        found = [
            {"kind": f.kind, "count": f.count, "action": f.action, "items": list(f.items[:MOST_LISTED])}
            for f in self.findings
        ]
        return {
            "data": self.name,
            "level": self.level,
            "pictures": {"seen": self.pictures_seen, "kept": len(self.pictures)},
            "texts": {"seen": self.texts_seen, "kept": len(self.texts)},
            "bad_fraction": self.bad_fraction(),
            "findings": found,
            "notes": list(self.notes),
        }

    def table(self) -> "Table":
        """For the terminal: a row a finding, with up to three examples."""
        from rich.table import Table
        from rich.text import Text

        title = Text(printable(f"data={self.name}: {self.counts} ({self.level} check)"))
        table = Table(title=title, title_justify="left")
        table.add_column("found", no_wrap=True)
        table.add_column("count", justify="right", no_wrap=True)
        table.add_column("what is done", no_wrap=True)
        table.add_column("for example")
        for finding in self.findings:
            shown = "\n".join(printable(item) for item in finding.items[:3])
            table.add_row(
                finding.kind, f"{finding.count:,}", finding.action, Text(shown, no_wrap=True, overflow="ellipsis")
            )
        for note in self.notes:
            table.add_row("note", "", "", Text(printable(note)))
        if not self.findings and not self.notes:
            table.add_row("nothing", "0", "", "")
        return table


def printable(text: str) -> str:
    """Names from data files with their control characters shown, so that they cannot write to the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
