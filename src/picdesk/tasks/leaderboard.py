"""`evaluate.py task=leaderboard dir=D`: the leaderboard of all jobs below a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.jobs.found import find_jobs
from picdesk.sweeps.board import common_measure, objective, write


def leaderboard(cfg: DictConfig) -> float:
    """`task=leaderboard dir=D`: make it again over all jobs below D. Gives the best job's objective."""
    if not cfg.dir:
        raise ConfigError(
            "dir must be given: task=leaderboard dir=outputs/evaluate/... takes all jobs below that folder"
        )
    folder = Path(cfg.dir)
    if not folder.is_dir():
        raise MissingFileError(f"dir={cfg.dir}: no such folder; give one that holds the output dirs of jobs")
    jobs = find_jobs(folder).jobs
    if not jobs:
        raise DataError(f"dir={cfg.dir}: no finished job below that folder")
    write(folder, folder)
    measure = common_measure(jobs)
    return max(objective(job, measure) for job in jobs)
