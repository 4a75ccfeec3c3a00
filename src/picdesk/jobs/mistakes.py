"""Mistakes of the user and faults of the machine, and the one line on the terminal that each becomes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from picdesk.errors import UserError
from picdesk.process import machine, stops
from picdesk.text.lines import plain_line


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
    with suppress(OSError):
        print(f"picdesk: {plain_line(text)}", file=sys.stderr, flush=True)
