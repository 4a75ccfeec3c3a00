"""The jobs of a sweep, or of any folder, as they lie on disk: what was asked of each, what it found, which failed."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.assembly.quoting import plain_value
from picdesk.assembly.saved_config import as_written, value_in
from picdesk.assembly.saved_text import read_overrides
from picdesk.errors import ConfigError, UserError
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.attempts import FAILURE
from picdesk.report.manifest import Manifest
from picdesk.report.measured_values import Value
from picdesk.report.metrics_file import LOOK_ALIKES, read_json, read_scores
from picdesk.report.same_as import follow_pointer

NOT_SWEPT = (
    "skip_completed",
    "paths",
    "logger",
    "dir",
    "task.dir",
    "shown",
    "hparams_search",
    "plugins",
    "network",
    "hydra",
)
UNNAMED = ("encode.batch_size", "encode.workers", "encode.device", "training.state_seconds")
"""Keys that are no part of a folder's name: a command that found its jobs done leaves other values among their overrides."""
MISSING, REMOVED = "—", "removed"
PRECISION = "encode.precision"


@dataclass(frozen=True)
class DoneJob:
    """A finished job: its name on the leaderboard, its folder, its overrides by key, its manifest and its metrics.

    `counted` are the directions that its mean hits@1 is over, as far as it has them.
    """

    name: str
    folder: Path
    overrides: Mapping[str, str]
    manifest: Manifest
    metrics: Mapping[str, Any]
    counted: tuple[Direction, ...] = DIRECTIONS

    @cached_property
    def hits(self) -> float:
        """Mean hits@1 over the directions that count."""
        return float(np.mean([self.metrics[d]["metrics"]["hits@1"] for d in self.counted if d in self.metrics]))

    @cached_property
    def choices(self) -> Mapping[str, str]:
        """The options of the groups that were chosen."""
        return choices_of(self)

    @property
    def milliseconds(self) -> float | None:
        """Search and reranking time of a query; None where it was not measured."""
        seconds = sum(stage.seconds for stage in self.manifest.stages if stage.name.startswith("search "))
        queries = sum(self.metrics[d]["metrics"]["queries"] for d in ("t2i", "i2t") if d in self.metrics)
        return 1000 * seconds / queries if seconds and queries else None

    @cached_property
    def numbers(self) -> dict[Direction, dict[str, Value]]:
        """The metrics by direction."""
        return {direction: values_of(self.metrics[direction]) for direction in DIRECTIONS if direction in self.metrics}

    @cached_property
    def both(self) -> dict[str, Value]:
        """The metrics over both directions; empty where none was asked for."""
        return values_of(self.metrics["both"]) if "both" in self.metrics else {}

    @cached_property
    def unseen(self) -> dict[Direction, dict[str, Value]]:
        """The same without queries about look-alikes of what was learned from; empty where there are none, or none are told."""
        parts = self.metrics.get(LOOK_ALIKES, {})
        there = DIRECTIONS if parts.get("look_alikes") else ()
        return {direction: values_of(parts[direction]) for direction in there if direction in parts}

    @property
    def alike(self) -> tuple[int, int]:
        """How many of the pictures that it reports were learned from, or look like one that was, and how many it reports."""
        parts = self.metrics.get(LOOK_ALIKES, {})
        alike, pictures = (parts.get(key) for key in ("look_alikes", "pictures"))
        return (alike, pictures) if isinstance(alike, int) and isinstance(pictures, int) else (0, 0)


def values_of(part: Mapping[str, Any]) -> dict[str, Value]:
    """The metrics of one direction of metrics.json, each with its interval where it has one."""
    ends = part["intervals"]
    return {name: Value(float(value), *ends.get(name, ())) for name, value in part["metrics"].items()}


@dataclass(frozen=True)
class Found:
    """Finished jobs, and (job, reason) of those that failed or did not get to their end."""

    jobs: tuple[DoneJob, ...]
    failures: tuple[tuple[str, str], ...]


def find_jobs(root: Path) -> Found:
    """All jobs at or below `root`, in the order of their paths; one that another folder only points at stands once."""
    there = sorted(folders(root))
    names = [folder.relative_to(root).as_posix() if folder != root else folder.name for folder in there]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # most of it is to take digests of files
        found = list(pool.map(find_job, names, there))
    told = [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, str)]
    own = {folder.resolve() for folder, one in zip(there, found, strict=True) if is_itself(one, folder)}
    jobs: dict[Path, DoneJob] = {}
    for folder, one in zip(there, found, strict=True):
        if isinstance(one, DoneJob) and (is_itself(one, folder) or one.folder.resolve() not in own):
            jobs.setdefault(one.folder.resolve(), one)
    return Found(tuple(jobs.values()), tuple(told))


def is_itself(job: DoneJob | str | None, folder: Path) -> bool:
    """Whether a folder holds the files of its job, and not the name of the folder that does."""
    return isinstance(job, DoneJob) and job.folder == folder


def find_job(name: str, folder: Path) -> DoneJob | str | None:
    """The finished job of this folder, or why it failed; None where there is none that has metrics."""
    if (folder / FAILURE).is_file():
        return reason_of(folder)
    try:
        source = follow_pointer(folder)
        if (source / "manifest.json").is_file():
            return done_job(name, source, folder) if (source / "metrics.json").is_file() else None
    except UserError as error:
        return str(error)
    return "did not get to its end: start the sweep again with skip_completed=true" if is_of_a_sweep(folder) else None


def done_job(name: str, source: Path, folder: Path) -> DoneJob:
    """One finished job. Raises `UserError` where its files are not as it left them."""
    manifest = Manifest.read(source / "manifest.json")
    manifest.check_files(source, there=False)
    asked = overrides_of(folder)
    job = DoneJob(name, source, asked, manifest, read_scores(source / "metrics.json"))
    ran = {key: config_value(job, key) for key in UNNAMED if key in asked}
    return dataclasses.replace(job, overrides=asked | {key: value for key, value in ran.items() if value})


def reason_of(folder: Path) -> str:
    """Why a job failed, as it wrote it down."""
    try:
        content = read_json(folder / FAILURE)
    except UserError as error:
        return str(error)
    return str(content.get("reason")) if isinstance(content, dict) else "failed"


def folders(root: Path) -> Iterator[Path]:
    """Folders that Hydra made for a job."""
    for parent, names, _ in os.walk(root):
        if ".hydra" in names:
            yield Path(parent)
        names[:] = [name for name in names if name not in (".hydra", "checkpoint", "wandb", "store")]


def is_of_a_sweep(folder: Path) -> bool:
    """Whether a sweep made this folder for a job that is to have metrics."""
    return (folder.parent / "multirun.yaml").is_file() and not list(folder.glob("*.json"))


def overrides_of(folder: Path) -> dict[str, str]:
    """What the command line set, by key; a key that it took away stands as `~key`."""
    path = folder / ".hydra" / "overrides.yaml"
    if not path.is_file():
        return {}
    lines = read_overrides(path)
    pairs = [(f"{one}={REMOVED}" if one.startswith("~") else one.lstrip("+")).partition("=") for one in lines]
    return {
        key: value for key, _, value in pairs if key != "task" and not {key, key.split(".")[0]}.intersection(NOT_SWEPT)
    }


def differing_keys(jobs: Sequence[DoneJob]) -> list[str]:
    """Keys that are not the same in all jobs, in the order of first appearance; last the precision, in which machines differ."""
    keys = dict.fromkeys([*(key for job in jobs for key in job.overrides), PRECISION])
    return [key for key in keys if len({value_of(job, key) for job in jobs}) > 1]


def value_of(job: DoneJob, key: str) -> str:
    """What the job has for a key, in one spelling: its override, else what its config says, else the option that was chosen.

    Of the precision what the job computed in: `auto` is another on another machine.
    """
    own, told = job.overrides.get(key), job.manifest.settings.get(key)
    if own and not (key == PRECISION and told):
        return spelling_of(own)
    return job.choices.get(key, MISSING) if told is None else as_shown(told)


@functools.cache
def spelling_of(value: str) -> str:
    """The value of an override as a config has it: 0.90 and 9e-1 are 0.9. What Hydra cannot read stays as it is."""
    try:
        return as_shown(json.dumps(plain_value(value)))
    except ConfigError:
        return value


def as_shown(text: str) -> str:
    """A value, given as JSON, for a table: texts without quotes, a whole number without a point."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if isinstance(found, str):
        return found
    shown = json.dumps(found, ensure_ascii=False, sort_keys=True).replace('"', "")
    return shown.removesuffix(".0")


def short(name: str) -> str:
    """A folder named after its overrides, which have columns of their own, by the six digits at its end."""
    match = re.fullmatch(r"[^/]*-([0-9a-f]{6})", name)
    return match[1] if match else name


def config_value(job: DoneJob, key: str) -> str:
    """What the job's config.yaml says under a dotted key; "" where it says nothing, or cannot be read."""
    try:
        found = value_in(job.folder / "config.yaml", key)
    except UserError:
        return ""
    return str(found) if found else ""


def choices_of(job: DoneJob) -> Mapping[str, str]:
    """The options that a job's config says were chosen; none where it cannot be read."""
    try:
        options = as_written(job.folder / "config.yaml").get("choices")
    except UserError:
        return {}
    return {str(key): str(value) for key, value in options.items()} if isinstance(options, dict) else {}
