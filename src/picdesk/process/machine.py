"""Faults of the machine in one line: a full disk, no permission, too many files, no memory. Imports nothing heavy."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from picdesk.errors import MachineError, UserError, first_line
from picdesk.process import stops, unfinished
from picdesk.text.lines import plain_line

NO_MEMORY = (
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "unable to allocate"),
    *("can't start new thread", "std::bad_alloc", "failed to map segment"),
)
"""What CUDA, torch, numpy, Python, C++ and the loader of libraries say, in lower case, where memory ran out."""
SAID: dict[str, int] = {
    "no space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "pytorchstreamwriter failed": errno.ENOSPC,
    "iostream error": errno.ENOSPC,  # torch too, whose writer tells no more
    "unexpected pos": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "too many open files": errno.EMFILE,
    "read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
    "permission denied": errno.EACCES,
    "input/output error": errno.EIO,
    "disk i/o error": errno.EIO,
    "file too large": errno.EFBIG,
    "unable to open database file": errno.EACCES,
}
"""What libraries that raise no `OSError` of their own say of one, in lower case."""
MEANS: dict[int, str] = {
    errno.ENOSPC: "the disk is full; make room there, or write elsewhere (paths.outputs=DIR, paths.store=DIR)",
    errno.EDQUOT: "your share of the disk is used up; make room, or write elsewhere (paths.outputs=DIR, paths.store=DIR)",
    errno.EFBIG: "the file grew past what the system allows (ulimit -f); raise that, or write elsewhere (paths.outputs=DIR)",
    errno.EACCES: "no permission; change its rights, or name another folder (paths.outputs=DIR, paths.store=DIR)",
    errno.EPERM: "the system does not permit it; change its rights, or name another folder (paths.outputs=DIR)",
    errno.EROFS: "the file system can only be read; write elsewhere (paths.outputs=DIR, paths.store=DIR)",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away, or name another folder",
    errno.EEXIST: "a file stands where a folder is needed; move it away, or name another folder",
    errno.EISDIR: "a folder stands where a file is needed; move it away, or name a file",
    errno.ENOTEMPTY: "a folder with something in it stands there; move it away, or name another",
    errno.ENOENT: "it is not there and cannot be made: it was removed while the job was at work, or the path is wrong",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n 65536), or lower encode.workers",
    errno.ENFILE: "too many open files on this machine; end other programs, or lower encode.workers",
    errno.ENAMETOOLONG: "the path is longer than the file system allows; choose a shorter one",
    errno.EIO: "the disk or the network drive fails when it is read or written; look after it, then run again",
    errno.ESTALE: "the network drive has lost the file; mount it again, then run again",
    errno.EPIPE: "who read the output has gone away",
    errno.ETXTBSY: "another program is using the file; end that first",
}
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOSPC, errno.ENOTCONN, errno.EHOSTDOWN)


def fault(error: BaseException) -> UserError | None:
    """The fault of the machine behind an error, or behind what caused it, as one line; None where it is none."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return None
        if isinstance(seen, UserError):
            return seen if seen is not error else None
        if no_memory(seen):
            return MachineError(memory_line())
        if isinstance(seen, OSError):
            return MachineError(os_line(seen))
        code = code_said(seen)
        if code:
            return MachineError(f"{first_line(seen)}: {MEANS[code]}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the CPU's, a device's, or what a limit leaves of it."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError) and any(words in str(error).lower() for words in NO_MEMORY)


def memory_line() -> str:
    """What helps where memory ran out."""
    return (
        "memory ran out: lower encode.batch_size and encode.workers, in training training.batch_size or training.chunk, take "
        "a smaller part of the data, or lift the limit (ulimit -v, the job's memory on a cluster)"
    )


def code_said(error: BaseException) -> int | None:
    """The system's error number behind a library's own words."""
    text = str(error).lower()
    return next((code for words, code in SAID.items() if words in text), None)


def code_behind(error: BaseException) -> int | None:
    """The number of the `OSError` that a library turned into an error with the words of one, else of its own words."""
    said, behind = code_said(error), error.__context__
    return behind.errno or said if said and isinstance(behind, OSError) else said


def os_line(error: OSError) -> str:
    """An `OSError` as one line: the path, and what helps."""
    code = error.errno or code_said(error) or 0
    paths = [os.fsdecode(path) for path in (error.filename2, error.filename) if isinstance(path, str | bytes)]
    if not paths and code == errno.ENOENT and not _here():
        return "the current folder does not exist any more; change to one that does (cd), then run again"
    named = paths[0] if paths else first_line(error)
    if code in (errno.ENOENT, errno.ENOTDIR) and paths:
        blocked = next((parent for parent in Path(named).parents if parent.exists() and not parent.is_dir()), None)
        if blocked:
            return f"{blocked}: {MEANS[errno.ENOTDIR]}"
    told = MEANS.get(code)
    if told is None:
        return f"{named}: {error.strerror or first_line(error)}" if paths else named
    return f"{named}: {told}"


def _here() -> bool:
    try:
        return bool(Path.cwd())
    except OSError:
        return False


def refuse(error: BaseException) -> None:
    """Raise `MachineError` where an error says something of the machine and nothing of the file that was being read: whoever
    leaves out what cannot be read must not leave out for that."""
    if no_memory(error) or (isinstance(error, OSError) and error.errno in OF_THE_MACHINE):
        raise fault(error) or error


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Name `path` in what the machine raises inside: errors of a write, and what libraries say of a full disk, name no file."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or unfinished.NAME.fullmatch(Path(os.fsdecode(error.filename)).name)
        if isinstance(error, UserError) or not own:
            raise
        code = error.errno or code_said(error)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error
    except Exception as error:
        code = None if isinstance(error, UserError) else code_behind(error)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def command(run: Callable[[], int], prefix: str = "error") -> int:
    """The body of a command: its exit status, or 2 after one line for a mistake or a fault of the machine, 130 or 143 if
    it is stopped."""
    try:
        with stops.watch_signals():
            return run()
    except (stops.Stop, KeyboardInterrupt) as stop:
        print(f"{prefix}: {stops.line(stop)}", file=sys.stderr)
        stops.leave(stops.status(stop))
    except Exception as error:
        told = error if isinstance(error, UserError) else fault(error)
        if told is None or os.environ.get("PICDESK_TRACEBACK") == "1":
            raise
        print(f"{prefix}: {plain_line(told)}", file=sys.stderr)
        return 2
