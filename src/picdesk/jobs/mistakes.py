"""Mistakes of the user and faults of the machine, and the one line on the terminal that each becomes."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

from picdesk.assembly.schema import table_wanted, task_keys, top_keys
from picdesk.errors import UserError
from picdesk.process import machine, stops
from picdesk.text.lines import ONE_LINE

KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


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


def say(text: str) -> None:
    """One line on the error stream; where nobody reads that any more, or it is on a full disk, nothing."""
    told = ONE_LINE.sub("?", text)  # it may quote what somebody else wrote
    with suppress(OSError):
        print(f"picdesk: {told}", file=sys.stderr, flush=True)


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
    if merged and re.search(r"Cannot merge \w+ with \w+", str(error.__cause__)):  # the same words, whichever was given
        given = merged[1].strip().lstrip("+")
        key, _, value = given.partition("=")
        return f"{given}: {table_wanted(key) if value[:1] == '[' else f'a list is wanted, as in {key}=[VALUE]'}"
    if merged and "is not a ListConfig" in str(error.__cause__):
        key, _, value = merged[1].strip().partition("=")
        return f"{key}={value}: a list is wanted, such as {key}=[{value}]"
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

    first, _, own = key.partition(".")
    takers = [name for name, keys in task_keys().items() if first == "task" and own.split(".")[0] in keys]
    if takers:
        return f"{own} belongs to {', '.join(f'task={name}' for name in takers)}; this task does not take it"
    near = near_keys(key, top_keys().union(conf_keys(), *task_keys().values()))
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{key} is not a config option; {hint}see all with --cfg job"
