"""What a report page shows, as plain values. Pipelines fill these in; the page knows nothing of torch, hydra or faiss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from picdesk.interfaces import Direction
from picdesk.report import formats
from picdesk.report.charts import Chart
from picdesk.report.measured_values import METRICS as METRICS
from picdesk.report.measured_values import Column as Column
from picdesk.report.measured_values import Value as Value
from picdesk.report.measured_values import columns_of as columns_of

Role = Literal["main", "other", "baseline"]
Shown = Direction | Literal["both"]
REPEATED = "recall@k is hits@k here: each query has one relevant item"
DIRECTION_NAMES: dict[Shown, str] = {
    "t2i": "Text to picture",
    "i2t": "Picture to text",
    "both": "Both directions",
}


@dataclass(frozen=True)
class MetricRow:
    """One system of a metric table: `values` by column key; `role` says which row the page speaks about."""

    name: str
    values: Mapping[str, Value]
    role: Role = "other"


@dataclass(frozen=True)
class MetricTable:
    """The metrics of one direction, or of both. Columns in which no row has a value are not shown; `columns` None: those of
    the metrics that there are."""

    direction: Shown
    rows: tuple[MetricRow, ...]
    queries: int
    gallery_size: int
    columns: tuple[Column, ...] | None = None
    note: str = ""
    of: str = ""

    @property
    def title(self) -> str:
        """`Text to picture` or `Picture to text`, and of what, where it is not the job's own data."""
        return f"{DIRECTION_NAMES[self.direction]}, {self.of}" if self.of else DIRECTION_NAMES[self.direction]

    @property
    def filled_columns(self) -> tuple[Column, ...]:
        """Columns that at least one row fills."""
        columns = columns_of(key for row in self.rows for key in row.values) if self.columns is None else self.columns
        return tuple(column for column in columns if any(column.key in row.values for row in self.rows))

    @property
    def distinct(self) -> tuple[Column, ...]:
        """The columns shown, less each recall@k that says the same as hits@k in every row."""
        return tuple(column for column in self.filled_columns if not self._repeats(column))

    @property
    def remark(self) -> str:
        """What is said of the columns that are left out of `distinct`."""
        return REPEATED if len(self.distinct) < len(self.filled_columns) else ""

    def _repeats(self, column: Column) -> bool:
        twin = column.key.replace("recall@", "hits@")
        pairs = ((row.values.get(column.key), row.values.get(twin)) for row in self.rows)
        return twin != column.key and all(formats.cell(one, column) == formats.cell(two, column) for one, two in pairs)


@dataclass(frozen=True)
class Fact:
    """One thing that was run: name and value, copyable. `wide` gives it a line of its own (a command, a path)."""

    name: str
    value: str
    wide: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence for the reader; `warning` for what they must know before they trust a number, `loud` for what stands in large
    letters."""

    text: str
    warning: bool = False
    loud: bool = False


@dataclass(frozen=True)
class Item:
    """A gallery item as shown: `text` of a text, `picture` (its picture id) of a picture; rank counts from 1.

    `file` is where the picture lies, as far as that is known; `details` are the other columns that the data set has of it
    (credit, source).
    """

    id: str
    text: str = ""
    picture: str = ""
    score: float | None = None
    rank: int | None = None
    relevant: bool = False
    file: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call the picture: its file's name, or its id."""
        return PurePath(self.file).name if self.file else self.id


@dataclass(frozen=True)
class Ranking:
    """What one run found for a query, best first, and the rank of the first relevant item (None: not known)."""

    found: tuple[Item, ...]
    rank: int | None = None
    name: str = ""


@dataclass(frozen=True)
class QueryCard:
    """One query: its text or its picture, what is relevant to it (empty: not known), and one ranking or several beside
    each other."""

    id: str
    direction: Direction
    rankings: tuple[Ranking, ...]
    text: str = ""
    picture: str = ""
    truth: tuple[Item, ...] = ()
    note: str = ""

    @property
    def outcome(self) -> Literal["hit", "miss", "unknown"]:
        """`hit` if the first ranking has a relevant item on top."""
        rank = self.rankings[0].rank if self.rankings else None
        return "unknown" if rank is None else "hit" if rank == 1 else "miss"


@dataclass(frozen=True)
class CardGroup:
    """Query cards under one heading, such as the worst misses of one direction."""

    title: str
    cards: tuple[QueryCard, ...]
    note: str = ""


@dataclass(frozen=True)
class Slice:
    """One part of the queries (texts of 5 to 8 words, ...), how many there are, the metric over them, and how far that is from
    the metric over the rest, with p corrected for all parts of the table."""

    name: str
    queries: int
    value: Value
    less_rest: Value | None = None
    p: float | None = None


@dataclass(frozen=True)
class SliceTable:
    """One metric over parts of the queries, beside the metric over all of them and the mean over the parts (`macro`)."""

    title: str
    metric: Column
    slices: tuple[Slice, ...]
    overall: Value
    note: str = ""
    macro: Value | None = None


@dataclass(frozen=True)
class VerdictTable:
    """Whether reported numbers were had again: (metric, reported, measured, difference, verdict) a row."""

    summary: str
    good: bool
    rows: tuple[tuple[str, ...], ...]
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class JobPage:
    """The page of one job. Empty parts are left out. `files` are names of files beside the page.

    Two jobs side by side are this page too: a row each in the tables, and cards with a ranking of each, for the queries
    that one wins and the other loses.
    """

    title: str
    subtitle: str
    task: str
    facts: tuple[Fact, ...] = ()
    tables: tuple[MetricTable, ...] = ()
    training: tuple[Chart, ...] = ()
    weights: tuple[Chart, ...] = ()
    ranks: tuple[Chart, ...] = ()
    groups: tuple[CardGroup, ...] = ()
    slices: tuple[SliceTable, ...] = ()
    notes: tuple[Note, ...] = ()
    next_steps: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    verdict: VerdictTable | None = None


@dataclass(frozen=True)
class RetrievalPage:
    """The page of `retrieve.py`: what was found for each query."""

    title: str
    subtitle: str
    cards: tuple[QueryCard, ...]
    facts: tuple[Fact, ...] = ()
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def pictures(self) -> int:
        """How many pictures the page shows, those that stand in several rankings once for each."""
        return sum(bool(item.picture) for card in self.cards for ranking in card.rankings for item in ranking.found)


@dataclass(frozen=True)
class FoundGroup:
    """One kind of trouble in a data set: how often, what is done, the first items, and pictures that belong side by side."""

    kind: str
    count: int
    action: str
    items: tuple[str, ...]
    together: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class CheckPage:
    """The page of `task=check`."""

    title: str
    subtitle: str
    groups: tuple[FoundGroup, ...]
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeaderRow:
    """One job of a sweep: what differs in its config, its metrics, the page it left (a path relative to this page), and
    how it stands to the best after the correction for many comparisons."""

    name: str
    params: Mapping[str, str]
    values: Mapping[str, Value]
    page: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class SweepPage:
    """The page of a sweep, rows best first. `failures` are (job, reason) pairs; `best_config` is ready to paste."""

    title: str
    subtitle: str
    rows: tuple[LeaderRow, ...]
    columns: tuple[Column, ...] = METRICS
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    best_config: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()
    over_seeds: "SweepPage | None" = None
    next_steps: tuple[str, ...] = ()

    @property
    def filled_columns(self) -> tuple[Column, ...]:
        """Columns that at least one row fills."""
        return tuple(column for column in self.columns if any(column.key in row.values for row in self.rows))

    @property
    def params(self) -> tuple[str, ...]:
        """Config keys that differ, in the order of first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.params))

    def column_values(self, column: Column) -> list[Value]:
        """Every value of one column."""
        return [row.values[column.key] for row in self.rows if column.key in row.values]
