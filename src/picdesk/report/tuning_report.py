"""What an approximate index costs, as a table on the terminal, a CSV file, a PNG plot a direction and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.files import written_whole
from picdesk.interfaces import Direction
from picdesk.report import formats
from picdesk.report.charts import Chart, Point, Tradeoff
from picdesk.report.content import DIRECTION_NAMES, Fact, Note
from picdesk.report.measured_values import Column, Value
from picdesk.report.terminal import clean, console, print_table
from picdesk.text.cells import PeopleWriter

COLUMNS = (
    Column("recall@10", "recall@10 of exact", 4, bar=False),
    Column("hits@1", "hits@1", 4, bar=False),
    Column("hits@5", "hits@5", 4, bar=False),
    Column("hits@10", "hits@10", 4, bar=False),
    Column("p50_ms", "p50 ms", 3, "low", False),
    Column("p95_ms", "p95 ms", 3, "low", False),
    Column("p99_ms", "p99 ms", 3, "low", False),
    Column("queries_per_s", "queries/s", 0, bar=False),
    Column("index_mb", "MB", 1, "low", False),
)
ON_TERMINAL = ("recall@10", "hits@1", "hits@10", "p50_ms", "p95_ms", "p99_ms", "queries_per_s")


ENOUGH = 0.99  # of exact search's top 10, for a setting to be advised


@dataclass(frozen=True)
class TuningRow:
    """One setting of one index: `values` by column key; `front` if no other is both quicker (p50) and of higher recall."""

    index: str
    settings: str
    values: Mapping[str, float]
    front: bool = False

    @property
    def name(self) -> str:
        """What tells it from the others in a plot."""
        return self.settings or self.index


@dataclass(frozen=True)
class TuningTable:
    """All settings tried in one direction, exact search first."""

    direction: Direction
    rows: tuple[TuningRow, ...]
    queries: int
    gallery_size: int

    @property
    def title(self) -> str:
        """`Text to picture` or `Picture to text`."""
        return DIRECTION_NAMES[self.direction]

    @property
    def answer(self) -> str:
        """In a sentence: what to take, and what it costs. The first row is exact search."""
        exact, *others = self.rows
        ms = exact.values["p50_ms"]
        good = [row for row in others if row.values["recall@10"] >= ENOUGH and row.values["p50_ms"] < ms]
        spent = f"exact search takes {ms:.3g} ms a query"
        if not others:
            return f"{self.title}: {spent}; no other index was measured (task=tune_index index=hnsw measures another)."
        if not good:
            return (
                f"{self.title}: take exact search: no setting is quicker and finds {ENOUGH:.0%} of its top 10; {spent}."
            )
        best = min(good, key=lambda row: (row.values["p50_ms"], -row.values["recall@10"], row.name))
        told = f"{best.index} ({best.settings})" if best.settings else best.index
        return (
            f"{self.title}: take {told}: {best.values['p50_ms']:.3g} ms a query, {ms / best.values['p50_ms']:.1f} times as quick "
            f"as exact search, of whose top 10 it finds {best.values['recall@10']:.1%}; {spent}."
        )

    def charts(self) -> tuple[Tradeoff, Tradeoff]:
        """Recall of exact search, and hits@1, against the median time of a single query."""
        return self._chart("recall@10", "recall@10 of exact search"), self._chart("hits@1", "hits@1")

    def _chart(self, key: str, label: str) -> Tradeoff:
        points = tuple(Point(row.name, row.values["p50_ms"], row.values[key]) for row in self.rows)
        note = "Median of single queries. Joined: what no other setting beats on both."
        return Tradeoff(f"{self.title}: {key} and time", "ms a query (p50)", label, points, note=note)


@dataclass(frozen=True)
class TuningPage:
    """The page of `task=tune_index`."""

    title: str
    subtitle: str
    tables: tuple[TuningTable, ...]
    facts: tuple[Fact, ...] = ()
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()
    columns: tuple[Column, ...] = COLUMNS

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Both trade-offs of every direction."""
        return tuple(chart for table in self.tables for chart in table.charts())

    def value(self, row: TuningRow, column: Column) -> Value:
        """A cell."""
        return Value(row.values[column.key])


def print_tuning(tables: Sequence[TuningTable]) -> None:
    """Print each direction: a line a setting; those on the front are marked."""
    to = console()
    shown = [column for column in COLUMNS if column.key in ON_TERMINAL]
    for table in tables:
        to.print(clean(table.answer))
    to.print()
    for table in tables:
        to.print(clean(f"{table.title}: {table.queries:,} queries, gallery of {table.gallery_size:,}"), style="bold")
        lines = [
            [
                ("* " if row.front else "  ") + row.name,
                *(formats.number(row.values[column.key], column.digits) for column in shown),
            ]
            for row in table.rows
        ]
        header = ["setting (*: on the front)", *(column.label.removesuffix(" of exact") for column in shown)]
        print_table(header, lines, to, right=tuple(range(1, len(header))))
        to.print()


def write_tuning_csv(path: Path | str, tables: Sequence[TuningTable]) -> None:
    """A line a setting; numbers in the shortest form that reads back to the same bits."""
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = PeopleWriter(stream)
        writer.writerow(["direction", "index", "settings", "front", *(column.key for column in COLUMNS)])
        for table in tables:
            for row in table.rows:
                numbers = [row.values[column.key] for column in COLUMNS]
                writer.writerow([table.direction, row.index, row.settings, int(row.front), *numbers])
