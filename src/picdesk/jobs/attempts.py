"""What is special about the jobs of a sweep: one that fails is written down and does not stop the others.

Imports nothing heavy: Hydra loads the callback before `--help` is answered.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig

from picdesk.files import write_json
from picdesk.process import machine, stops
from picdesk.text.lines import plain_line

log = logging.getLogger(__name__)
Result = TypeVar("Result")
FAILURE = "failure.json"
OPEN: list[Any] = []
FAILED: list[str] = []
TAKEN: dict[Path, list[str]] = {}
RUNNING: list[Path] = []


class OutsideError(Exception):
    """A number that is further from the reported one than the tolerance allows."""


def attempt(run: Callable[[], Result]) -> Result:
    """Run one job of a sweep. Whatever it raises is written down as `failure.json`, its logger closed as failed."""
    stops.of_a_worker()
    folder = Path(HydraConfig.get().runtime.output_dir)
    overrides = sorted(HydraConfig.get().overrides.task)
    if TAKEN.setdefault(folder, overrides) != overrides:
        apart = " ".join(sorted({*overrides}.symmetric_difference(TAKEN[folder])))
        FAILED.append(folder.name)
        log.error("failed: %s: another job of this sweep has this folder: %s cannot be swept", folder.name, apart)
        return None  # type: ignore[return-value]
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        return run()
    except Exception as error:
        stops.check()
        from picdesk.assembly.command_line import one_line

        told = machine.fault(error) or error
        reason = one_line(told) if str(told) else type(error).__name__
        trace = traceback.format_exception(error)
        with suppress(OSError):  # the disk that failed the job may fail this too
            write_json(folder / FAILURE, {"reason": reason, "kind": type(error).__name__, "traceback": trace})
        log.error("failed: %s: %s", folder.name, reason, exc_info=os.environ.get("PICDESK_TRACEBACK") == "1")
        close_loggers()
        return None  # type: ignore[return-value]  # Optuna counts it as failed and goes on; NaN would end the search
    except BaseException:
        close_loggers()
        raise
    finally:
        OPEN.clear()
        if len(TAKEN) == 1:
            gc.freeze()  # what the first job has loaded stays: to look through it takes as long as a job
            atexit.register(gc.unfreeze)  # of a launcher's worker too, or extensions report what is left at its end


def close_loggers() -> None:
    """Close the loggers of a job that failed or was stopped. One that cannot write what is left has no say."""
    for logger in OPEN:
        with suppress(Exception):
            logger.finish(failed=True)
    OPEN.clear()


def leave_if_failed() -> None:
    """Exit with status 1 if jobs of the sweep failed."""
    if FAILED:
        names = plain_line(", ".join(FAILED))
        print(f"picdesk: {len(FAILED)} of the sweep's jobs failed: {names}", file=sys.stderr)
        FAILED.clear()
        raise SystemExit(1)
