"""Between a door and Hydra: mistakes of the user become one line on the terminal and exit status 2."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from picdesk.errors import ConfigError, UserError

Result = TypeVar("Result")
NO_GROUP = "Config group override must be"  # Hydra, for group=null
NO_TRIAL = ("No trials are completed yet.", "Record does not exist.")  # Optuna, when it is asked for the best of none


def job(run: Callable[[], Result]) -> Result:
    """Run the body of a door. A user's mistake ends a single job here, before Hydra reports it in several lines of its own.

    In a sweep a failure of any kind is written down in the job's folder, and there is no objective: the other jobs run.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from picdesk.pipelines import sweep

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return sweep.attempt(run)
    try:
        return run()
    except (UserError, OmegaConfBaseException) as error:
        if os.environ.get("PICDESK_TRACEBACK") == "1":
            raise
        leave(error)
    except sweep.OutsideError as outside:
        leave(outside, 1)


def leave(error: BaseException, status: int = 2) -> NoReturn:
    """Say what is wrong in one line and exit with status 2: a mistake; or 1: a number that is not what it should be."""
    told = re.sub(r"[\x00-\x1f\x7f-\x9f]+", "?", one_line(error))  # it may quote what somebody else wrote
    print(f"picdesk: {told}", file=sys.stderr)
    raise SystemExit(status) from None


def open_door(main: Callable[[], Any]) -> None:
    """Run a `@hydra.main` function; exit 2 with one line for a mistake in the call, the config or the data; 1 if jobs failed.

    With PICDESK_TRACEBACK=1 in the environment the whole traceback is shown instead.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from picdesk.pipelines import sweep

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
        sweep.leave_if_failed()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("PICDESK_TRACEBACK") == "1":
            raise
        leave(error)
    except ValueError as error:
        if str(error).startswith(NO_GROUP):
            leave(ConfigError("GROUP=null: a config group must be given one of its options; --help lists them"))
        if str(error) not in NO_TRIAL:
            raise
        leave(ConfigError("hparams_search: every trial failed; failure.json in each one's folder says why"), 1)
    except KeyboardInterrupt:
        print("picdesk: stopped", file=sys.stderr)
        raise SystemExit(130) from None


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks, advice for Hydra's developers and internal names."""
    text = str(error) or type(error).__name__
    missing_option = re.search(
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s+(.*?)\s+Config search", text, re.S
    )
    if missing_option:
        wanted, group, options = missing_option.groups()
        return f"{group}={wanted.rsplit('/', 1)[-1]} is not an option; choose one of {', '.join(options.split())}"
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
    """What to say of an override of something that is not there: the nearest names, if any is near."""
    from dataclasses import fields

    from picdesk.pipelines.config import Task

    near = difflib.get_close_matches(key.split(".")[0], [f.name for f in fields(Task)], 3)
    hint = f"did you mean {' or '.join(near)}? " if near and near[0] != key.split(".")[0] else ""
    return f"{key} is not a config option; {hint}see all with --cfg job"
