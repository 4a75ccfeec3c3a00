"""Ranks of one kind besides those of a job's own table: as a table of the page, and as numbers of metrics.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from picdesk.evaluation.metrics import chance, metrics_of
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import Direction
from picdesk.report.content import MetricRow, MetricTable
from picdesk.report.measured_values import Value
from picdesk.retrieval.scores import Bars, Metrics


@dataclass(frozen=True)
class Told:
    """Tables for the page, and numbers for metrics.json; nothing where nothing was asked for."""

    tables: tuple[MetricTable, ...] = ()
    numbers: dict[str, object] | None = None


class Measures(Protocol):
    """Which metrics, and how error bars are drawn: those of a system."""

    @property
    def metrics(self) -> Metrics:
        """Names and cut-offs."""

    @property
    def bars(self) -> Bars:
        """How error bars are drawn."""


def told_of(
    system: Measures, direction: Direction, ranks: Ranks, name: str, note: str, of: str
) -> tuple[MetricTable, dict[str, object]]:
    """The table and the numbers of these ranks; `name` is that of the row, `of` what they are ranks of."""
    names, ks, by = system.metrics.names, system.metrics.ks, system.bars
    metrics = metrics_of(ranks, ks, names)
    bars = intervals(ranks, ks, by.resamples, by.seed, by.level, names=names)
    ends = {key: [one.low, one.high] for key, one in bars.items()}
    counts = ("queries", "gallery", "unfound")
    values = {key: Value(value, *ends.get(key, ())) for key, value in metrics.items() if key not in counts}
    expected = {key: Value(value) for key, value in chance(ranks, ranks.gallery_size, ks, names).items()}
    rows = (MetricRow(name, values, "main"), MetricRow("chance", expected, "baseline"))
    table = MetricTable(direction, rows, len(ranks.query_ids), ranks.gallery_size, note=note, of=of)
    return table, {"metrics": metrics, "intervals": ends}
