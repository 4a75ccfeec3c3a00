"""Score a backbone on a part of a data set, in both directions, or a run that is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from picdesk.assembly import shelf
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import digest_of, file_digest
from picdesk.interfaces import Direction, Embeddings
from picdesk.jobs.folder import Job
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.jobs.rankings import joint_json
from picdesk.jobs.verdict import Judge
from picdesk.pages import show
from picdesk.pages.finish import Outcome, finish, write_run_page, write_verdict
from picdesk.pages.notes import untrained_note
from picdesk.report.terminal import print_metrics
from picdesk.retrieval.composed import is_composed, score_composed
from picdesk.retrieval.features import embed
from picdesk.retrieval.folds import score_folds
from picdesk.retrieval.scores import Scored, Scores, flat_metrics, joint_of, mean_hits, score
from picdesk.retrieval.told import Told
from picdesk.retrieval.tools import Sources
from picdesk.training.features import Features
from picdesk.trec.files import read_qrels, read_runs

log = logging.getLogger(__name__)
Check = Callable[[Mapping[str, str], Mapping[str, str]], None]


def no_check(data: Mapping[str, str], weights: Mapping[str, str]) -> None:
    """Any data and weights will do."""


def evaluate_model(session: Session, judge: Judge, check_inputs: Check = no_check) -> float:
    """Score a backbone, with a checkpoint's weights or as it is. `check_inputs` may refuse data or weights before anything
    is scored; what `judge` finds of the scores heads the page, and ends the job when everything is written."""
    part, backbone = session.part, session.backbone
    job = Job(session)
    session.rerankers.check_fit(backbone.name, backbone.tuned)
    weights, data = session.weights() | session.rerankers.contents(), session.fingerprint(part)
    check_inputs(data, weights)
    done = job.done_before(data, weights)
    if done is not None:
        return done
    job.logger.prepare()
    with job.clock.stage("encode"):
        features = session.features_of(part)
    with job.clock.stage("retrieve and score"):
        sources = Sources.of(session.dataset, part, backbone, session.encoder)
        key = digest_of([session.key_of("backbone", "encode"), weights, data])
        both = shelf.keep_in_sweep("embedded", key, lambda: embed(backbone, features))
        scored, folded = scores_of(session, features, both, sources)
    learned = learned_by(session)
    apart = without_look_alikes(session, part, learned, scored)
    outcome = Outcome(
        systems=[("trained" if session.checkpoint and not backbone.untrained else "as it is", scored, "main")],
        weights=weights,
        notes=(*untrained_note(backbone), *learned_note(learned, part), *apart.notes),
        slices=apart.slices,
        tables=folded.tables,
        extra={**apart.numbers, **(folded.numbers or {})},
        verdict=judge(session.settings, scored),
    )
    verdict = finish(job, session, part, outcome)
    if verdict is not None:
        verdict.settle()
    return mean_hits(list(scored.values()))


def scores_of(
    session: Session, features: Features, both: tuple[Embeddings, Embeddings], sources: Sources
) -> tuple[Scores, Told]:
    """The scores of all pictures, and those over folds, or within the few that composed queries name."""
    folds = session.settings.metrics.folds
    if not is_composed(sources.part):
        scored = session.system.score_both(features, *both, sources)
        return scored, score_folds(session.system, folds, features, *both, sources)
    if folds:
        raise ConfigError(f"metrics.folds={folds}: data={sources.part.name} asks with pictures, which folds would part")
    return score_composed(session.system, features, *both, sources)


def evaluate_files(
    session: Session, run_file: str | None, qrels_file: str | None, judge: Judge, check_inputs: Check = no_check
) -> float:
    """Score a run against qrels, each direction that the run holds."""
    session.rerankers.refuse(f"run_file={run_file} is scored as it is")
    if session.settings.filter:
        told = f"run_file={run_file} is scored as it is; leave filter out"
        raise ConfigError(f"filter={session.settings.filter}: {told}")
    files = {"run_file": run_file, "qrels_file": qrels_file}
    lacking = [key for key, name in files.items() if not name]
    if lacking:
        raise ConfigError(f"{lacking[0]} must be given too: scoring needs run_file=RUN and qrels_file=QRELS")
    paths = {key: Path(str(name)) for key, name in files.items()}
    for key, path in paths.items():
        if not path.is_file():
            raise MissingFileError(f"{key}={path}: no such file")
    digests = {key: file_digest(path) for key, path in paths.items()}
    check_inputs(digests, {})
    runs, qrels = read_runs(paths["run_file"]), read_qrels(paths["qrels_file"])
    if set(runs) != set(qrels):
        raise DataError(
            f"run_file holds {', '.join(sorted(runs))} but qrels_file {', '.join(sorted(qrels))}: not the same job's"
        )
    scored: dict[Direction, Scored] = {
        direction: score(direction, runs[direction], qrels[direction], session.bars, session.metrics)
        for direction in runs
    }
    job = Job(session)
    job.done_before(digests, {})
    job.objective = mean_hits(list(scored.values()))
    job.write_config()
    joint = joint_of(scored, session.bars)
    job.write_lists(scored)
    job.write_metrics(scored, joint_json(joint))
    job.logger.log_metrics(flat_metrics(scored) | {f"both/{key}": one.value for key, one in joint.items()})
    job.logger.finish()
    verdict = write_verdict(job, judge(session.settings, scored))
    tables = (
        *show.metric_tables([("run", scored, "main")]),
        *show.joint_tables([("run", joint, "main")], scored),
    )
    write_run_page(job, paths, tables, show.rank_charts(scored), verdict)
    job.write_manifest(digests, {}, None, 0)
    print_metrics(tables)
    log.info("report page: %s", job.folder / "index.html")
    if verdict is not None:
        verdict.settle()
    return job.objective
