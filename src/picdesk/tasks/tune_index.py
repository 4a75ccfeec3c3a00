"""`evaluate.py task=tune_index`: what an approximate index costs in recall, in hits@k and in time, over its settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from picdesk.assembly.session import Session
from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import ranks_of_run
from picdesk.files import write_json
from picdesk.interfaces import Direction, Embeddings, Index
from picdesk.jobs.folder import Job, need_positive
from picdesk.measures.listing import KS
from picdesk.pages.finish import facts
from picdesk.pages.notes import untrained_note
from picdesk.parts import config_part
from picdesk.report.content import Note
from picdesk.report.page import write_tuning
from picdesk.report.plots import save_png
from picdesk.report.tuning_report import TuningPage, TuningRow, TuningTable, print_tuning, write_tuning_csv
from picdesk.retrieval.features import embed
from picdesk.retrieval.system import sides_of
from picdesk.retrieval.tools import Sources
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.tuning import TradeOff, tune_index
from picdesk.tasks.base import Task
from picdesk.trec.runs import Qrels, Run

log = logging.getLogger(__name__)
TOP_K = 10
Settings = list[dict[str, float]]
BY_LUCK = Note(
    "The same queries measured all settings, and nothing is corrected for their number: the best hits@k is best partly by luck."
)


@config_part
@dataclass(kw_only=True)
class TuneIndex(Task):
    """One job: both directions, every setting. Gives the mean hits@1 of exact search.

    `settings` are the search settings to try (none: the index's own ladders), `timed_queries` how many single queries are timed.
    """

    settings: list[Any] = field(default_factory=list)
    timed_queries: int = 1000

    def run(self, session: Session) -> float:
        """Check what can be checked before anything is encoded, then measure."""
        need_positive(session.settings)
        session.check()
        session.rerankers.refuse("task=tune_index measures the search alone")
        wanted = wanted_settings(self.settings, self.timed_queries)
        buildable(session)
        return tune(session.open(), wanted, self.timed_queries)


def tune(session: Session, settings: Settings | None, timed: int) -> float:
    """Measure every setting in both directions, and write it down."""
    part, backbone = session.part, session.backbone
    job = Job(session)
    with job.clock.stage("encode"):
        features = session.features_of(part)
    sources = Sources.of(session.dataset, part, backbone, session.encoder)
    sides = sides_of(features, *embed(backbone, features), sources)
    with job.clock.stage("tune"):
        tables = tuple(table_of(session, name, *side, settings, timed) for name, side in sides.items())
    notes = (*untrained_note(backbone), BY_LUCK, *choose_elsewhere(session.settings.part))
    write(job, session, tables, session.weights(), notes, part.name)
    left_out = len(session.dataset.collection.skipped)
    job.write_manifest(session.fingerprint(part), session.weights(), session.encoder, left_out)
    return float(np.mean([table.rows[0].values["hits@1"] for table in tables]))


def choose_elsewhere(part: str) -> tuple[Note, ...]:
    """A word to those who would choose a setting on the part that is reported."""
    if part != "test":
        return ()
    return (
        Note("A setting that is chosen from this page is chosen on the test part; part=val leaves that part unseen."),
    )


def wanted_settings(plain: list[Any], timed: int) -> Settings | None:
    """The settings to try, or None for the index's own ladders. Raises `ConfigError` for what no setting can be."""
    if timed < 1:
        raise ConfigError(f"tune.timed_queries={timed}: at least 1 is needed")
    if not all(isinstance(one, dict) and one for one in plain):
        raise ConfigError(f"tune.settings={plain}: a list of tables by faiss's names, such as [{{efSearch:16}}]")
    wrong = [f"{name}={value}" for one in plain for name, value in one.items() if not isinstance(value, int | float)]
    if wrong:
        raise ConfigError(f"tune.settings: {wrong[0]}: a setting is a number")
    return [{str(name): float(value) for name, value in one.items()} for one in plain] or None


def buildable(session: Session) -> Index:
    """The index of the config, empty. Raises `ConfigError` for one whose settings are not faiss's."""
    kind: type[Index] = session.kind_of("index")
    if not kind.tunable:
        raise ConfigError(
            f"task=tune_index: index={kind.__name__} cannot be tuned here; choose flat, hnsw, ivf_flat, ivf_pq, "
            "ivf_pq_fastscan, pq_fastscan, factory or auto"
        )
    return session.new_index()


def table_of(
    session: Session,
    direction: Direction,
    queries: Embeddings,
    items: Embeddings,
    qrels: Qrels,
    settings: Settings | None,
    timed: int,
) -> TuningTable:
    """Every setting in one direction, exact search first."""
    index: FaissIndex = buildable(session).to_tune(items, queries)

    def hits(run: Run) -> Mapping[str, float]:
        first = ranks_of_run(run, qrels, direction).first  # an index that lists fewer than ten has missed the others
        return {f"hits@{k}": float((first <= k).mean()) for k in KS}

    log.info("%s: %s over %d items", direction, index.kind, len(items.ids))
    rows = tune_index(index, items, queries, hits, TOP_K, settings, timed)
    return TuningTable(direction, tuple(row_of(row) for row in rows), len(queries.ids), len(items.ids))


def row_of(found: TradeOff) -> TuningRow:
    """One setting as the report shows it."""
    times = {"p50_ms": found.latency.p50_ms, "p95_ms": found.latency.p95_ms, "p99_ms": found.latency.p99_ms}
    values = {"recall@10": found.recall, **found.hits, **times}
    values |= {"queries_per_s": found.batch_qps, "index_mb": found.megabytes}
    return TuningRow(found.index, str(found.cells()["settings"]), values, found.pareto)


def write(
    job: Job,
    session: Session,
    tables: tuple[TuningTable, ...],
    weights: Mapping[str, str],
    notes: tuple[Note, ...],
    name: str,
) -> None:
    """tune_index.json, tune_index.csv, a PNG a direction, the page; the tables on the terminal."""
    job.write_config()
    plain = [
        {"direction": table.direction, "index": row.index, "settings": row.settings, "front": row.front, **row.values}
        for table in tables
        for row in table.rows
    ]
    write_json(job.folder / "tune_index.json", plain)
    write_tuning_csv(job.folder / "tune_index.csv", tables)
    pictures = [f"pareto-{table.direction}.png" for table in tables]
    for table, file in zip(tables, pictures, strict=True):
        save_png(table.charts()[0], job.folder / file)
    page = TuningPage(
        title=f"{name}: what the index costs",
        subtitle=f"{tables[0].rows[-1].index} · {session.settings.part} part · {weights['name']}",
        tables=tables,
        facts=facts(session, job, weights),
        notes=notes,
        files=("tune_index.csv", "tune_index.json", *pictures, "manifest.json", "config.yaml"),
    )
    write_tuning(job.folder / "index.html", page)
    print_tuning(tables)
    for note in notes:
        log.warning("%s", note.text)
    log.info("report page: %s", job.folder / "index.html")
