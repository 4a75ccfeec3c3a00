"""The end of a process that is nothing but a door: all that Python does at its end, but for taking the interpreter apart.

That takes a third of a second where torch is loaded, and gives back what the system takes back anyway.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_OWN: list[int] = []


def claim_process() -> None:
    """Say that this process ends with the door that it is going to open: nobody goes on after it."""
    _OWN[:] = [os.getpid()]


def is_own_process(frame: FrameType | None) -> bool:
    """Whether a process ends with the code of this frame: it is the script that Python was started with, or has been claimed.

    Under a debugger, a profiler or a test there are further frames below it, and with `python -i` there is a prompt to come.
    """
    is_script = frame is not None and frame.f_back is None and frame.f_globals.get("__name__") == "__main__"
    return (is_script or os.getpid() in _OWN) and not sys.flags.inspect


def end_process(status: int, waits: bool = True) -> NoReturn:
    """Wait for threads (unless a signal asked for the end), run what is registered for the end, flush, end with this status.

    Where a stream takes no more, Python itself ends the process and reports it as it does.
    """
    if waits:
        with suppress(KeyboardInterrupt):  # the job is done, and its status known
            threading._shutdown()  # type: ignore[attr-defined]
    logging.shutdown()
    logging.disable()  # all is said: torch, half imported when a signal came, would go on to tell of its caches
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except Exception:
            if waits:
                raise SystemExit(status) from None
    with suppress(Exception):  # what libraries in C hold back for a pipe
        ctypes.CDLL(None).fflush(None)
    os._exit(status)
