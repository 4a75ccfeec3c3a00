"""evaluate.py: retrieve and score a part of a data set in both directions, or score a run that is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from omegaconf import DictConfig

from picdesk import network
from picdesk.assembly import shared
from picdesk.assembly.build import check_all
from picdesk.assembly.inherit import with_checkpoint, with_choices
from picdesk.assembly.reranking import contents, refuse_reranker
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job, need_positive
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.jobs.verdict import Judge, judge_expected
from picdesk.pages import show
from picdesk.pages.finish import Outcome, finish, weights_of, write_run_page, write_verdict
from picdesk.report.content import Note
from picdesk.report.terminal import print_metrics
from picdesk.retrieval.dataset import embed
from picdesk.retrieval.scores import Scored, flat_metrics, mean_hits, score, score_both
from picdesk.retrieval.tools import Sources
from picdesk.sweeps.board import leaderboard
from picdesk.tasks.check import check
from picdesk.training.checkpoint import Checkpoint
from picdesk.trec.files import read_qrels, read_runs

log = logging.getLogger(__name__)
Check = Callable[[Mapping[str, str], Mapping[str, str]], None]
TASKS = (
    "evaluate",
    "check",
    "encode",
    "leaderboard",
    "compare",
    "export",
    "captioner",
    "tune_index",
    "tune_weights",
)


def no_check(data: Mapping[str, str], weights: Mapping[str, str]) -> None:
    """Any data and weights will do."""


def evaluate(cfg: DictConfig) -> float:
    """One job. Gives the mean hits@1 of both directions."""
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    opens = cfg.reproduce or cfg.task in ("compare", "leaderboard")
    with network.closed() if cfg.network is False or (opens and not cfg.network) else nullcontext():
        return run_task(cfg)


def run_task(cfg: DictConfig) -> float:
    """The task that `task` names."""
    if cfg.task == "check":
        return check(cfg)
    if cfg.task == "leaderboard":
        return leaderboard(cfg)
    if cfg.task == "encode":
        from picdesk.tasks.encode import encode

        return encode(cfg)
    if cfg.task == "tune_index":
        from picdesk.tasks.tune_index import tune

        return tune(cfg)
    if cfg.task == "compare":
        from picdesk.tasks.compare import compare

        return compare(cfg)
    if cfg.task == "tune_weights":
        from picdesk.tasks.tune_weights import tune_weights

        return tune_weights(cfg)
    if cfg.task == "export":
        from picdesk.tasks.export import export

        return export(cfg)
    if cfg.task == "captioner":
        from picdesk.tasks.captioner import captioner

        need_positive(cfg)
        check_all(cfg)
        refuse_reranker(cfg, "task=captioner compares captions and nothing else")
        return captioner(with_choices(cfg))
    if cfg.reproduce:
        from picdesk.tasks.reproduce import reproduce

        return reproduce(cfg)
    need_positive(cfg)
    if cfg.run_file or cfg.qrels_file:
        return evaluate_files(cfg, judge_expected)
    check_all(cfg)
    cfg, checkpoint = with_checkpoint(cfg)
    with how_to_obtain(cfg):
        return evaluate_model(cfg, checkpoint, judge_expected)


@contextmanager
def how_to_obtain(cfg: DictConfig) -> Iterator[None]:
    """Where data or weights are not there and the experiment says how to get them, say it in the same line."""
    try:
        yield
    except MissingFileError as error:
        raise MissingFileError(f"{error}; {cfg.obtain}" if cfg.obtain else str(error)) from error


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
        sources = Sources.of(world, part, backbone, encoder)
        scored = score_both(cfg, features, *embed(backbone, features), sources)
    learned = learned_by(cfg, checkpoint, world)
    apart = without_look_alikes(cfg, world, part, learned, scored)
    outcome = Outcome(
        systems=[("trained" if checkpoint else "as it is", scored, "main")],
        weights=weights,
        notes=(*untrained_note(backbone.name, checkpoint), *learned_note(learned, part), *apart.notes),
        slices=apart.slices,
        extra=apart.numbers,
        verdict=judge(cfg, scored),
    )
    finish(job, cfg, world, part, outcome, encoder)
    if outcome.verdict is not None:
        outcome.verdict.settle()
    return mean_hits(list(scored.values()))


def untrained_note(name: str, checkpoint: Checkpoint | None) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    if name.startswith("precomputed+lite"):
        told = "is untrained, so its vectors of texts do not belong to those of the data set: these are chance results"
        return (Note(f"the text tower of {name} {told}; name the one that made them: backbone.text_encoder", True),)
    if checkpoint is not None or not name.startswith("lite"):
        return ()
    return (
        Note(f"the heads of {name} are untrained, so these are chance results; give ckpt=... (or ckpt=latest)", True),
    )


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
    job.write_scores(scored, {})
    job.logger.log_metrics(flat_metrics(scored))
    job.logger.finish()
    verdict = judge(cfg, scored)
    write_verdict(job, verdict)
    tables = show.metric_tables([("run", scored, "main")])
    write_run_page(job, cfg, tables, show.rank_charts(scored), verdict)
    job.write_manifest(cfg, files, {}, None, 0)
    print_metrics(tables)
    log.info("report page: %s", job.folder / "index.html")
    if verdict is not None:
        verdict.settle()
    return job.objective
