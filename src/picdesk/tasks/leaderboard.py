"""`evaluate.py task=leaderboard dir=D`: the leaderboard of all jobs below a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.jobs.found import find_jobs
from picdesk.parts import config_part
from picdesk.sweeps.board import common_measure, objective, over_shared, write
from picdesk.tasks.base import Task


@config_part
@dataclass(kw_only=True)
class Leaderboard(Task):
    """Make the leaderboard again over all jobs below `dir`. Gives the best job's objective."""

    takes_ckpt = False
    dir: str | None = None

    def opens_others(self) -> bool:
        """Jobs, anybody's."""
        return True

    def run(self, session: Session) -> float:
        """Find the jobs, write the board."""
        if not self.dir:
            raise ConfigError(
                "dir must be given: task=leaderboard dir=outputs/evaluate/... takes all jobs below that folder"
            )
        folder = Path(self.dir)
        if not folder.is_dir():
            raise MissingFileError(f"dir={self.dir}: no such folder; give one that holds the output dirs of jobs")
        jobs = find_jobs(folder).jobs
        if not jobs:
            raise DataError(f"dir={self.dir}: no finished job below that folder")
        write(folder, folder)
        measure = common_measure(jobs)
        return max(objective(job, measure) for job in over_shared(jobs))

    def next_step(self, folder: Path) -> str:
        """Nothing more: the board has named its best job, and the command that goes on with it."""
        return ""
