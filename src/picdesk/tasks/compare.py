"""`evaluate.py task=compare dir=JOB against=JOB`: two jobs side by side, and the queries that one wins and the other loses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.assembly.again import of_job
from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.errors import ConfigError, DataError, MissingFileError, UserError
from picdesk.evaluation.joint import compare_whole
from picdesk.evaluation.significance import Difference
from picdesk.files import file_digest, write_json
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.found import DoneJob, choices_of, find_jobs
from picdesk.measures.listing import NAMES, measure_of
from picdesk.pages import show
from picdesk.pages.compare_cards import Side, groups
from picdesk.pages.notes import level_note
from picdesk.parts import config_part
from picdesk.report.charts import Histogram
from picdesk.report.content import DIRECTION_NAMES, Fact, JobPage, MetricRow, MetricTable, Note, Role
from picdesk.report.page import write_job
from picdesk.report.terminal import print_metrics
from picdesk.retrieval.scores import Bars, ByDirection, joint_of, pictures_of, score
from picdesk.tasks.base import Task
from picdesk.trec.files import read_qrels, read_runs

log = logging.getLogger(__name__)
NOT_NAMED = (
    "ckpt",
    "schema",
    "task",
    "paths",
    "logger",
    "experiment",
    "trainer",
    "reproduce",
    "run_file",
    "qrels_file",
    "bootstrap",
)
TOLD = ("hits@1", "hits@5", "mrr")


@config_part
@dataclass(kw_only=True)
class Compare(Task):
    """Write comparison.json and the page, print the tables. Gives the difference of the mean hits@1."""

    takes_ckpt = False
    dir: str | None = None
    against: str | None = None

    def opens_others(self) -> bool:
        """Jobs, anybody's."""
        return True

    def run(self, session: Session) -> float:
        """Compare what the two jobs left."""
        return compare(session, [done_job(key, name) for key, name in (("dir", self.dir), ("against", self.against))])


def compare(session: Session, jobs: Sequence[DoneJob]) -> float:
    """Write comparison.json and the page, print the tables. Gives the difference of the mean hits@1."""
    settings = session.settings
    names = job_labels(jobs)
    sides = [Side(name, job, scores_of(job, session)) for name, job in zip(names, jobs, strict=True)]
    both = [d for d in DIRECTIONS if all(d in side.scores for side in sides)]
    if not both:
        raise DataError(f"dir={jobs[0].folder} and against={jobs[1].folder} have no direction in common")
    sides = [replace(side, scores={d: side.scores[d] for d in both}) for side in sides]
    one, other = sides
    apart, joint = compare_whole(
        [(one.scores[d].ranks, other.scores[d].ranks, pictures_of(d, one.scores[d].qrels)) for d in both],
        names=one.scores[both[0]].names,
        ks=one.scores[both[0]].ks,
        resamples=session.bars.resamples,
        seed=session.bars.seed,
        level=session.bars.level,
    )
    folder = session.output_dir
    write_json(folder / "comparison.json", as_json(sides, apart, joint))
    separate = (table(sides, direction, apart[direction], session.bars.level) for direction in both)
    tables = (*separate, *joint_table(session.bars, sides, joint))
    part, prompts, notes = data_of(session, one.job)
    notes = (*level_note(session.bars.level), *notes)
    shown: tuple[Any, ...] = ()
    try:
        shown = groups(sides, both, part, prompts, settings.shown) if part else ()
    except KeyError as error:  # the runs came with the jobs
        told = f"The queries are not shown: the runs name {str(error)[:80]}, which the data set does not have."
        part, notes = None, (*notes, Note(told, True))
    page = JobPage(
        title=f"{one.name} against {other.name}",
        subtitle=f"{one.job.manifest.task} and {other.job.manifest.task} on the same queries",
        task="compare",
        facts=facts(sides),
        tables=tables,
        ranks=tuple(histogram(sides, direction) for direction in both),
        groups=shown,
        notes=notes,
        files=("comparison.json",),
    )
    write_job(folder / "index.html", page, show.picture_reader(part) if part else show.no_picture)
    print_metrics(tables)
    for note in notes:
        log.warning("%s", note.text)
    log.info("comparison page: %s", folder / "index.html")
    return float(np.mean([apart[d]["hits@1"].interval.value for d in both]))


def done_job(key: str, name: str | None) -> DoneJob:
    """The finished job that a key names."""
    if not name:
        raise ConfigError(f"{key} must be given: task=compare dir=OUTPUT_DIR against=OUTPUT_DIR")
    folder = Path(name)
    if not folder.is_dir():
        raise MissingFileError(f"{key}={name}: no such folder; give the output dir of a job")
    found = find_jobs(folder)
    jobs = found.jobs
    if not jobs and len(found.failures) == 1:
        raise DataError(f"{key}={name}: {found.failures[0][1]}")
    if len(jobs) != 1:
        raise ConfigError(f"{key}={name}: {len(jobs)} finished jobs below that folder; give the output dir of one")
    if not (jobs[0].folder / "run.trec").is_file():
        raise MissingFileError(f"{key}={name}: run.trec is gone, and it holds the ranks that are compared")
    return replace(jobs[0], name=folder.name)


def job_labels(jobs: Sequence[DoneJob]) -> list[str]:
    """What the two jobs are called: the task and the options in which they differ, else their folders' names."""
    tasks = [job.manifest.task for job in jobs]
    options = [chosen_options(job, with_numbers=tasks[0] == tasks[1]) for job in jobs]
    keys = [key for key in dict.fromkeys([*options[0], *options[1]]) if options[0].get(key) != options[1].get(key)]
    words = [[f"{key}={option[key]}" for key in keys if key in option][:3] for option in options]
    named = [
        ", ".join([*([task] if tasks[0] != tasks[1] else []), *own]) for task, own in zip(tasks, words, strict=True)
    ]
    if "" in named or named[0] == named[1]:
        return [f"{letter}: {job.manifest.task} {job.name}" for letter, job in zip("AB", jobs, strict=True)]
    return named


def chosen_options(job: DoneJob, with_numbers: bool) -> dict[str, str]:
    """The options of a job by group, and what its command line set besides."""
    options = choices_of(job)
    named = dict(options)
    if with_numbers:
        named |= {key: Path(value).name for key, value in job.overrides.items()}
    return {key: value for key, value in named.items() if key.split(".")[0] not in NOT_NAMED and key != "data.root"}


def scores_of(job: DoneJob, session: Session) -> ByDirection:
    """Scores from the files that the job left."""
    runs, qrels = read_runs(job.folder / "run.trec"), read_qrels(job.folder / "qrels.trec")
    return {d: score(d, runs[d], qrels[d], session.bars, session.metrics) for d in runs}


def joint_table(bars: Bars, sides: Sequence[Side], apart: dict[str, Difference]) -> tuple[MetricTable, ...]:
    """The metrics over both directions of both jobs, with their differences; none where none was asked for."""
    roles: tuple[Role, Role] = ("main", "other")
    rows = [(side.name, joint_of(side.scores, bars), role) for side, role in zip(sides, roles, strict=True)]
    told = "; ".join(f"{name} {signed_text(one)} (p={one.p_family:.2g})" for name, one in apart.items())
    note = (
        f"Difference, first less second: {told}. Pictures with all their queries are drawn and swapped." if told else ""
    )
    return tuple(replace(table, note=note) for table in show.joint_tables(rows, sides[0].scores))


def table(sides: Sequence[Side], direction: Direction, apart: dict[str, Difference], level: float) -> MetricTable:
    """The metrics of both, and below them the differences with their intervals and p-values."""
    rows = tuple(
        MetricRow(side.name, show.values_of(side.scores[direction]), "main" if i == 0 else "other")
        for i, side in enumerate(sides)
    ) + tuple(
        MetricRow(f"{side.name}, without look-alikes", side.job.unseen[direction], "other")
        for side in sides
        if direction in side.job.unseen
    )
    more = [name for name in apart if measure_of(name)[0].name not in NAMES]
    told = [
        f"{name} {signed_text(apart[name])} (p={apart[name].p_family:.2g})" for name in (*TOLD, *more) if name in apart
    ]
    note = (
        f"Difference, first less second: {'; '.join(told)}. Paired by picture: {100 * level:g}% bootstrap interval of each "
        "difference by itself; p by random signs, corrected for all metrics and directions compared (step-down maxT)."
    )
    first = sides[0].scores[direction]
    return MetricTable(direction, rows, len(first.qrels.query_ids), first.run.gallery_size, note=note)


def signed_text(difference: Difference) -> str:
    """`+0.012 [0.001, 0.023]`."""
    span = difference.interval
    value, low, high = (f"{number:+.{max(span.digits, 1)}f}" for number in (span.value, span.low, span.high))
    return f"{value} [{low}, {high}]"


def as_json(
    sides: Sequence[Side], apart: dict[Direction, dict[str, Difference]], joint: dict[str, Difference]
) -> dict[str, Any]:
    """Which jobs, and how far apart they are."""
    jobs = [
        {"name": side.name, "folder": str(side.job.folder), "manifest": file_digest(side.job.folder / "manifest.json")}
        for side in sides
    ]
    named_apart: dict[str, dict[str, Difference]] = {str(d): own for d, own in apart.items()} | (
        {"both": joint} if joint else {}
    )
    found = {
        direction: {
            name: {
                "difference": d.interval.value,
                "interval": [d.interval.low, d.interval.high],
                "p": d.p,
                "p_family": d.p_family,
            }
            for name, d in named.items()
        }
        for direction, named in named_apart.items()
    }
    return {"jobs": jobs, "cut_offs": list(next(iter(sides[0].scores.values())).ks), "differences": found}


def facts(sides: Sequence[Side]) -> tuple[Fact, ...]:
    """The two jobs and their commands."""
    rows = []
    for letter, side in zip(("first", "second"), sides, strict=True):
        rows += [
            Fact(letter, side.name),
            Fact(f"{letter}: weights", side.job.manifest.weights.get("name", "a run file")),
        ]
    wide = [
        Fact(f"{letter}: command", side.job.manifest.command_text, wide=True)
        for letter, side in zip(("first", "second"), sides, strict=True)
    ]
    return (*rows, *wide)


def histogram(sides: Sequence[Side], direction: Direction) -> Histogram:
    """Ranks of the first relevant item, both jobs beside each other."""
    counted = []
    for side in sides:
        first = side.scores[direction].ranks.first
        counted.append((side.name, first[np.isfinite(first)]))
    return Histogram.of_ranks(DIRECTION_NAMES[direction], counted, sides[0].scores[direction].run.gallery_size)


def data_of(session: Session, job: DoneJob) -> tuple[Collection | None, list[str], tuple[Note, ...]]:
    """The part of the data that the job searched, and its texts; a note instead where it is not here as it was then."""
    if not job.manifest.weights:
        return None, [], (Note("The first job scored a run file, so there are no pictures to show."),)
    if job.manifest.task == "captioner":
        return None, [], (Note("Only one caption of each picture asks in a captioner job; its queries are not shown."),)
    try:
        again = of_job(session, job.folder)
        found, part = again.dataset, again.part
        known = dict(job.manifest.data)
        same = found.fingerprint(part, again.encoder, "fields" in known) == known
    except UserError as error:
        return None, [], (Note(f"The queries are not shown, because the data set cannot be read here: {error}", True),)
    if not same:
        return None, [], (Note("The queries are not shown, because the data set is not as it was for that job.", True),)
    return part, found.prompts(part), ()
