"""What Hydra calls when a sweep begins and ends: the leaderboard comes without being asked.

Imports nothing heavy: Hydra loads the callback before `--help` is answered.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, read_write

from picdesk.assembly import schema as schema  # a launcher's worker unpickles the callback, and so has our resolvers
from picdesk.assembly.command_line import one_line
from picdesk.errors import DataError
from picdesk.jobs.attempts import FAILED, RUNNING, TAKEN, close_loggers
from picdesk.jobs.mistakes import say
from picdesk.process import machine, stops
from picdesk.process.foreign_folders import check_to_write

log = logging.getLogger(__name__)
LOST: list[str] = []
QUEUE_S = 60.0
BASIC, ONCE = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "hydra_plugins.picdesk_sweeper.ComposingOnce"


def end_early() -> None:
    """A signal ends a sweep between or within its jobs: the leaderboard of those that are done, where there are some."""
    close_loggers()
    for folder in RUNNING:
        with suppress(Exception):
            from picdesk.sweeps import board

            if any(folder.glob("*/manifest.json")):
                board.write(folder, folder)
    RUNNING.clear()


def refuse_links(folder: str, key: str) -> None:
    """End here where writing into a folder that is there already would write elsewhere. Hydra makes warnings of plain errors."""
    try:
        check_to_write(Path(folder).expanduser(), key)
    except DataError as error:
        say(one_line(error))
        raise SystemExit(2) from None


def refuse_moving(chdir: bool | None, outputs: str) -> None:
    """End here where each job would have a store of its own, and find no checkpoint of the others."""
    if chdir and not Path(outputs).is_absolute():
        say(
            f"hydra.job.chdir=true: paths.outputs={outputs} would be another folder in each job; leave chdir out, or give "
            "the folder from the root (and so data.root and whatever else is named)"
        )
        raise SystemExit(2)


def refuse_sharing(asked: Sequence[str], hydra: Mapping[str, Any]) -> None:
    """End here where jobs would have one folder: they differ in a key that is no part of its name, and a launcher's workers would
    write into it at the same time. `hydra` is Hydra's own config as plain values, unresolved."""
    searched = [f"{key}={value}" for key, value in (hydra["sweeper"].get("params") or {}).items()]
    named = "override_dirname" in str(hydra["sweep"]["subdir"])  # and not in another way, by the command
    unnamed = hydra["job"]["config"]["override_dirname"]["exclude_keys"] if named else ()
    for one in OverridesParser.create().parse_overrides([*asked, *searched]):
        if one.key_or_group in unnamed and one.is_sweep_override():
            say(
                f"{one.input_line}: cannot be swept, as the key is no part of the name of a job's folder, and jobs would share "
                "one; start a sweep for each value, or name the folders: 'hydra.sweep.subdir=${hydra.job.num}'"
            )
            raise SystemExit(2)


def outlive_lost_jobs(launcher: str) -> None:
    """Let submitit give nothing for a job that the system ended (no memory, time is up, cancelled), as a failed job does.

    It raises, and the sweep would end with the first such job: without a leaderboard, while the others are at work.
    """
    LOST.clear()
    if "submitit" not in launcher:
        return
    from submitit.core import core, utils

    if getattr(core.Job.results, "outlives", False):
        return
    original = core.Job.results

    def results(job: Any) -> Any:
        try:
            return original(job)
        except utils.UncompletedJobError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            last = [] if "No error stream" in str(error) else lines[2:][-1:]
            LOST.append(f"job {job.job_id} of the launcher")
            log.error("lost: %s", " ".join((*lines[:2], *last)))
            return [JobReturn(status=JobStatus.COMPLETED)]

    results.outlives = True  # type: ignore[attr-defined]
    core.Job.results = results  # type: ignore[method-assign, assignment]
    ask_queue_too()


def ask_queue_too() -> None:
    """Let submitit ask SLURM's queue for jobs that `sacct` says nothing of. Where a cluster keeps no accounts it never learns
    that a job was killed, and waits for it for ever."""
    from submitit.slurm import slurm

    asked_alone = slurm.SlurmInfoWatcher.update

    def update(watcher: Any) -> None:
        waiting = watcher._registered - watcher._finished
        for job in waiting:
            watcher._info_dict.pop(job, None)  # what the queue said before is no longer so; `sacct` says its own again
        asked_alone(watcher)
        unknown = [job for job in waiting if watcher.get_state(job, "cache") == "UNKNOWN"]
        queue = states_in_queue() if unknown else None
        if queue is None:
            return
        for job in unknown:
            watcher._info_dict[job] = {"State": queue.get(job, "GONE")}
            if watcher.is_done(job, "cache"):
                watcher._finished.add(job)

    slurm.SlurmInfoWatcher.update = update  # type: ignore[method-assign, assignment]


def states_in_queue() -> dict[str, str] | None:
    """The state of each of this user's jobs that SLURM still knows, each of an array by itself; None where it does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUEUE_S).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split() for line in listed.splitlines() if len(line.split()) == 2)


def on_cluster() -> str:
    """What to say as a sweep is stopped whose jobs are SLURM's: they do not end with it."""
    slurm = sys.modules.get("submitit.slurm.slurm")
    watcher = slurm.SlurmJob.watcher if slurm else None
    going = (
        {job.partition("_")[0] for job in watcher._registered if not watcher.is_done(job, "cache")} if watcher else ()
    )
    return f"; its jobs are still with the cluster, end them: scancel {' '.join(sorted(going))}" if going else ""


class Leaderboard(Callback):
    """At the end of a sweep, without being asked: leaderboard.csv, leaderboard.html, the table on the terminal."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra itself writes into the folder of a job, before the job begins."""
        refuse_moving(OmegaConf.select(config, "hydra.job.chdir"), str(OmegaConf.select(config, "paths.outputs")))
        refuse_links(config.hydra.run.dir, "resume" if config.task.get("resume") else "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Nothing has failed yet. Hydra makes its sweeper after this: ours in the place of its own, where it is found."""
        refuse_moving(OmegaConf.select(config, "hydra.job.chdir"), str(OmegaConf.select(config, "paths.outputs")))
        refuse_links(config.hydra.sweep.dir, "hydra.sweep.dir")
        outlive_lost_jobs(str(OmegaConf.select(config, "hydra.launcher._target_")))
        known = {f"{kind.__module__}.{kind.__name__}" for kind in Plugins.instance().discover(Sweeper)}
        if config.hydra.sweeper["_target_"] == BASIC and ONCE in known:
            with read_write(config):
                config.hydra.sweeper["_target_"] = ONCE
        from picdesk.assembly import checkpoints, shelf

        shelf.forget()
        command = list(config.hydra.overrides.task)
        plain: Any = OmegaConf.to_container(config, resolve=False)
        refuse_sharing(command, plain["hydra"])
        searches = config.hydra.sweeper.get("study_name") is not None
        checkpoints.note_meanings(
            Path(config.hydra.sweep.dir),
            Path(str(OmegaConf.select(config, "paths.outputs"))),
            checkpoints.words_asked({str(k): v for k, v in plain.items() if k != "hydra"}, command),
            command,
            OmegaConf.select(config, "task.door") == "train" and (searches or bool(config.get("skip_completed"))),
        )
        if searches:  # by this file of Hydra's own sweeper a sweep is known; Optuna's leaves none
            Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, Path(config.hydra.sweep.dir) / checkpoints.SWEEP)
        FAILED.clear()
        TAKEN.clear()
        RUNNING[:] = [Path(config.hydra.sweep.dir)]
        again = shlex.join(["skip_completed=true", f"hydra.sweep.dir={config.hydra.sweep.dir}"])
        stops.go_on_by(lambda: f"go on: the same command with {again}{on_cluster()}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the leaderboard of all jobs in the sweep's folder."""
        from picdesk.assembly import shelf
        from picdesk.jobs import rankings
        from picdesk.sweeps import board

        shelf.forget()
        folder = Path(config.hydra.sweep.dir)
        RUNNING.clear()
        if not LOST and not any(path.is_dir() for path in folder.glob("*")):
            say(f"no job: nothing is in one of the choices, ranges or globs of {' '.join(config.hydra.overrides.task)}")
            raise SystemExit(2)
        try:
            FAILED.extend(board.write(folder, folder) or LOST)  # what was lost before it began has no folder
        except Exception as error:  # Hydra would turn it into a warning, and the exit status would be 0
            told = machine.fault(error)
            log.error("the leaderboard of %s could not be made", folder, exc_info=told is None)
            FAILED.append(f"leaderboard: {told or error}")
        finally:
            rankings.forget()
