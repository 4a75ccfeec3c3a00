"""The leaderboard of a sweep, or of any set of jobs: CSV, page, table on the terminal. `evaluate.py task=leaderboard dir=D`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from picdesk.errors import DataError
from picdesk.evaluation.joint import mean_of_both
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.significance import in_order_of, stand_to_first
from picdesk.files import write_text
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.folder import REPORTED
from picdesk.jobs.found import DoneJob, differing_keys, find_jobs, short, value_of
from picdesk.jobs.rankings import Rankings, rankings_of
from picdesk.measures.listing import KS, MEASURES, NAMES
from picdesk.report.content import Fact, LeaderRow, Note, SweepPage
from picdesk.report.leaderboard import write_csv
from picdesk.report.measured_values import Column, Value, columns_of
from picdesk.report.page import write_sweep
from picdesk.report.terminal import print_leaderboard
from picdesk.retrieval.scores import Bars
from picdesk.sweeps.best_config import best_config, go_on
from picdesk.sweeps.seeds import OverSeeds, level_of, over_seeds
from picdesk.sweeps.sweep_charts import charts

log = logging.getLogger(__name__)
APART = "not comparable: other queries, answers or gallery"
MOST_NAMED = 3
FIRST = (Column("objective", "objective"), Column("hits@1", "hits@1, mean"))
LAST = (
    *(Column(f"unseen/{d}/hits@1", f"{d} hits@1 without look-alikes", 3, "high", False) for d in DIRECTIONS),
    Column("ms", "ms a query", 3, "low", False),
)
USUAL = tuple(key for name in NAMES if MEASURES[name].on_board for key in MEASURES[name].keys(KS))


def columns(jobs: Sequence[DoneJob]) -> tuple[Column, ...]:
    """The objective, what the jobs report in each direction and in both, and what it costs."""
    found = {key for job in jobs for own in job.numbers.values() for key in own if on_board(key)}
    each = [
        replace(column, key=f"{d}/{column.key}", label=f"{d} {column.key}", bar="@" in column.key)
        for column in columns_of({*USUAL, *found})
        for d in DIRECTIONS
    ]
    both = columns_of(dict.fromkeys(key for job in jobs for key in job.both))
    return (*FIRST, *each, *(replace(column, key=f"both/{column.key}") for column in both), *LAST)


def on_board(key: str) -> bool:
    """Whether a metric has a column on the leaderboard."""
    name = key if key in MEASURES else key.rpartition("@")[0]
    return name in MEASURES and MEASURES[name].on_board


def write(root: Path, to: Path) -> list[str]:
    """Write leaderboard.csv, leaderboard.html and best.yaml of all jobs below `root` into `to`; the names of failed jobs."""
    found = find_jobs(root)
    failed = [name for name, _ in found.failures]
    if not found.jobs and not failed:
        return []  # a sweep of retrieve.py, which has no metrics
    page = sweep_page(root, to, found.jobs, found.failures)
    write_csv(to / "leaderboard.csv", page)
    write_sweep(to / "leaderboard.html", page)
    for name in {"best.yaml", "over_seeds.csv"}.difference(page.files):
        (to / name).unlink(missing_ok=True)  # of an earlier board of this folder
    if page.best_config:
        write_text(to / "best.yaml", page.best_config)
    print_leaderboard(page)
    tell_warnings(page)
    if page.over_seeds:
        write_csv(to / "over_seeds.csv", page.over_seeds)
        print_leaderboard(page.over_seeds)
        tell_warnings(page.over_seeds)
    if len(found.jobs) > 1:
        log.info("best config, ready to paste (%s):\n%s", to / "best.yaml", page.best_config.rstrip())
    log.info("leaderboard: %s", to / "leaderboard.html")
    if page.next_steps:
        log.info("next: %s", page.next_steps[0])
    return failed


def sweep_page(root: Path, to: Path, jobs: Sequence[DoneJob], failures: tuple[tuple[str, str], ...]) -> SweepPage:
    """What the page shows, best job first."""
    jobs, measure = over_shared(jobs), common_measure(jobs)
    ordered = sorted(jobs, key=lambda job: (-objective(job, measure), job.name))
    keys = differing_keys(ordered)
    ranks = {job.name: rankings_of(job.folder) for job in ordered}
    verdicts = against_best(ordered, ranks)
    together = over_seeds(ordered, ranks, keys)
    rows = tuple(
        row(job, objective(job, measure), ranks[job.name], keys, verdicts.get(job.name, ""), to) for job in ordered
    )
    return SweepPage(
        title=f"Sweep of {len(jobs) + len(failures)} jobs",
        subtitle=f"{root.name}: {len(jobs)} finished, {len(failures)} failed",
        rows=rows,
        columns=columns(ordered)[1:] if measure == REPORTED else columns(ordered),
        facts=(Fact("folder", root.name), *((Fact("code", str(ordered[0].manifest.code)),) if ordered else ())),
        charts=charts(ordered, keys),
        best_config=best_config(ordered[0], keys) if ordered else "",
        failures=failures,
        notes=(*doubts(ordered, verdicts), *notes(ordered, failures)),
        files=(
            "leaderboard.csv",
            *(("best.yaml",) if ordered else ()),
            *(("over_seeds.csv",) if together.rows else ()),
        ),
        over_seeds=of_seeds(together),
        next_steps=go_on(ordered[0]) if ordered else (),
    )


def tell_warnings(page: SweepPage) -> None:
    """Say what its reader must mind."""
    for note in page.notes:
        if note.warning:
            log.warning("%s", note.text)


def of_seeds(together: OverSeeds) -> SweepPage | None:
    """The table over seeds, where there is one."""
    if not together.rows:
        return None
    minded = (Note(together.warning, True),) if together.warning else ()
    return SweepPage("Over seeds", "", together.rows, together.columns, notes=(Note(together.note), *minded))


def measures(jobs: Sequence[DoneJob]) -> list[str]:
    """What the objectives of the jobs are."""
    return sorted({job.manifest.measure or REPORTED for job in jobs})


def common_measure(jobs: Sequence[DoneJob]) -> str:
    """What all jobs can be ordered by: their objective where it is of one kind, else what each reports."""
    found = measures(jobs)
    return found[0] if len(found) == 1 else REPORTED


def over_shared(jobs: Sequence[DoneJob]) -> list[DoneJob]:
    """The jobs, the mean hits@1 of each over the directions that all of them report, where there are some: t2i is harder than
    i2t on some data and easier on others, and a row that lacks one must not lead for that."""
    shared = tuple(d for d in DIRECTIONS if all(d in job.numbers for job in jobs))
    return [replace(job, counted=shared or DIRECTIONS) for job in jobs]


def objective(job: DoneJob, measure: str) -> float:
    """What jobs are ordered by: a fit's own measure on validation data, say, else the mean hits@1 that is reported."""
    value = job.manifest.objective
    return job.hits if value is None or measure == REPORTED else value


def row(job: DoneJob, value: float, ranks: Rankings, keys: Sequence[str], verdict: str, to: Path) -> LeaderRow:
    """One line of the leaderboard."""
    values = {"objective": Value(value), "hits@1": Value(job.hits)}
    if ranks:
        asked = [pair for direction, pair in ranks.items() if direction in job.counted]
        both = mean_of_both(asked, seed=job.manifest.seed, level=level_of(job))
        values["hits@1"] = Value(job.hits, min(both.low, job.hits), max(both.high, job.hits))
    for direction, own in job.numbers.items():
        values |= {f"{direction}/{name}": value for name, value in own.items() if on_board(name)}
    values |= {f"both/{name}": value for name, value in job.both.items()}
    values |= {f"unseen/{direction}/hits@1": own["hits@1"] for direction, own in job.unseen.items()}
    if job.milliseconds is not None:
        values["ms"] = Value(job.milliseconds)
    page = os.path.relpath(job.folder / "index.html", to) if (job.folder / "index.html").is_file() else ""
    return LeaderRow(short(job.name), {key: value_of(job, key) for key in keys}, values, page, verdict)


def doubts(jobs: Sequence[DoneJob], verdicts: Mapping[str, str]) -> list[Note]:
    """Why the order may say nothing: rows with other queries or directions than the first, pictures that were learned from."""
    apart, alike = [one for one in verdicts.values() if one == APART], [job for job in jobs if job.alike[0]]
    said = []
    if apart:
        said.append(
            Note(
                f"{len(apart)} of {len(jobs)} rows are not comparable with the first: they have other queries, answers or "
                "another gallery, so their places in the order say little.",
                True,
            )
        )
    if others := [job for job in jobs if set(job.numbers) != set(jobs[0].numbers)]:
        shared = " and ".join(d for d in jobs[0].counted if all(d in job.numbers for job in jobs))
        mean = (
            f"the mean hits@1 is over {shared} in every row"
            if shared
            else "a mean over them is not the same thing there"
        )
        said.append(
            Note(
                f"{len(others)} of {len(jobs)} rows report other directions ({' and '.join(others[0].numbers)}) than the first "
                f"({' and '.join(jobs[0].numbers)}): {mean}.",
                True,
            )
        )
    if alike:
        named = "; ".join(f"{short(job.name)}: {job.alike[0]:,} of {job.alike[1]:,}" for job in alike[:MOST_NAMED])
        more = f"; and {len(alike) - MOST_NAMED} more" if len(alike) > MOST_NAMED else ""
        said.append(
            Note(
                f"{len(alike)} of {len(jobs)} jobs report pictures that were learned from, or look like one that was "
                f"({named}{more}): these are not numbers of unseen pictures alone.",
                True,
            )
        )
    return said


def notes(jobs: Sequence[DoneJob], failures: Sequence[tuple[str, str]]) -> list[Note]:
    """What the reader must know."""
    said = (
        [Note(f"{len(failures)} of {len(jobs) + len(failures)} jobs failed; the others are shown", True)]
        if failures
        else []
    )
    kinds = measures(jobs)
    if len(kinds) > 1:
        said.append(
            Note(
                f"The jobs have objectives of several kinds ({'; '.join(kinds)}), so they are ordered by what they report."
            )
        )
    if len(kinds) == 1 and kinds != [REPORTED]:
        said.append(Note(f"Ordered by the objective, the {kinds[0]}; the other columns are the data that is reported."))
    elif len(jobs) > 1:
        said.append(
            Note("Ordered by the data that is reported, so the first row's lead is partly luck of the choice.", True)
        )
    levels = sorted({level_of(job) for job in jobs})
    if levels and levels != [Bars.level]:
        said.append(
            Note(f"Intervals are of the level of each job: {' or '.join(f'{100 * level:g}%' for level in levels)}.")
        )
    if len(jobs) > 1:
        said.append(
            Note(
                "Against the best: hits@1 of each direction, named where it differs. The best was chosen by the same data, so "
                "all pairs of rows in both directions are one family (random signs by picture, step-down maxT): on a board of "
                "equal rows, anything is named in 5% of boards. Intervals hold for each number by itself."
            )
        )
    return said


def against_best(jobs: Sequence[DoneJob], read: Mapping[str, Rankings]) -> dict[str, str]:
    """How each job stands to the first: the directions in which its hits@1 differs, corrected for all pairs of jobs."""
    if len(jobs) < 2:
        return {}
    first, apart = read[jobs[0].name], set()
    boards: dict[Direction, dict[str, Ranks]] = {direction: {} for direction in DIRECTIONS if direction in first}
    for job in jobs:
        try:
            own = {d: in_order_of(first[d][0], read[job.name][d][0]) for d in boards if d in read[job.name]}
        except DataError:
            apart.add(job.name)
            continue
        for direction, ranks in own.items():
            boards[direction][job.name] = ranks
    found = stand_to_first(boards, {direction: first[direction][1] for direction in boards}) if boards else {}
    said = {jobs[0].name: "best"}
    for job in jobs[1:]:
        told = "; ".join(
            f"{direction} {rows[job.name].to_best:+.3f} (p={rows[job.name].p_family:.3g})"
            for direction, rows in found.items()
            if job.name in rows and rows[job.name].differs
        )
        said[job.name] = APART if job.name in apart else told or "no difference shown"
    return said
