"""Between a door and Hydra: mistakes of the user become one line on the terminal and exit status 2."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from picdesk.assembly.command_line import one_line
from picdesk.errors import ConfigError, MachineError
from picdesk.jobs.mistakes import mistake, say
from picdesk.process import ending, stops

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from picdesk.tasks.base import Task

log = logging.getLogger(__name__)
OTHER_SPACE = (
    "hparams_search: the search in this folder was begun over other values (its study.db keeps them); give "
    "hydra.sweep.dir=ANOTHER_FOLDER to begin one anew, or remove that file"
)
SAID_BY_LIBRARIES = {
    "Config group override must be": "GROUP=null: a config group must be given one of its options; --help lists them",
    "Only one of --run": "of --multirun (-m), --cfg and --info only one can be given; --cfg job shows the config of a single job",
    'Could not detect "srun"': "hydra/launcher: SLURM is asked for, and this machine has no srun; start the sweep on a node of a "
    "SLURM cluster, or take hydra/launcher=joblib",
    "CategoricalDistribution does not support dynamic": OTHER_SPACE,
    "Cannot set different distribution kind": OTHER_SPACE,
}
"""How messages of Hydra, submitit and Optuna begin whose cause is the command, and what to say of it."""
LAUNCHER_KEYS = "what they ask for is set by hydra.launcher.mem_gb, cpus_per_task, timeout_min, partition, account, ..."
ENDED_WORKERS = ("TerminatedWorkerError", "BrokenProcessPool")
"""What joblib raises where a process of its own is no more."""
_FROZEN: list[bool] = []
NO_TRIAL = ("No trials are completed yet.", "Record does not exist.")  # Optuna, when it is asked for the best of none


def job(cfg: DictConfig, door: str) -> float | None:
    """Run the task that the config names. A user's mistake ends a single job here, before Hydra reports it in several lines.

    A single job says at its start where its folder is, and at its end which command follows.

    In a sweep a failure of any kind is written down in the job's folder, and there is no objective: the other jobs run.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from picdesk.assembly.early import tell_repeated
    from picdesk.jobs import attempts

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return attempts.attempt(lambda: do_task(cfg, door)[0])
    folder = Path(HydraConfig.get().runtime.output_dir)
    log.info("job: %s", folder)
    try:
        tell_repeated()
        objective, task = do_task(cfg, door)
        step = task.next_step(folder)
        if step:
            log.info("next: %s", step)
        return objective
    except attempts.OutsideError as outside:
        leave(outside, 1)
    except Exception as error:
        leave(mistake(error))


def do_task(cfg: DictConfig, door: str) -> tuple[float | None, Task]:
    """The objective of the task that a config names, once it is done, and the task."""
    from picdesk.assembly.early import Typed
    from picdesk.assembly.replaced import without_replaced

    cfg = without_replaced(cfg)
    Typed(cfg).check(door)
    from picdesk.assembly.session import Session
    from picdesk.tasks.base import run, task_of

    session = Session(cfg).with_plugins()
    task = task_of(session, door)
    collect_garbage()
    return run(session, task), task


def hold_garbage() -> None:
    """Let Python look for cycles no more until `collect_garbage`: what imports make stays, and looking through it costs a sixth
    of the time to start."""
    gc.disable()


def collect_garbage() -> None:
    """Look for cycles again, in what is made from now on."""
    if not gc.isenabled() and not _FROZEN:  # once: what a second job of this process leaves is garbage
        gc.freeze()
        atexit.register(gc.unfreeze)  # extensions count what is left at the very end, and report it
        _FROZEN.append(True)
    gc.enable()


def leave(error: BaseException, status: int = 2) -> NoReturn:
    """Say what is wrong in one line and exit with status 2: a mistake; or 1: a number that is not what it should be."""
    say(one_line(error))
    raise SystemExit(status) from None


def leave_without_workers() -> NoReturn:
    """Say that the system ended a process of the sweep, whereupon joblib ends them all; the leaderboard of what is done."""
    from picdesk.sweeps import callbacks

    callbacks.end_early()
    told = "the system ended a process of this sweep, and the others with it: most likely memory ran out; fewer jobs at once "
    leave(MachineError(f"{told}(hydra.launcher.n_jobs) take less{stops.advice()}"), 1)


def leave_stopped(stop: BaseException) -> NoReturn:
    """Say where the job was stopped and how to go on; write the leaderboard of a sweep's finished jobs; end what was begun."""
    from picdesk.sweeps import callbacks

    say(stops.line(stop))
    callbacks.end_early()
    stops.leave(stops.status(stop))


@contextmanager
def whole_streams() -> Iterator[None]:
    """Let a full disk under the job's log, or a closed pipe behind it, end in one line and not in the traceback of a logger."""
    before, logging.raiseExceptions = logging.raiseExceptions, os.environ.get("PICDESK_TRACEBACK") == "1"
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
    finally:
        logging.raiseExceptions = before


def open_door(main: Callable[[], Any], takes_text: bool = False) -> None:
    """Run a `@hydra.main` function; exit 2 with one line for a mistake in the call, the config or the data; 1 if jobs failed.

    Where the door `takes_text`, an argument without a key is what is searched for.

    With PICDESK_TRACEBACK=1 in the environment the whole traceback is shown instead. Where the process is the door's own, it ends
    here.
    """
    is_own, status = ending.is_own_process(sys._getframe(1)), 0
    try:
        run_door(main, takes_text)
    except SystemExit as left:
        if not is_own or not isinstance(left.code, int | None):
            raise
        status = left.code or 0
    if is_own:
        ending.end_process(status)


def run_door(main: Callable[[], Any], takes_text: bool) -> None:
    """What a door does. Raises `SystemExit` for whatever the user is told of."""
    from picdesk.commands.composing import run_composed_once
    from picdesk.jobs import attempts

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    hold_garbage()
    try:
        with stops.watch_signals(), whole_streams():
            read_command_line(takes_text)
            if not run_composed_once(main, sys.argv[1:]):
                main()
            attempts.leave_if_failed()
    except (stops.Stop, KeyboardInterrupt) as stop:
        leave_stopped(stop)
    except SystemExit:
        if stops.is_requested():  # Lightning leaves with status 0 after a signal
            leave_stopped(stops.requested_stop())
        raise
    except Exception as error:
        if type(error).__name__ in ENDED_WORKERS:
            leave_without_workers()
        meant = [told for beginning, told in SAID_BY_LIBRARIES.items() if str(error).startswith(beginning)]
        if meant and isinstance(error, ValueError | RuntimeError):
            leave(ConfigError(meant[0]))
        if type(error).__name__ == "FailedJobError":  # submitit's, where sbatch takes no job
            reasons = "; ".join(
                dict.fromkeys(re.sub(r"^\w+: error: ", "", line) for line in str(error).splitlines() if line)
            )
            leave(ConfigError(f"hydra/launcher: SLURM did not take the jobs ({reasons}); {LAUNCHER_KEYS}"))
        if isinstance(error, ValueError) and str(error) in NO_TRIAL:
            leave(ConfigError("hparams_search: every trial failed; failure.json in each one's folder says why"), 1)
        try:
            told = mistake(error)
        except stops.Stop as stop:
            leave_stopped(stop)
        leave(told)
    finally:
        collect_garbage()


def read_command_line(takes_text: bool) -> None:
    """Give Hydra the arguments in its own grammar; the manifest still has the command as it was typed."""
    from picdesk.assembly.command_line import door_arguments
    from picdesk.report import provenance

    provenance.remember_command(sys.argv)
    sys.argv[1:] = door_arguments(sys.argv[1:], takes_text)
