"""evaluate.py: retrieve and score a part of a data set in both directions, or score a run that is already there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, MissingFileError
from picdesk.jobs.folder import need_positive
from picdesk.jobs.verdict import judge_expected
from picdesk.parts import config_part
from picdesk.tasks.base import Task
from picdesk.tasks.reproduce import reproduce
from picdesk.tasks.scoring import evaluate_files, evaluate_model


@config_part
@dataclass(kw_only=True)
class Evaluate(Task):
    """One job. Gives the mean hits@1 of both directions.

    With `run_file` and `qrels_file` that run is scored; with `reproduce` a finished job is had again.
    """

    takes_filter = True
    run_file: str | None = None
    qrels_file: str | None = None
    reproduce: str | None = None

    def opens_others(self) -> bool:
        """A job that is had again may be anybody's."""
        return bool(self.reproduce)

    def run(self, session: Session) -> float:
        """Score a backbone, a run, or a job again."""
        if self.reproduce:
            return reproduce(session, self.reproduce)
        settings = session.settings
        need_positive(settings)
        if self.run_file or self.qrels_file:
            if settings.ckpt is not None:
                raise ConfigError(f"ckpt={settings.ckpt}: run_file={self.run_file} is scored as it is; leave ckpt out")
            return evaluate_files(session, self.run_file, self.qrels_file, judge_expected)
        try:
            return evaluate_model(session.open(), judge_expected)
        except MissingFileError as error:  # data or weights are not there; the experiment may say how to get them
            raise MissingFileError(f"{error}; {settings.obtain}" if settings.obtain else str(error)) from error

    def next_step(self, folder: Path) -> str:
        """Give it to somebody who checks it."""
        if self.reproduce:
            return super().next_step(folder)
        return f"picdesk pack {shlex.quote(str(folder))} job.tar.gz  # one file that another person can check"
