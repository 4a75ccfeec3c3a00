"""What a run scores: ranks, metrics and their intervals, by direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from picdesk.evaluation.joint import joint_intervals
from picdesk.evaluation.metrics import Ranks, chance, metrics_of, ranks_of_run
from picdesk.evaluation.significance import Difference, compare_all
from picdesk.evaluation.statistics import Interval, intervals
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.measures.listing import KS, LISTED, NAMES, check_metrics
from picdesk.measures.values import lists_tell
from picdesk.trec.runs import Qrels, Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bars:
    """How error bars are drawn: resamples of the pictures, the level of the intervals, the seed."""

    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Metrics:
    """Which metrics are reported, by name, and at which cut-offs; `measures.listing.check_metrics` refuses what is none."""

    names: tuple[str, ...] = NAMES
    ks: tuple[int, ...] = KS

    @classmethod
    def of(cls, names: Sequence[str], ks: Sequence[int], where: str = "metrics") -> Metrics:
        """Each name and cut-off once. Raises `ConfigError` for an unknown name, or for a cut-off that is no whole number."""
        return cls(*check_metrics(names, ks, where))


USUAL = Metrics()


@dataclass(frozen=True)
class Scored:
    """One direction of one system: its run, what is relevant, the ranks, the metrics and their intervals, and how many
    seconds search and reranking took for all queries together (building the index took `index_seconds`). `exact_hits` is the
    hits@1 of exact search over the same embeddings, where the index alone made the order. `names` and `ks` are the metrics that
    were asked for, and `listed` what the lists together say of the gallery (hubness)."""

    run: Run
    qrels: Qrels
    ranks: Ranks
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    seconds: float = 0.0
    exact_hits: float | None = None
    index_seconds: float = 0.0
    names: tuple[str, ...] = NAMES
    ks: tuple[int, ...] = KS
    listed: Mapping[str, float] = field(default_factory=dict)


def shorten_run(run: Run, depth: int) -> Run:
    """The first `depth` places of each list."""
    return replace(run, index=run.index[:, :depth], scores=run.scores[:, :depth]) if depth < run.depth else run


ByDirection = Mapping[Direction, Scored]


class Scores(dict[Direction, Scored]):
    """The scores of one system by direction; `bars` is how the intervals of `joint` are drawn."""

    def __init__(self, found: ByDirection | None = None, bars: Bars | None = None) -> None:
        super().__init__(found or {})
        self.bars = bars or Bars()

    @property
    def hits(self) -> float:
        """Mean of hits@1 over the directions there are."""
        return mean_hits(list(self.values()))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics by direction, as `metrics.json` has them."""
        return {direction: dict(one.metrics) for direction, one in in_order(self)}

    @property
    def joint(self) -> dict[str, Interval]:
        """The metrics over both directions that were asked for (`rsum`, `mean_recall`), by key, with their intervals."""
        return joint_of(self, self.bars)

    def table(self) -> str:
        """The metrics with their intervals and what chance would give, as a Markdown table a direction."""
        tables = [table_of(direction, one) for direction, one in in_order(self)]
        joint = [f"| {name} | {value} |" for name, value in self.joint.items()]
        return "\n\n".join([*tables, *(["\n".join(["| both directions | |", "|---|---|", *joint])] if joint else [])])

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row a metric: direction, metric, value, low, high."""
        import pandas as pd

        rows = [
            {"direction": direction, "metric": name, "value": value, **ends_of(one, name)}
            for direction, one in in_order(self)
            for name, value in one.metrics.items()
        ]
        for name, joint in self.joint.items():
            ends = {"low": joint.low, "high": joint.high}
            rows.append({"direction": "both", "metric": name, "value": joint.value, **ends})
        return pd.DataFrame(rows, columns=["direction", "metric", "value", "low", "high"])


def ends_of(one: Scored, name: str) -> dict[str, float | None]:
    """The ends of a metric's interval, where it has one."""
    interval = one.intervals.get(name)
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}


def table_of(direction: Direction, one: Scored) -> str:
    """One direction as a Markdown table: every metric that is known, with its interval where it has one."""
    expected = chance(one.qrels, one.run.gallery_size, one.ks, one.names)
    lines = [
        f"| {direction} | {len(one.qrels.query_ids):,} queries over {one.run.gallery_size:,} | chance |",
        "|---|---|---|",
    ]
    for name, value in one.metrics.items():
        if name not in ("queries", "gallery"):
            ends = one.intervals.get(name)
            alone = str(value) if isinstance(value, int) else f"{value:.3f}"  # unfound is a count
            shown = f"{value:.3f} [{ends.low:.3f}, {ends.high:.3f}]" if ends else alone
            by_chance = f"{expected[name]:.3f}" if name in expected else ""
            lines.append(f"| {name} | {shown} | {by_chance} |")
    return "\n".join(lines)


def score(direction: Direction, run: Run, qrels: Qrels, bars: Bars, metrics: Metrics = USUAL) -> Scored:
    """Ranks, metrics and intervals of one run."""
    ranks, names, ks = ranks_of_run(run, qrels, direction), metrics.names, metrics.ks
    ends = intervals(ranks, ks, resamples=bars.resamples, seed=bars.seed, level=bars.level, names=names)
    told = LISTED.items() if lists_tell(run.index, run.gallery_size) else ()
    listed = {name: one.of_lists(run.index, run.gallery_size) for name, one in told}
    found = metrics_of(ranks, ks, names) | {name: value for name, value in listed.items() if name in names}
    return Scored(run, qrels, ranks, found, ends, names=names, ks=ks, listed=listed)


def joint_of(scored: ByDirection, bars: Bars) -> dict[str, Interval]:
    """The metrics over both directions that were asked for, by key."""
    one = next(iter(scored.values()), None)
    if one is None:
        return {}
    asked = [(own.ranks, pictures_of(direction, own.qrels)) for direction, own in scored.items()]
    return joint_intervals(asked, one.names, one.ks, bars.resamples, bars.seed, bars.level)


def differences_of(one: ByDirection, other: ByDirection, bars: Bars) -> dict[Direction, dict[str, Difference]]:
    """`one` less `other` on the same queries, paired by picture, by the direction of `one` and by metric; one family of all.

    Raises `DataError` where the two cannot be compared.
    """
    pairs = {direction: (own.ranks, other[direction].ranks) for direction, own in one.items()}
    about = {direction: pictures_of(direction, own.qrels) for direction, own in one.items()}
    first = next(iter(one.values()))
    return compare_all(pairs, about, first.ks, bars.resamples, bars.seed, bars.level, first.names)


def pictures_of(direction: Direction, qrels: Qrels) -> tuple[str, ...]:
    """The picture that each query is about: itself, or its own (`Qrels.subjects`)."""
    if direction == "i2t":
        return qrels.query_ids
    return tuple(qrels.item_ids[i] for i in qrels.subjects)


def flat_metrics(scored: ByDirection) -> dict[str, float]:
    """`t2i/hits@1`, ... for loggers, each with the ends of its interval (`t2i/hits@1_low`, `_high`), and `hits@1`, the mean of
    both directions."""
    named = {f"{direction}/{name}": value for direction in scored for name, value in scored[direction].metrics.items()}
    for direction, one in scored.items():
        for name, interval in one.intervals.items():
            named[f"{direction}/{name}_low"], named[f"{direction}/{name}_high"] = interval.low, interval.high
    named["hits@1"] = mean_hits(list(scored.values()))
    return named


def mean_hits(scored: Sequence[Scored]) -> float:
    """Mean of hits@1 over the directions there are."""
    return float(np.mean([one.metrics["hits@1"] for one in scored]))


def in_order(scored: ByDirection) -> list[tuple[Direction, Scored]]:
    """t2i before i2t."""
    return [(direction, scored[direction]) for direction in DIRECTIONS if direction in scored]
