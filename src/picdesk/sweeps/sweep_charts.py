"""The plots of a sweep: hits@1 over each swept number, a heat map for two of them, hits@1 against time a query.

Where numbers were drawn rather than stepped through (a random search), a point differs from the next in every number: no line
joins them, no map has their cells filled, and each plot says how far its number goes with hits@1 (Spearman's correlation).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from picdesk.interfaces import DIRECTIONS
from picdesk.jobs.found import DoneJob, short, value_of
from picdesk.report.charts import Chart, Curve, HeatMap, Point, Series, Tradeoff
from picdesk.report.formats import setting
from picdesk.sweeps.seeds import is_seed

MOST_MAPS = 3
LEAST_DRAWN = 6
BY_ITSELF = "Each interval holds for its point by itself; the best of many points is best partly by luck."


def charts(jobs: Sequence[DoneJob], keys: Sequence[str]) -> tuple[Chart, ...]:
    """A curve for each swept number, a heat map for each two (three at most), and the trade-off."""
    swept = [key for key in keys if is_number(jobs, key) and not is_seed(key)]
    drawn = {key for key in swept if len(swept) > 1 and is_drawn(jobs, key)}
    stepped = [key for key in swept if key not in drawn]
    maps = [heat_map(jobs, *pair) for pair in list(combinations(stepped, 2))[:MOST_MAPS]]
    points = sorted((scatter(jobs, key) for key in drawn), key=lambda found: (-abs(found[0]), found[1].title))
    return (*(curve(jobs, key) for key in stepped), *(chart for _, chart in points), *maps, *tradeoff(jobs))


def is_drawn(jobs: Sequence[DoneJob], key: str) -> bool:
    """Whether hardly two jobs share a value of a key, as when each value is drawn at random."""
    return len(jobs) >= LEAST_DRAWN and len({value_of(job, key) for job in jobs}) > 0.7 * len(jobs)


def scatter(jobs: Sequence[DoneJob], key: str) -> tuple[float, Curve]:
    """The mean hits@1 of every job over one number, and Spearman's correlation of the two."""
    from scipy.stats import spearmanr

    points = sorted((number(value_of(job, key)) or 0.0, job.hits) for job in jobs)
    xs, ys = (tuple(point[i] for point in points) for i in (0, 1))
    rho = float(spearmanr(xs, ys).statistic) if len(set(ys)) > 1 else 0.0
    note = (
        f"Each point is a job, which differs from the others in every number. Rank correlation with hits@1: {rho:+.2f}."
    )
    line = Series("mean of both directions", xs, ys, role="main")
    best = number(value_of(jobs[0], key))
    chart = Curve(
        *(f"hits@1 over {key}", key, "hits@1", (line,)),
        marked=best,
        mark_label="best",
        log_x=is_wide(xs),
        note=note,
        joined=False,
    )
    return rho, chart


def is_wide(xs: Sequence[float]) -> bool:
    """Whether numbers are spread so that a logarithmic axis shows them better."""
    return min(xs) > 0 and max(xs) / min(xs) >= 20


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
    shared = len(best) < len(jobs)
    return Curve(
        f"hits@1 over {key}",
        key,
        "hits@1",
        tuple(lines),
        marked=number(value_of(jobs[0], key)),
        mark_label="best",
        log_x=is_wide(xs),
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
    best = (ys.index(value_of(jobs[0], down)), xs.index(value_of(jobs[0], across)))
    names = [tuple(setting(value) for value in axis) for axis in (xs, ys)]
    return HeatMap(f"hits@1 over {across} and {down}", across, down, names[0], names[1], values, best=best)


def tradeoff(jobs: Sequence[DoneJob]) -> tuple[Tradeoff, ...]:
    """hits@1 against milliseconds a query, where the jobs were timed."""
    timed = [(job, job.milliseconds) for job in jobs]
    points = tuple(Point(short(job.name)[-24:], ms, job.hits) for job, ms in timed if ms)
    if len(points) < 2:
        return ()
    note = (
        "Search and reranking of all queries at once, divided by their number; building the index is not counted. Timed once, so "
        "times that differ by less than a quarter count as equal."
    )
    axes = ("hits@1 against time", "ms a query", "hits@1, mean of both directions")
    return (Tradeoff(*axes, points, note=note, noise=1.25),)
