"""The task that `task=NAME` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from omegaconf import DictConfig

from picdesk import network
from picdesk.assembly.build import check_all
from picdesk.assembly.inherit import with_checkpoint, with_choices
from picdesk.assembly.reranking import refuse_reranker
from picdesk.errors import ConfigError, MissingFileError
from picdesk.jobs.folder import need_positive
from picdesk.jobs.verdict import judge_expected
from picdesk.tasks.check import check
from picdesk.tasks.evaluate import evaluate_files, evaluate_model
from picdesk.tasks.leaderboard import leaderboard

TASKS = (
    "evaluate",
    "check",
    "doctor",
    "encode",
    "leaderboard",
    "compare",
    "export",
    "captioner",
    "tune_index",
    "tune_weights",
    "agreement",
)


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
    if cfg.task == "doctor":
        from picdesk.assembly.needed import needs_of
        from picdesk.tasks.doctor import doctor

        return doctor(needs_of(cfg), Path(str(cfg.paths.output_dir)))
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
    if cfg.task == "agreement":
        from picdesk.tasks.agreement import agreement

        return agreement(cfg)
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
