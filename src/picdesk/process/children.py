"""The processes that this one has started: found where the system tells, and ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def end(patience_s: float = 2.0) -> None:
    """End the processes that this one has started: asked first, if there is time, then forced."""
    living = _children(os.getpid())
    _send(living, signal.SIGTERM if patience_s else signal.SIGKILL)
    until = time.monotonic() + patience_s
    while living and time.monotonic() < until:
        time.sleep(0.05)
        living = [pid for pid in living if _is_alive(pid)]
    if patience_s:
        _send(living, signal.SIGKILL)


def _send(pids: list[int], signum: signal.Signals) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signum)


def _children(pid: int) -> list[int]:
    """Children, and theirs, where the system tells (Linux)."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                if (
                    b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
                ):  # ends by itself, with its owner
                    found += [child, *_children(child)]
    return found


def _is_alive(pid: int) -> bool:
    with suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
