"""A finished job, and the jobs of a sweep, as Python sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picdesk.assembly.saved_config import as_written
from picdesk.errors import MissingFileError
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.found import find_jobs, value_of
from picdesk.measures.listing import KS, NAMES
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import read_scores
from picdesk.report.same_as import follow_pointer
from picdesk.retrieval.scores import Bars, Metrics, Scores, score
from picdesk.text.given import path_from
from picdesk.trec.files import read_qrels, read_runs
from picdesk.trec.runs import Qrels, Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OpenedJob:
    """A job's output dir; each file is read when it is first asked for."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """What the job was."""
        return Manifest.read(self.folder / "manifest.json")

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """metrics.json: by direction, `metrics` and `intervals`."""
        return read_scores(self.folder / "metrics.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml as plain values, interpolations as they are."""
        return as_written(self.folder / "config.yaml")

    @cached_property
    def run(self) -> dict[Direction, Run]:
        """What was found, by direction."""
        return read_runs(self.folder / "run.trec")

    @cached_property
    def qrels(self) -> dict[Direction, Qrels]:
        """What is relevant, by direction."""
        return read_qrels(self.folder / "qrels.trec")

    def scores(self, resamples: int = 10_000, level: float = 0.95, seed: int = 0) -> Scores:
        """The scores of the run again, by the metrics of the job's config, with intervals."""
        bars, asked = Bars(resamples, level, seed), self.config.get("metrics") or {}
        metrics = Metrics.of(asked.get("names", NAMES), asked.get("ks", KS))
        return Scores(
            {d: score(d, self.run[d], self.qrels[d], bars, metrics) for d in DIRECTIONS if d in self.run}, bars
        )


def open_job(folder: str | Path) -> OpenedJob:
    """The finished job in a folder, or that which the folder says is the same. Raises `MissingFileError` where there is none."""
    path = follow_pointer(path_from("folder", folder))
    if not (path / "manifest.json").is_file():
        raise MissingFileError(f"{folder}: no finished job there (manifest.json is missing)")
    return OpenedJob(path)


def sweep_results(folder: str | Path) -> pd.DataFrame:
    """A frame with a row a finished job below a folder: its name, what was swept (numbers as numbers), its objective (NaN where
    it had none) and its metrics (`t2i/hits@1`, ...). Raises `MissingFileError`."""
    import pandas as pd

    path = path_from("folder", folder)
    if not path.is_dir():
        raise MissingFileError(f"{folder}: no such folder; give that of a sweep")
    jobs = find_jobs(path).jobs
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    rows = [
        {"job": job.name, **{key: value_of(job, key) for key in keys}, "objective": job.manifest.objective}
        | {
            f"{d}/{name}": value
            for d in DIRECTIONS
            if d in job.metrics
            for name, value in job.metrics[d]["metrics"].items()
        }
        for job in jobs
    ]
    frame = pd.DataFrame(rows)
    for key in [*keys, "objective"] if rows else ():
        numbers = pd.to_numeric(frame[key], errors="coerce")
        if key == "objective" or not numbers.isna().any():
            frame[key] = numbers
    return frame
