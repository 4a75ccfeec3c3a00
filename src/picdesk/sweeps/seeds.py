"""Jobs of a sweep that differ in their seed alone, put together: mean, spread, and an interval over seeds and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from picdesk.errors import DataError
from picdesk.evaluation.significance import in_order_of
from picdesk.evaluation.spread import over_draws, over_seeds_and_pictures
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.found import DoneJob, value_of
from picdesk.jobs.rankings import Rankings
from picdesk.report.content import LeaderRow
from picdesk.report.measured_values import Column, Value

COLUMNS = (
    *(Column(f"{d}/hits@1", f"{d} hits@1, mean") for d in DIRECTIONS),
    *(Column(f"{d}/sd", f"{d}, standard deviation", bar=False, better="") for d in DIRECTIONS),
    Column("seeds", "seeds", 0, "", False),
)
SAME_QUERIES = (
    "The interval is over seeds and pictures: the variance of the seeds' means, and that of pictures, each query's hits@1 "
    "being averaged over the seeds first."
)
OTHER_QUERIES = (
    "Where the seed drew another split too, the jobs asked other queries: the interval is then over draws of the split, with "
    "Nadeau and Bengio's correction for what they share, or is left out where the sizes of the parts are not known."
)


@dataclass(frozen=True)
class OverSeeds:
    """A row for each setting that ran with several seeds, best mean first, and how to read them."""

    rows: tuple[LeaderRow, ...]
    note: str


def is_seed(key: str) -> bool:
    """Whether a config key says how chance falls, and nothing else: `seed`, `backbone.seed`."""
    return key.rpartition(".")[2] == "seed"


def over_seeds(jobs: Sequence[DoneJob], ranks: Mapping[str, Rankings], keys: Sequence[str]) -> OverSeeds:
    """The settings of which there are two jobs or more; `keys` are those that differ, `ranks` the rankings by job."""
    others = [key for key in keys if not is_seed(key)]
    groups: dict[tuple[str, ...], list[DoneJob]] = {}
    for job in jobs if len(others) < len(keys) else ():
        groups.setdefault(tuple(value_of(job, key) for key in others), []).append(job)
    rows, apart = [], False
    for setting, own in groups.items():
        if len(own) < 2:
            continue
        values: dict[str, Value] = {"seeds": Value(float(len(own)))}
        for direction in DIRECTIONS:
            found = of_direction(direction, [ranks[job.name] for job in own], own)
            apart |= bool(found) and not same_queries(direction, [ranks[job.name] for job in own])
            values |= found
        name = ", ".join(f"{key}={value}" for key, value in zip(others, setting, strict=True)) or "all jobs"
        rows.append(LeaderRow(name, {}, values))
    rows.sort(key=lambda row: -sum(row.values[f"{d}/hits@1"].value for d in DIRECTIONS if f"{d}/hits@1" in row.values))
    return OverSeeds(tuple(rows), f"{SAME_QUERIES} {OTHER_QUERIES}" if apart else SAME_QUERIES)


def same_queries(direction: Direction, ranks: Sequence[Rankings]) -> bool:
    """Whether all jobs answered the same queries."""
    try:
        return bool([in_order_of(ranks[0][direction][0], one[direction][0]) for one in ranks])
    except (DataError, KeyError):
        return False


def of_direction(direction: Direction, ranks: Sequence[Rankings], jobs: Sequence[DoneJob]) -> dict[str, Value]:
    """Mean and standard deviation of hits@1 over the jobs, with the interval where it can be told."""
    own = [job.numbers[direction]["hits@1"] for job in jobs if direction in job.numbers]
    means = [one.value for one in own]
    if len(means) < len(jobs):
        return {}
    deviation = {f"{direction}/sd": Value(float(np.std(means, ddof=1)))}
    share = tested_per_learned(jobs[0])
    if same_queries(direction, ranks):
        first = ranks[0][direction][0]
        hits = [(in_order_of(first, one[direction][0]).first <= 1).astype(np.float64) for one in ranks]
        spread = over_seeds_and_pictures(np.array(hits), first.cluster)
    elif share is not None:
        lengths = [0.0 if one.low is None or one.high is None else one.high - one.low for one in own]
        spread = over_draws(np.array(means)[:, None], np.array(lengths)[:, None], share)
    else:
        return {f"{direction}/hits@1": Value(float(np.mean(means))), **deviation}
    return {f"{direction}/hits@1": Value(spread.mean, max(0.0, spread.low), min(1.0, spread.high)), **deviation}


def tested_per_learned(job: DoneJob) -> float | None:
    """Pictures of the test part for each of the train part, where the split draws them by shares."""
    try:
        return float(job.manifest.settings["split.test"]) / float(job.manifest.settings["split.train"])
    except (KeyError, ValueError, ZeroDivisionError):
        return None
