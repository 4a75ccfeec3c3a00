"""What `task=tune_weights` found, and how it is told: the choice, the report beside the search alone, and a paired test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.assembly.session import Session
from picdesk.evaluation.significance import Difference
from picdesk.interfaces import Direction
from picdesk.pages.finish import Outcome
from picdesk.pages.weight_chart import weight_charts
from picdesk.report.content import Note
from picdesk.retrieval.scores import ByDirection, differences_of, mean_hits

Tests = Mapping[Direction, Mapping[str, Difference]]


@dataclass(frozen=True)
class Choosing:
    """By which metric of which direction, by which rule and on which part of the data something is chosen."""

    direction: Direction
    metric: str
    part: str
    rule: str

    @property
    def name(self) -> str:
        """`t2i/hits@1`."""
        return f"{self.direction}/{self.metric}"


@dataclass(frozen=True)
class Tuned:
    """What the sweep found: names of the rerankers, the points tried, the metric at each with its standard error, the choice."""

    names: tuple[str, ...]
    metric: str
    points: Sequence[tuple[float, ...]]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    chosen: int
    best: int

    @property
    def weights(self) -> dict[str, float]:
        """The chosen weights by reranker."""
        return dict(zip(self.names, self.points[self.chosen], strict=True))


def outcome_of(
    session: Session,
    by: Choosing,
    tuned: Tuned,
    before: ByDirection,
    after: ByDirection,
    weights: Mapping[str, str],
) -> Outcome:
    """What is reported: the search alone beside the chosen weights, and whether they really differ."""
    tests = differences_of(after, before, session.bars)
    shown = ", ".join(f"{name} {weight:g}" for name, weight in tuned.weights.items())
    highest = dict(zip(tuned.names, tuned.points[tuned.best], strict=True))
    told = (
        f"chosen on {by.part} by {tuned.metric} ({by.rule}): {shown}, "
        f"{tuned.values[tuned.chosen]:.4f} ± {tuned.errors[tuned.chosen]:.4f} (search alone {tuned.values[0]:.4f}, "
        f"highest {tuned.values[tuned.best]:.4f} at {', '.join(f'{name} {weight:g}' for name, weight in highest.items())}); of "
        f"{len(tuned.points):,} weights tried on the data that chose, so these values flatter"
    )
    notes = [Note(told), *difference_notes(tests, session.settings.part, "chosen weights less search alone")]
    found = {
        "weights": tuned.weights,
        "metric": tuned.metric,
        "rule": by.rule,
        "part": by.part,
        "value": float(tuned.values[tuned.chosen]),
        "standard_error": float(tuned.errors[tuned.chosen]),
        "search_alone": float(tuned.values[0]),
        "best_value": float(tuned.values[tuned.best]),
        "best_weights": highest,
    }
    extra = {"tuned": found, "less_search_alone": differences_json(tests), "search_alone": show_metrics(before)}
    return Outcome(
        systems=[("search alone", before, "other"), (f"reranked ({shown})", after, "main")],
        weights=weights,
        curves=weight_charts(tuned.names, tuned.points, tuned.values, tuned.errors, tuned.chosen, tuned.metric),
        notes=tuple(notes),
        extra=extra,
    )


def difference_notes(tests: Tests, part: str, what: str) -> list[Note]:
    """A line a direction: how far the two are apart in hits@1, and whether that can be luck."""
    said = []
    for direction, own in tests.items():
        one = own["hits@1"]
        said.append(
            Note(
                f"{direction} hits@1 on {part}, {what}: {one.interval.value:+.4f} [{one.interval.low:+.4f}, "
                f"{one.interval.high:+.4f}], p = {one.p_family:.4f} (paired randomisation, corrected for all metrics and "
                "directions)"
            )
        )
    return said


def differences_json(tests: Tests) -> dict[str, dict[str, list[float]]]:
    """Value, ends of the interval, p and corrected p of every difference, for metrics.json."""
    return {
        direction: {
            name: [d.interval.value, d.interval.low, d.interval.high, d.p, d.p_family] for name, d in own.items()
        }
        for direction, own in tests.items()
    }


def show_metrics(scored: ByDirection) -> dict[str, dict[str, float]]:
    """Metrics by direction, with the mean of hits@1."""
    return {direction: one.metrics for direction, one in scored.items()} | {
        "mean": {"hits@1": mean_hits(list(scored.values()))}
    }
