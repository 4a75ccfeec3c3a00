"""The task that `task=NAME` names."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig

from picdesk import network
from picdesk.assembly.schema import typed
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, MissingFileError
from picdesk.jobs.folder import need_positive
from picdesk.jobs.verdict import judge_expected
from picdesk.tasks.evaluate import evaluate_files, evaluate_model

BY_MODULE = {
    "check": "check",
    "encode": "encode",
    "leaderboard": "leaderboard",
    "compare": "compare",
    "export": "export",
    "captioner": "captioner",
    "tune_index": "tune",
    "tune_weights": "tune_weights",
    "agreement": "agreement",
}
"""The tasks beside `evaluate` itself: a module of `tasks/` each, and the function in it; imported once it is asked for."""
TASKS = ("evaluate", "doctor", *BY_MODULE)


def evaluate(cfg: DictConfig) -> float:
    """One job. Gives the mean hits@1 of both directions."""
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    opens = cfg.reproduce or cfg.task in ("compare", "leaderboard")
    with network.closed() if cfg.network is False or (opens and not cfg.network) else nullcontext():
        return run_task(cfg)


def run_task(cfg: DictConfig) -> float:
    """The task that `task` names."""
    if cfg.task == "doctor":
        from picdesk.assembly.needed import needs_of
        from picdesk.tasks.doctor import doctor

        return doctor(needs_of(cfg), Path(str(cfg.paths.output_dir)))
    if cfg.task in BY_MODULE:
        name = BY_MODULE[cfg.task]
        found: float = getattr(importlib.import_module(f"picdesk.tasks.{cfg.task}"), name)(cfg)
        return found
    if cfg.reproduce:
        from picdesk.tasks.reproduce import reproduce

        return reproduce(cfg)
    settings = typed(cfg)
    need_positive(settings)
    if settings.run_file or settings.qrels_file:
        return evaluate_files(Session(cfg), judge_expected)
    session = Session.open(cfg)
    try:
        return evaluate_model(session, judge_expected)
    except MissingFileError as error:  # data or weights are not there; the experiment may say how to get them
        raise MissingFileError(f"{error}; {settings.obtain}" if settings.obtain else str(error)) from error
