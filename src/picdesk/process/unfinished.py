"""Files and folders that are being written: under a name of their own that tells whose they are, and cleared away after a kill.

A name is `.NAME.MACHINE-PID-START.RANDOM.part`: MACHINE stands for the machine, its boot and its process namespace, START for
when the process began. So a folder can be cleared of what dead processes left without touching what living ones write.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

NAME = re.compile(r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)\.[^.]*\.part(\.[^.]*)?", re.DOTALL)
FOREIGN_S = 86_400.0
"""What a process of another machine was writing is taken for left behind after a day without a change."""
MOST_CHARACTERS = 60
_LIVING: set[Path] = set()
_SWEPT: set[tuple[int, str]] = set()
os.register_at_fork(after_in_child=_LIVING.clear)


def name_for(path: Path) -> str:
    """How the temporary name of `path` begins, up to what is random."""
    return f".{path.name[:MOST_CHARACTERS]}.{machine()}-{os.getpid()}-{_own_start(os.getpid())}."


def note_begin(path: Path) -> None:
    """Note a temporary file or folder of this process."""
    _LIVING.add(path)


def note_end(path: Path) -> None:
    """It has taken its name, or is to go: whatever still stands under the temporary name goes."""
    _LIVING.discard(path)
    remove(path)


def drop() -> None:
    """Remove everything that this process is writing: it ends without ado."""
    for path in tuple(_LIVING):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and if that can be done."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Clear a folder of what dead processes left unfinished in it; done once a process and folder."""
    key = (os.getpid(), str(folder))
    if key in _SWEPT:
        return
    _SWEPT.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name) if ".part" in entry.name else None
            if found and is_left(found["machine"], int(found["pid"]), found["start"], entry):
                remove(Path(entry.path))


def is_left(of_machine: str, pid: int, start: str, entry: os.DirEntry[str]) -> bool:
    """Whether nobody is at work on it any more."""
    if of_machine != machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > FOREIGN_S
    return str(start_of(pid) or "dead") != start and not (start == "0" and is_running(pid))


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def start_of(pid: int) -> int | None:
    """When a process began, in the system's ticks since boot; None where there is no such process, or where that is not told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _own_start(pid: int) -> int:
    """When this process began, asked once, though each file that is written wants it; 0 where that is not told."""
    return start_of(pid) or 0


@cache
def machine() -> str:
    """Eight hex digits over the machine's name, its boot and the process namespace: where pids mean the same."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no path, a name
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()
