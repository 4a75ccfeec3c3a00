"""The end of a job that has scores: files, logger, page, terminal."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from picdesk.assembly import shelf
from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.files import write_json
from picdesk.interfaces import Direction
from picdesk.jobs import rankings
from picdesk.jobs.folder import Job
from picdesk.jobs.verdict import Verdict
from picdesk.pages import advice, show
from picdesk.pages.notes import level_note
from picdesk.report import provenance
from picdesk.report.charts import Chart
from picdesk.report.content import Fact, JobPage, MetricTable, Note, Role, SliceTable
from picdesk.report.loggers import log_final
from picdesk.report.metrics_file import read_metrics
from picdesk.report.page import write_job
from picdesk.report.terminal import print_metrics
from picdesk.retrieval import banks
from picdesk.retrieval.scores import ByDirection, flat_metrics, joint_of, mean_hits
from picdesk.retrieval.slices import Sliced, slice_tables, slices_json

log = logging.getLogger(__name__)
WITH_NUMBERS = ("split", "loss", "index")
VERDICT = "verdict.json"
METRICS = "metrics.json"
FILES = (METRICS, "manifest.json", "config.yaml", "run.trec", "qrels.trec")


@dataclass(frozen=True)
class Outcome:
    """What a job found. `systems` are name, scores and role; the last one is what the job is about. `tables` follow theirs,
    `slices` stand before those that every job has, and `verdict` heads the page."""

    systems: Sequence[tuple[str, ByDirection, Role]]
    weights: Mapping[str, str]
    training: tuple[Chart, ...] = ()
    curves: tuple[Chart, ...] = ()
    notes: tuple[Note, ...] = ()
    steps: tuple[str, ...] = ()
    tables: tuple[MetricTable, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    slices: tuple[tuple[Direction, Sliced], ...] = ()
    verdict: Verdict | None = None

    @property
    def scores(self) -> ByDirection:
        """The scores of the system that the job is about."""
        return self.systems[-1][1]


def finish(job: Job, session: Session, part: Collection, outcome: Outcome) -> Verdict | None:
    """Write everything the job leaves, log it, print the tables and where the page is. Gives the verdict on all numbers."""
    settings, encoder, prompts = session.settings, session.encoder, session.dataset.prompts(part)
    said_first = (*level_note(settings.bootstrap.level), *banks.notes(session.correction))
    outcome = replace(outcome, notes=(*said_first, *outcome.notes))
    job.write_config()
    joint = [(name, joint_of(scores, session.bars), role) for name, scores, role in outcome.systems]
    fields = [str(name) for name in settings.metrics.slices]
    with job.clock.stage("write"):
        twins, draws = session.look_alikes(part), (settings.bootstrap.resamples, settings.seed)
        with job.lists_written(outcome.scores):
            slices = slice_tables(part, prompts, outcome.scores, twins, *draws, fields, outcome.slices)
        extra = {**outcome.extra, **rankings.joint_json(joint[-1][1]), **slices_json(slices, fields)}
        job.write_metrics(outcome.scores, extra)
        outcome = replace(outcome, verdict=write_verdict(job, outcome.verdict))
        if shelf.sweeping():
            rankings.note(job.folder, outcome.scores)
        if not job.logger.silent:
            log_final(
                job.logger,
                flat_metrics(outcome.scores) | {f"both/{key}": one.value for key, one in joint[-1][1].items()},
                show.retrieved_rows(part, prompts, outcome.scores, settings.shown),
                session.plain_config,
            )
        job.logger.finish()
        tables = (
            *show.metric_tables(outcome.systems),
            *show.joint_tables(joint, outcome.scores),
            *outcome.tables,
        )
        said = (Note(text) for text in session.dataset.split_notes)
        lost = (Note(line, True) for line in encoder.unread.lines())
        shown = replace(outcome, notes=(*outcome.notes, *said, *lost))
        write_the_page(job, session, part, prompts, shown, tables, slices)
    if job.objective is None:
        job.objective = mean_hits(list(outcome.scores.values()))
    job.write_manifest(session.fingerprint(part), outcome.weights, encoder, len(session.dataset.collection.skipped))
    print_metrics(tables)
    for note in outcome.notes:
        log.warning("%s", note.text)
    log.info("report page: %s", job.folder / "index.html")
    return outcome.verdict


def write_verdict(job: Job, verdict: Verdict | None) -> Verdict | None:
    """verdict.json, where numbers are held against reported ones: those of metrics.json, all of them."""
    if verdict is None:
        return None
    whole = verdict.held_against(read_metrics(job.folder / METRICS))
    write_json(job.folder / VERDICT, whole.as_json())
    return whole


def write_the_page(
    job: Job,
    session: Session,
    part: Collection,
    prompts: list[str],
    outcome: Outcome,
    tables: tuple[MetricTable, ...],
    slices: tuple[SliceTable, ...],
) -> None:
    """The page of the job, `index.html`."""
    groups = show.card_groups(part, prompts, outcome.scores, session.settings.shown)
    page = JobPage(
        title=add_verdict(
            outcome.verdict, f"{part.name}: {len(part.picture_ids):,} pictures, {len(part.text_ids):,} texts"
        ),
        subtitle=f"{session.settings.task.capitalize()} · {session.settings.part} part · {outcome.weights['name']}",
        task=session.settings.task,
        facts=facts(session, job, outcome.weights),
        tables=tables,
        training=outcome.training,
        weights=outcome.curves,
        ranks=show.rank_charts(outcome.scores),
        groups=groups,
        slices=slices,
        notes=outcome.notes,
        next_steps=(*outcome.steps, *advice.of_scores(outcome.scores, slices[len(outcome.slices) :])),
        files=(*FILES, *((VERDICT,) if outcome.verdict else ())),
        verdict=outcome.verdict.table() if outcome.verdict else None,
    )
    write_job(job.folder / "index.html", page, show.picture_reader(part))


def write_run_page(
    job: Job,
    files: Mapping[str, Path],
    tables: tuple[MetricTable, ...],
    ranks: tuple[Chart, ...],
    verdict: Verdict | None,
) -> None:
    """The page of a job that scored a run file: its numbers, without pictures."""
    page = JobPage(
        title=add_verdict(verdict, files["run_file"].name),
        subtitle=f"A run file scored against {files['qrels_file'].name}",
        task=job.session.settings.task,
        facts=(Fact("command", shlex.join(provenance.command_line()), wide=True),),
        tables=tables,
        ranks=ranks,
        notes=level_note(job.session.settings.bootstrap.level),
        files=(*FILES, *((VERDICT,) if verdict else ())),
        verdict=verdict.table() if verdict else None,
    )
    write_job(job.folder / "index.html", page, show.no_picture)
    for note in page.notes:
        log.warning("%s", note.text)


def add_verdict(verdict: Verdict | None, title: str) -> str:
    """The title of a job's page, after that of the verdict where there is one."""
    return f"{verdict.title}: {title}" if verdict is not None and verdict.title else title


def facts(session: Session, job: Job, weights: Mapping[str, str]) -> tuple[Fact, ...]:
    """What was run, for the head of the page."""
    settings = session.settings
    rows = {
        "data": short(session, "data"),
        "split": short(session, "split"),
        "prompt": short(session, "prompt"),
        "backbone": weights["name"],
        **({"loss": short(session, "loss")} if settings.task == "train" else {}),
        "index": short(session, "index"),
        **({"scores": session.correction.description()} if session.correction.active else {}),
        "reranker": short(session, "reranker"),
        "seed": str(settings.seed),
        **({"engine": settings.encode.engine} if settings.encode.engine != "torch" else {}),
        "precision": session.encoder.computing.of_both(session.backbone),
        "code": str(provenance.code()),
        "started": job.clock.started,
    }
    wide = [Fact("command", shlex.join(provenance.command_line()), wide=True)]
    if weights.get("checkpoint"):
        wide.append(Fact("checkpoint SHA-256", weights["checkpoint"], wide=True))
    return (*(Fact(name, value) for name, value in rows.items()), *wide)


def short(session: Session, group: str) -> str:
    """A part of the config in a few words: the chosen option and its numbers."""
    plain = session.plain_node(group)
    numbers = [f"{k}={v:g}" for k, v in plain.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    name = session.settings.choices.get(group) or str(plain["_target_"])
    return f"{name} ({', '.join(numbers)})" if numbers and group in WITH_NUMBERS else name
