"""The plots of a sweep: hits@1 over each swept number, a heat map for two of them, hits@1 against time a query."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from picdesk.interfaces import DIRECTIONS
from picdesk.jobs.found import DoneJob, short, value_of
from picdesk.report.charts import Chart, Curve, HeatMap, Point, Series, Tradeoff

MOST_MAPS = 3
BY_ITSELF = "Each interval holds for its point by itself; the best of many points is best partly by luck."


def charts(jobs: Sequence[DoneJob], keys: Sequence[str]) -> tuple[Chart, ...]:
    """A curve for each swept number, a heat map for each two (three at most), and the trade-off."""
    swept = [key for key in keys if is_number(jobs, key)]
    maps = [heat_map(jobs, *pair) for pair in list(combinations(swept, 2))[:MOST_MAPS]]
    return (*(curve(jobs, key) for key in swept), *maps, *tradeoff(jobs))


def is_number(jobs: Sequence[DoneJob], key: str) -> bool:
    """Whether every job has a number for the key, and there are at least two of them."""
    return len(jobs) > 1 and None not in (found := {number(value_of(job, key)) for job in jobs}) and len(found) > 1


def number(text: str) -> float | None:
    """The number that a value is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def curve(jobs: Sequence[DoneJob], key: str) -> Curve:
    """hits@1 of both directions over one number; where several jobs share it, the best of them by the leaderboard."""
    best: dict[float, DoneJob] = {}
    for job in jobs:
        best.setdefault(number(value_of(job, key)) or 0.0, job)
    xs = sorted(best)
    lines: list[Series] = []
    for direction in DIRECTIONS:
        parts = [best[x].metrics.get(direction) for x in xs]
        if None in parts:
            continue
        ys = tuple(float(part["metrics"]["hits@1"]) for part in parts if part)
        ends = [part["intervals"].get("hits@1", (y, y)) for part, y in zip(parts, ys, strict=True) if part]
        low, high = (tuple(float(end[i]) for end in ends) for i in (0, 1))
        lines.append(Series(direction, tuple(xs), ys, low, high, "main" if not lines else "other"))
    wide = xs[0] > 0 and xs[-1] / xs[0] >= 50
    shared = len(best) < len(jobs)
    return Curve(
        f"hits@1 over {key}",
        key,
        "hits@1",
        tuple(lines),
        marked=number(value_of(jobs[0], key)),
        mark_label="best",
        log_x=wide,
        bars=True,
        note=(
            f"Of the jobs with one value, the best is drawn, which flatters it. {BY_ITSELF}" if shared else BY_ITSELF
        ),
    )


def heat_map(jobs: Sequence[DoneJob], across: str, down: str) -> HeatMap:
    """Mean hits@1 over two numbers; where several jobs share a cell, the best of them by the leaderboard."""
    cells: dict[tuple[str, str], float] = {}
    for job in jobs:
        cells.setdefault((value_of(job, across), value_of(job, down)), job.hits)
    xs, ys = (sorted({cell[i] for cell in cells}, key=float) for i in (0, 1))
    values = tuple(tuple(cells.get((x, y)) for x in xs) for y in ys)
    return HeatMap(f"hits@1 over {across} and {down}", across, down, tuple(xs), tuple(ys), values)


def tradeoff(jobs: Sequence[DoneJob]) -> tuple[Tradeoff, ...]:
    """hits@1 against milliseconds a query, where the jobs were timed."""
    timed = [(job, job.milliseconds) for job in jobs]
    points = tuple(Point(short(job.name)[-24:], ms, job.hits) for job, ms in timed if ms)
    if len(points) < 2:
        return ()
    note = "Search and reranking of all queries at once, divided by their number; building the index is not counted."
    return (Tradeoff("hits@1 against time", "ms a query", "hits@1, mean of both directions", points, note=note),)
