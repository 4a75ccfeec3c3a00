"""evaluate.py: retrieve and score a part of a data set in both directions, or score a run that is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from omegaconf import DictConfig

from picdesk.assembly import shared
from picdesk.assembly.folds import score_folds
from picdesk.assembly.reranking import contents, refuse_reranker
from picdesk.assembly.searching import score, score_both
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.jobs.rankings import joint_json, joint_of
from picdesk.jobs.verdict import Judge
from picdesk.pages import show
from picdesk.pages.finish import Outcome, finish, weights_of, write_run_page, write_verdict
from picdesk.pages.notes import untrained_note
from picdesk.report.terminal import print_metrics
from picdesk.retrieval.features import embed
from picdesk.retrieval.scores import Scored, flat_metrics, mean_hits
from picdesk.retrieval.tools import Sources
from picdesk.training.checkpoint import Checkpoint
from picdesk.trec.files import read_qrels, read_runs

log = logging.getLogger(__name__)
Check = Callable[[Mapping[str, str], Mapping[str, str]], None]


def no_check(data: Mapping[str, str], weights: Mapping[str, str]) -> None:
    """Any data and weights will do."""


def evaluate_model(
    cfg: DictConfig, checkpoint: Checkpoint | None, judge: Judge, check_inputs: Check = no_check
) -> float:
    """Score a backbone, with a checkpoint's weights or as it is. `check_inputs` may refuse data or weights before anything
    is scored; what `judge` finds of the scores heads the page, and ends the job when everything is written."""
    world = shared.load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = shared.load_backbone(cfg, checkpoint), shared.make_encoder(cfg)
    job = Job(cfg)
    weights = weights_of(backbone, checkpoint) | contents(cfg)
    data = shared.fingerprint(cfg, world, part, encoder)
    check_inputs(data, weights)
    done = job.done_before(cfg, data, weights)
    if done is not None:
        return done
    with job.clock.stage("encode"):
        features = shared.features_of(cfg, world, part, backbone, encoder)
    with job.clock.stage("retrieve and score"):
        sources, both = Sources.of(world, part, backbone, encoder), embed(backbone, features)
        scored = score_both(cfg, features, *both, sources)
        folded = score_folds(cfg, features, *both, sources)
    learned = learned_by(cfg, checkpoint, world)
    apart = without_look_alikes(cfg, world, part, learned, scored)
    outcome = Outcome(
        systems=[("trained" if checkpoint else "as it is", scored, "main")],
        weights=weights,
        notes=(*untrained_note(backbone), *learned_note(learned, part), *apart.notes),
        slices=apart.slices,
        tables=folded.tables,
        extra={**apart.numbers, **(folded.numbers or {})},
        verdict=judge(cfg, scored),
    )
    finish(job, cfg, world, part, outcome, encoder)
    if outcome.verdict is not None:
        outcome.verdict.settle()
    return mean_hits(list(scored.values()))


def evaluate_files(cfg: DictConfig, judge: Judge, check_inputs: Check = no_check) -> float:
    """Score `run_file` against `qrels_file`, each direction that the run holds."""
    refuse_reranker(cfg, f"run_file={cfg.run_file} is scored as it is")
    if not (cfg.run_file and cfg.qrels_file):
        lacking = "qrels_file" if cfg.run_file else "run_file"
        raise ConfigError(f"{lacking} must be given too: scoring needs run_file=RUN and qrels_file=QRELS")
    for key in ("run_file", "qrels_file"):
        if not Path(cfg[key]).is_file():
            raise MissingFileError(f"{key}={cfg[key]}: no such file")
    files = {"run_file": file_digest(cfg.run_file), "qrels_file": file_digest(cfg.qrels_file)}
    check_inputs(files, {})
    runs, qrels = read_runs(Path(cfg.run_file)), read_qrels(Path(cfg.qrels_file))
    if set(runs) != set(qrels):
        raise DataError(
            f"run_file holds {', '.join(sorted(runs))} but qrels_file {', '.join(sorted(qrels))}: not the same job's"
        )
    scored: dict[Direction, Scored] = {
        direction: score(cfg, direction, runs[direction], qrels[direction]) for direction in runs
    }
    job = Job(cfg)
    job.done_before(cfg, files, {})
    job.objective = mean_hits(list(scored.values()))
    job.write_config(cfg)
    joint = joint_of(scored, int(cfg.bootstrap.resamples), int(cfg.seed), float(cfg.bootstrap.level))
    job.write_scores(scored, joint_json(joint))
    job.logger.log_metrics(flat_metrics(scored) | {f"both/{key}": one.value for key, one in joint.items()})
    job.logger.finish()
    verdict = judge(cfg, scored)
    write_verdict(job, verdict)
    tables = (
        *show.metric_tables([("run", scored, "main")]),
        *show.joint_tables([("run", joint, "main")], scored),
    )
    write_run_page(job, cfg, tables, show.rank_charts(scored), verdict)
    job.write_manifest(cfg, files, {}, None, 0)
    print_metrics(tables)
    log.info("report page: %s", job.folder / "index.html")
    if verdict is not None:
        verdict.settle()
    return job.objective
