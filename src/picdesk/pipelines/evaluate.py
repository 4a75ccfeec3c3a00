"""evaluate.py: retrieve and score a part of a data set in both directions, or score a run that is already there."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Direction
from picdesk.pipelines import show
from picdesk.pipelines.build import check_all
from picdesk.pipelines.check import check
from picdesk.pipelines.finish import Outcome, finish, weights_of
from picdesk.pipelines.job import Job, need_positive
from picdesk.pipelines.resume import with_checkpoint
from picdesk.pipelines.scoring import Scored, flat_metrics, mean_hits, score, score_both
from picdesk.pipelines.world import embed, features_of, load_backbone, load_world, make_encoder
from picdesk.report.content import Note
from picdesk.report.terminal import print_metrics
from picdesk.training.checkpoint import Checkpoint
from picdesk.trec_io import read_qrels, read_runs

log = logging.getLogger(__name__)
TASKS = ("evaluate", "check")


def evaluate(cfg: DictConfig) -> float:
    """One job. Gives the mean hits@1 of both directions."""
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    if cfg.task == "check":
        return check(cfg)
    need_positive(cfg)
    if cfg.run_file or cfg.qrels_file:
        return evaluate_files(cfg)
    check_all(cfg)
    cfg, checkpoint = with_checkpoint(cfg)
    world = load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = load_backbone(cfg, checkpoint), make_encoder(cfg)
    job = Job(cfg)
    with job.clock.stage("encode"):
        features = features_of(world, part, backbone, encoder)
    with job.clock.stage("retrieve and score"):
        scored = score_both(cfg, features, *embed(backbone, features))
    outcome = Outcome(
        systems=[("trained" if checkpoint else "as it is", scored, "main")],
        weights=weights_of(backbone, checkpoint),
        notes=untrained_note(backbone.name, checkpoint),
    )
    finish(job, cfg, world, part, outcome, encoder)
    return mean_hits(list(scored.values()))


def untrained_note(name: str, checkpoint: Checkpoint | None) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    if checkpoint is not None or not name.startswith("lite"):
        return ()
    return (
        Note(f"the heads of {name} are untrained, so these are chance results; give ckpt=... (or ckpt=latest)", True),
    )


def evaluate_files(cfg: DictConfig) -> float:
    """Score `run_file` against `qrels_file`, each direction that the run holds."""
    if not (cfg.run_file and cfg.qrels_file):
        lacking = "qrels_file" if cfg.run_file else "run_file"
        raise ConfigError(f"{lacking} must be given too: scoring needs run_file=RUN and qrels_file=QRELS")
    runs, qrels = read_runs(Path(cfg.run_file)), read_qrels(Path(cfg.qrels_file))
    if set(runs) != set(qrels):
        raise DataError(
            f"run_file holds {', '.join(sorted(runs))} but qrels_file {', '.join(sorted(qrels))}: not the same job's"
        )
    scored: dict[Direction, Scored] = {
        direction: score(cfg, direction, runs[direction], qrels[direction]) for direction in runs
    }
    job = Job(cfg)
    job.write_config(cfg)
    job.write_scores(scored, {})
    job.logger.log_metrics(flat_metrics(scored))
    job.logger.finish()
    files = {"run_file": str(cfg.run_file), "qrels_file": str(cfg.qrels_file)}
    job.write_manifest(cfg, files, {}, None, 0)
    print_metrics(show.metric_tables([("run", scored, "main")]))
    log.info("metrics: %s", job.folder / "metrics.json")
    return mean_hits(list(scored.values()))
