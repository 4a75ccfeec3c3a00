"""Tables for the terminal: metrics and retrieved items. Piped, they are plain Markdown of at most 100 columns."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from picdesk.report import formats
from picdesk.report.content import Column, MetricRow, MetricTable, QueryCard, Ranking, SweepPage
from picdesk.text.lines import UNPRINTABLE

PIPED_WIDTH = 100


@dataclass(frozen=True)
class Grid:
    """A table to print: header, lines of as many texts, a style for each column, and which columns stand to the right."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    styles: Sequence[str]
    right: tuple[int, ...] = ()


def console(stream: TextIO | None = None) -> Console:
    """Console on `stream` (standard output): colours on a terminal; plain, and no wider than 100 columns, when piped."""
    stream = sys.stdout if stream is None else stream
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(
        file=stream, width=PIPED_WIDTH, color_system=None, highlight=False, emoji=False, force_terminal=False
    )


def print_metrics(tables: Sequence[MetricTable], to: Console | None = None) -> None:
    """Print each direction: a line a metric, a column a system, cells like `0.412 [0.391, 0.434]`.

    Systems that would not fit beside each other follow in a table of their own.
    """
    to = to or console()
    for table in tables:
        to.print(clean(f"{table.title}: {table.queries:,} queries, gallery of {table.gallery_size:,}"), style="bold")
        for rows in _abreast(table, to.width):
            _print_grid(_metric_grid(table.distinct, rows), to)
        if table.remark:
            to.print(table.remark, style="dim")
        if table.note:
            to.print(clean(table.note), style="dim")
        to.print()


def print_retrieval(cards: Iterable[QueryCard], to: Console | None = None) -> None:
    """Print what was found for each query: rank, score, id, title; a relevant item is marked."""
    to = to or console()
    for card in cards:
        to.print(clean(f"{card.id}: {card.text}" if card.text else card.id), style="bold", overflow="fold")
        for ranking in card.rankings:
            _print_grid(_ranking_grid(ranking), to)
            if ranking.rank is not None:
                to.print(clean(f"{ranking.name} first relevant: {formats.rank(ranking.rank)}".strip()), style="dim")
        to.print()


def print_leaderboard(page: SweepPage, to: Console | None = None) -> None:
    """Print a sweep, best first: job, what differs, and as many metrics with their intervals as fit; failures."""
    to = to or console()
    columns = [["job", *(row.name for row in page.rows)]]
    columns += [[name, *(row.params.get(name, formats.NOTHING) for row in page.rows)] for name in page.params]
    for place, column in enumerate(page.filled_columns):
        texts = [formats.cell(row.values.get(column.key), column) for row in page.rows]
        wider = [*columns, [column.label, *texts]]
        if place == 0 or sum(max(map(cell_len, each)) + 3 for each in wider) < to.width:
            columns = wider
    header, *lines = (list(line) for line in zip(*columns, strict=True))
    if lines:
        _print_grid(Grid(header, lines, [""] * len(header)), to)
    for name, reason in page.failures:
        to.print(clean(f"failed: {name}: {reason}"), style="red")


def print_table(
    header: Sequence[str], lines: Sequence[Sequence[str]], to: Console, right: tuple[int, ...] = ()
) -> None:
    """Print lines of texts under their headings; the columns of `right` stand to the right."""
    _print_grid(Grid(header, lines, [""] * len(header), right), to)


def clean(text: str) -> Text:
    """Text as it stands: no markup is read in it, and control characters, which could drive a terminal, become spaces."""
    return Text(UNPRINTABLE.sub(" ", text))


def _abreast(table: MetricTable, width: int) -> list[list[MetricRow]]:
    label = max((len(column.label) for column in table.filled_columns), default=0) + 4
    cells = [
        [formats.cell(row.values.get(column.key), column) for column in table.filled_columns] for row in table.rows
    ]
    widths = [max([len(row.name), *map(len, texts)]) + 3 for row, texts in zip(table.rows, cells, strict=True)]
    groups: list[list[MetricRow]] = []
    room = 0
    for row, needed in zip(table.rows, widths, strict=True):
        if not groups or needed > room:
            groups.append([])
            room = width - label
        groups[-1].append(row)
        room -= needed
    return groups


def _metric_grid(columns: Sequence[Column], rows: Sequence[MetricRow]) -> Grid:
    styles = ["", *({"main": "bold green", "baseline": "dim"}.get(row.role, "") for row in rows)]
    lines = [[column.label, *(formats.cell(row.values.get(column.key), column) for row in rows)] for column in columns]
    return Grid(["metric", *(row.name for row in rows)], lines, styles)


def _ranking_grid(ranking: Ranking) -> Grid:
    titles = any(item.text for item in ranking.found)
    lines = [
        [formats.number(item.rank, 0), formats.number(item.score, 4), "*" if item.relevant else "", item.id, item.text]
        for item in ranking.found
    ]
    return Grid(
        ["rank", "score", "", "id", "title"] if titles else ["rank", "score", "", "id"],
        lines if titles else [line[:-1] for line in lines],
        ["", "", "bold green", "", ""][: 5 if titles else 4],
        right=(0, 1),
    )


def _print_grid(grid: Grid, to: Console) -> None:
    """Markdown when piped; the same columns without its bars on a terminal. The last column gives way to the width."""
    lines = [[clean(text).plain for text in line] for line in [grid.header, *grid.lines]]
    if not to.is_terminal:
        lines = [[text.replace("|", r"\|") for text in line] for line in lines]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(grid.header))]
    between = 2 if to.is_terminal else 3
    widths[-1] = max(8, min(widths[-1], to.width - sum(widths[:-1]) - between * len(widths) - (not to.is_terminal)))
    for place, line in enumerate(lines):
        texts = [_fit(text, widths[i], i in grid.right) for i, text in enumerate(line)]
        to.print(
            _line(texts, ["dim"] * len(texts) if place == 0 else grid.styles, to.is_terminal),
            overflow="ignore",
            no_wrap=True,
            crop=False,
        )
        if place == 0 and not to.is_terminal:
            to.print(
                "|" + "|".join("-" * (width + 2) for width in widths) + "|",
                markup=False,
                overflow="ignore",
                no_wrap=True,
                crop=False,
            )


def _line(texts: Sequence[str], styles: Sequence[str], terminal: bool) -> Text:
    parts = [Text(text, style) for text, style in zip(texts, styles, strict=True)]
    line = Text("  ").join(parts) if terminal else Text("| ") + Text(" | ").join(parts) + Text(" |")
    if terminal:
        line.rstrip()
    return line


def _fit(text: str, width: int, right: bool) -> str:
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
