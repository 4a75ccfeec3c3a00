"""Jobs of a sweep that differ in their seed alone, put together: mean, spread, and an interval over seeds and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from picdesk.errors import DataError
from picdesk.evaluation.significance import in_order_of
from picdesk.evaluation.spread import Spread, over_draws, over_seeds_and_pictures
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.found import DoneJob, value_of
from picdesk.jobs.rankings import Rankings
from picdesk.report.content import LeaderRow
from picdesk.report.measured_values import Column, Value
from picdesk.retrieval.scores import Bars

MEANS = tuple(Column(f"{d}/hits@1", f"{d} hits@1, mean") for d in DIRECTIONS)
SEEDS = Column("seeds", "seeds", 0, "", False)
DRAWS = Column("draws", "draws of the split", 0, "", False)
DEVIATIONS = tuple(Column(f"{d}/sd", f"{d}, standard deviation", bar=False, better="") for d in DIRECTIONS)
SAME_QUERIES = (
    "The interval is over seeds and pictures: the variance of the seeds' means, and that of pictures, each query's hits@1 "
    "being averaged over the seeds first."
)
OTHER_QUERIES = (
    "Where the seed drew another split too, the jobs asked other queries: the interval is then over draws of the split, the "
    "seeds of each draw averaged first, with Nadeau and Bengio's correction for what draws share. It is left out where the sizes "
    "of the parts are not known, or where draws ran with different numbers of seeds. The standard deviation is that of the seeds "
    "on one draw, or of the draws where each ran with one seed."
)
IDLE = (
    "Where the standard deviation is 0 the seed changed nothing that is reported (a checkpoint that is only evaluated, say): "
    "such jobs say nothing of how fits differ."
)
ONCE = "What ran more than once with the same seeds is counted once."


@dataclass(frozen=True)
class OverSeeds:
    """A row for each setting that ran with several seeds, best mean first, how to read them, and what to mind ("": nothing)."""

    rows: tuple[LeaderRow, ...]
    note: str
    warning: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the table: draws of the split where there are several."""
        drawn = (DRAWS,) if any(DRAWS.key in row.values for row in self.rows) else ()
        return (*MEANS, SEEDS, *drawn, *DEVIATIONS)


def is_seed(key: str) -> bool:
    """Whether a config key says how chance falls, and nothing else: `seed`, `backbone.seed`."""
    return key.rpartition(".")[2] == "seed"


def over_seeds(jobs: Sequence[DoneJob], ranks: Mapping[str, Rankings], keys: Sequence[str]) -> OverSeeds:
    """The settings of which there are two jobs or more; `keys` are those that differ, `ranks` the rankings by job."""
    others = [key for key in keys if not is_seed(key)]
    drawn = [key for key in keys if is_seed(key)]
    groups: dict[tuple[str, ...], list[DoneJob]] = {}
    for job in jobs if drawn else ():
        groups.setdefault(tuple(value_of(job, key) for key in others), []).append(job)
    rows, notes, warning = [], [SAME_QUERIES], ""
    for setting, every in groups.items():
        own = distinct(every, drawn)
        if len(own) < 2:
            continue
        values = {SEEDS.key: Value(float(len(own)))}
        for direction in DIRECTIONS:
            values |= of_direction(direction, [ranks[job.name] for job in own], own)
        notes += [OTHER_QUERIES] if DRAWS.key in values else []
        deviations = [values[f"{d}/sd"].value for d in DIRECTIONS if f"{d}/sd" in values]
        warning = IDLE if deviations and not any(deviations) else warning
        notes += [ONCE] if len(own) < len(every) else []
        name = ", ".join(f"{key}={value}" for key, value in zip(others, setting, strict=True)) or "all jobs"
        rows.append(LeaderRow(name, {}, values))
    told = [key for key in (f"{d}/hits@1" for d in DIRECTIONS) if all(key in row.values for row in rows)]
    rows.sort(key=lambda row: -sum(row.values[key].value for key in told))
    return OverSeeds(tuple(rows), " ".join(dict.fromkeys(notes)), warning)


def distinct(jobs: Sequence[DoneJob], seeds: Sequence[str]) -> list[DoneJob]:
    """One job for each choice of seeds, the first by name: to run it again is no further draw of chance."""
    found: dict[tuple[str, ...], DoneJob] = {}
    for job in sorted(jobs, key=lambda job: job.name):
        found.setdefault(tuple(value_of(job, key) for key in seeds), job)
    return list(found.values())


def same_queries(direction: Direction, ranks: Sequence[Rankings]) -> bool:
    """Whether all jobs answered the same queries."""
    try:
        return bool([in_order_of(ranks[0][direction][0], one[direction][0]) for one in ranks])
    except (DataError, KeyError):
        return False


def of_direction(direction: Direction, ranks: Sequence[Rankings], jobs: Sequence[DoneJob]) -> dict[str, Value]:
    """Mean and standard deviation of hits@1 over the jobs, with the interval where it can be told, and what was drawn."""
    own = [job.numbers[direction]["hits@1"] for job in jobs if direction in job.numbers]
    if len(own) < len(jobs):
        return {}
    means = np.array([one.value for one in own])
    if same_queries(direction, ranks):
        first = ranks[0][direction][0]
        hits = [(in_order_of(first, one[direction][0]).first <= 1).astype(np.float64) for one in ranks]
        spread = over_seeds_and_pictures(np.array(hits), first.cluster, level_of(jobs[0]))
        return {f"{direction}/hits@1": within_one(spread), f"{direction}/sd": Value(spread.seeds or 0.0)}
    draws = by_queries(direction, ranks)
    counts = {SEEDS.key: Value(float(min(map(len, draws)))), DRAWS.key: Value(float(len(draws)))}
    share = tested_per_learned(jobs[0])
    if share is None or len(draws) < 2 or len({len(draw) for draw in draws}) > 1:
        return {f"{direction}/hits@1": Value(float(means.mean())), **counts}
    lengths = np.array([0.0 if one.low is None or one.high is None else one.high - one.low for one in own])
    spread = over_draws(means[np.array(draws)], lengths[np.array(draws)], share, level_of(jobs[0]))
    drawn = spread.draws if spread.seeds is None else spread.seeds
    apart = {} if drawn is None else {f"{direction}/sd": Value(drawn)}
    return {f"{direction}/hits@1": within_one(spread), **apart, **counts}


def within_one(spread: Spread) -> Value:
    """A mean with its interval, as far as a share can be."""
    return Value(spread.mean, max(0.0, spread.low), min(1.0, spread.high))


def level_of(job: DoneJob) -> float:
    """The level of a job's intervals; 95% where the job does not say."""
    try:
        level = float(job.manifest.settings.get("bootstrap.level", Bars.level))
    except ValueError:
        return Bars.level
    return level if 0 < level < 1 else Bars.level


def by_queries(direction: Direction, ranks: Sequence[Rankings]) -> list[list[int]]:
    """The jobs (positions) that answered the same queries together: one list for each draw of the split."""
    draws: dict[frozenset[str], list[int]] = {}
    for place, one in enumerate(ranks):
        asked = frozenset(one[direction][0].query_ids) if direction in one else frozenset[str]()
        draws.setdefault(asked, []).append(place)
    return list(draws.values())


def tested_per_learned(job: DoneJob) -> float | None:
    """Pictures of the test part for each of the train part, where the split draws them by shares."""
    try:
        return float(job.manifest.settings["split.test"]) / float(job.manifest.settings["split.train"])
    except (KeyError, ValueError, ZeroDivisionError):
        return None
