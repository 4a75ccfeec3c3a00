"""Between a door and Hydra: mistakes of the user become one line on the terminal and exit status 2."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from picdesk import machine, stops
from picdesk.errors import ConfigError, UserError
from picdesk.lines import ONE_LINE

Result = TypeVar("Result")
NO_GROUP = "Config group override must be"  # Hydra, for group=null
KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
NO_TRIAL = ("No trials are completed yet.", "Record does not exist.")  # Optuna, when it is asked for the best of none


def job(run: Callable[[], Result]) -> Result:
    """Run the body of a door. A user's mistake ends a single job here, before Hydra reports it in several lines of its own.

    In a sweep a failure of any kind is written down in the job's folder, and there is no objective: the other jobs run.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from picdesk.jobs import attempts as sweep

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return sweep.attempt(run)
    try:
        return run()
    except sweep.OutsideError as outside:
        leave(outside, 1)
    except Exception as error:
        leave(mistake(error))


def mistake(error: Exception) -> Exception:
    """The mistake of the user, or the fault of the machine, behind an error. Raises the error itself where it is neither."""
    from hydra.errors import ConfigCompositionException, HydraException
    from omegaconf.errors import OmegaConfBaseException

    stops.check()  # a library may have turned the stop into an error of its own
    if os.environ.get("PICDESK_TRACEBACK") == "1":
        raise error
    if isinstance(
        error, UserError | ConfigCompositionException
    ):  # the latter may be an OSError: a file that is no option
        return error
    told = machine.fault(error)
    if told is None and not isinstance(error, HydraException | OmegaConfBaseException):
        raise error
    return told or error


def leave(error: BaseException, status: int = 2) -> NoReturn:
    """Say what is wrong in one line and exit with status 2: a mistake; or 1: a number that is not what it should be."""
    say(one_line(error))
    raise SystemExit(status) from None


def say(text: str) -> None:
    """One line on the error stream; where nobody reads that any more, or it is on a full disk, nothing."""
    told = ONE_LINE.sub("?", text)  # it may quote what somebody else wrote
    with suppress(OSError):
        print(f"picdesk: {told}", file=sys.stderr, flush=True)


def leave_stopped(stop: BaseException) -> NoReturn:
    """Say where the job was stopped and how to go on; write the leaderboard of a sweep's finished jobs; end what was begun."""
    from picdesk.jobs import attempts as sweep

    say(stops.line(stop))
    sweep.end_early()
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

    With PICDESK_TRACEBACK=1 in the environment the whole traceback is shown instead.
    """
    from picdesk.jobs import attempts as sweep

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        with stops.watched(), whole_streams():
            read_command_line(takes_text)
            main()
            sweep.leave_if_failed()
    except (stops.Stop, KeyboardInterrupt) as stop:
        leave_stopped(stop)
    except SystemExit:
        if stops.asked():  # Lightning leaves with status 0 after a signal
            leave_stopped(stops.asked_for())
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(NO_GROUP):
            leave(ConfigError("GROUP=null: a config group must be given one of its options; --help lists them"))
        if isinstance(error, ValueError) and str(error) in NO_TRIAL:
            leave(ConfigError("hparams_search: every trial failed; failure.json in each one's folder says why"), 1)
        try:
            told = mistake(error)
        except stops.Stop as stop:
            leave_stopped(stop)
        leave(told)


def read_command_line(takes_text: bool) -> None:
    """Give Hydra the arguments in its own grammar; the manifest still has the command as it was typed."""
    from picdesk.assembly.command_line import hydra_arguments
    from picdesk.report import provenance

    provenance.remember_command(sys.argv)
    sys.argv[1:] = hydra_arguments(sys.argv[1:], top_keys(), takes_text)


def top_keys() -> set[str]:
    """Keys and groups at the top of the config."""
    from dataclasses import fields

    from picdesk.assembly.schema import Task

    return {field.name for field in fields(Task)} | {"experiment", "hparams_search", "hydra"}


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks, advice for Hydra's developers and internal names."""
    text = str(error) or type(error).__name__
    missing_option = re.search(
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s+(.*?)\s+Config search", text, re.S
    )
    if missing_option:
        wanted, group, options = missing_option.groups()
        return f"{group}={wanted.rsplit('/', 1)[-1]} is not an option; choose one of {', '.join(options.split())}"
    wrong_kind = re.search(r"could not be converted to (\w+)", f"{text} {error.__cause__}")
    merged = re.match(r"Error merging override (\S.*)", text, re.S)
    if merged and wrong_kind:
        return f"{merged[1].strip()}: {KINDS.get(wrong_kind[1], wrong_kind[1])} is wanted"
    missing_key = re.search(r"(?:Could not override '([^']+)'|Key '([^']+)' (?:is )?not in)", text)
    if missing_key and not isinstance(error, UserError):
        return unknown_key(missing_key.group(1) or missing_key.group(2))
    missing_value = re.search(r"Missing mandatory value: (\S+)", text)
    if missing_value:
        return f"{missing_value.group(1)} must be given: add {missing_value.group(1)}=VALUE"
    kept = [
        line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\s*(full_key|object_type)", line)
    ]
    return " ".join(kept)


def unknown_key(key: str) -> str:
    """What to say of an override of something that is not there: the keys that may have been meant, if any are near."""
    from picdesk.assembly.command_line import near_keys
    from picdesk.assembly.schema import conf_keys

    near = near_keys(key, top_keys() | conf_keys())
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{key} is not a config option; {hint}see all with --cfg job"
