"""TERM and INT end every task within seconds: at a safe point where there is one, at once where a second signal asks for it.

The handler raises `Stop` in the main thread, through whatever is at work: what is written is written whole, so a file that was
being written is dropped. Where code has a better point to stop at (`gently`), it is given some seconds to reach it. A thread
watches meanwhile: it asks again where the first `Stop` was lost (Python drops what is raised inside a destructor), and ends the
process where the main thread does not come back from a library.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from picdesk.process import children, ending, unfinished

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GENTLE_S = 4.0
"""How long a stop waits for a safe point, and how long a lost one before it is asked again."""
LIMIT_S = 10.0
"""After so many seconds the process is ended, whatever it is at."""


class Stop(BaseException):
    """A signal asked for the end. No `Exception`: nothing that goes on after errors may go on after this."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _State:
    """What is known in this process; `pid` tells it from a forked child."""

    def __init__(self) -> None:
        self.pid = 0
        self.asked: int | None = None
        self.gentle = 0
        self.heard = False
        self.nudged = False
        self.where = ""
        self.go_on: Callable[[], str] | None = None


_STATE = _State()


def is_requested() -> bool:
    """Whether a signal has asked for the end."""
    return _STATE.asked is not None


def requested_stop() -> Stop:
    """The stop that was asked for."""
    return Stop(_STATE.asked or signal.SIGINT)


def check() -> None:
    """Stop here if that was asked for: the place is a safe one."""
    if is_requested():
        raise requested_stop()


@contextmanager
def gently() -> Iterator[None]:
    """Inside, a signal only notes what is asked; the code calls `check` where it can stop. Not for ever: see `GENTLE_S`."""
    _STATE.gentle += 1
    try:
        yield
    finally:
        _STATE.gentle -= 1
    if not _STATE.gentle:
        check()


def take_back() -> None:
    """Have the handlers again where a library has put its own over them and means something else by a signal."""
    if _STATE.pid == os.getpid() and threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            signal.signal(signum, _handle)


def note_place(where: str) -> None:
    """Note what the process is at, for the line that says where it stopped."""
    _STATE.where = where


def go_on_by(how: Callable[[], str] | None) -> None:
    """Note what gives the advice of how to go on; asked only if the process is stopped."""
    _STATE.go_on = how


def status(stop: BaseException) -> int:
    """The exit status that shells give a signal: 143 for TERM, 130 for INT."""
    return 128 + (stop.signum if isinstance(stop, Stop) else int(signal.SIGINT))


def line(stop: BaseException) -> str:
    """What to say of a stop: by which signal, where, how to go on."""
    signum = stop.signum if isinstance(stop, Stop) else signal.SIGINT
    return (
        f"stopped by {signal.Signals(signum).name}" + (f" while at: {_STATE.where}" if _STATE.where else "") + advice()
    )


def advice() -> str:
    """How to go on, behind a semicolon; nothing where that is not known."""
    how = _STATE.go_on
    with suppress(Exception):
        return f"; {how()}" if how is not None else ""
    return ""


@contextmanager
def watch_signals() -> Iterator[None]:
    """Turn TERM and INT into `Stop` inside the block; afterwards the handlers are those from before.

    Does nothing outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread() or _STATE.pid == os.getpid():
        yield
        return
    _STATE.__init__()  # type: ignore[misc]
    _STATE.pid = os.getpid()
    before = {signum: signal.signal(signum, _handle) for signum in SIGNALS}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wake = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda args: None if isinstance(args.exc_value, Stop) else unraisable(args)
    watcher = threading.Thread(target=_watch, args=(reading,), name="stops", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        if os.getpid() == _STATE.pid and _STATE.asked is None:
            signal.set_wakeup_fd(wake)
            for signum, handler in before.items():
                signal.signal(signum, handler)
            sys.unraisablehook = unraisable
            os.write(writing, b"\0")
            watcher.join(1)
            os.close(writing)
            os.close(reading)
            _STATE.pid = 0
        else:
            _STATE.heard = True  # the process ends now; the watcher sees to that, and further signals do not disturb it


@contextmanager
def leave_signals() -> Iterator[None]:
    """Within, signals are somebody else's: an event loop's, which takes them and ends by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    wake = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)


def of_a_worker() -> None:
    """In a worker of a launcher: TERM ends it, INT is the parent's, which ends its workers."""
    is_worker = multiprocessing.current_process().name != "MainProcess" and _STATE.pid != os.getpid()
    if is_worker and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _handle(signum: int, frame: FrameType | None) -> None:
    if os.getpid() != _STATE.pid:
        return
    again, _STATE.nudged = _STATE.nudged, False
    if _STATE.asked is None:
        _STATE.asked = signum
        if _STATE.gentle:
            return
    elif not again or _STATE.heard:
        return
    raise Stop(_STATE.asked)


def _in_child() -> None:
    """A forked child dies of TERM and leaves INT to its parent; it must not wake the parent's watcher."""
    if _STATE.pid and _STATE.pid != os.getpid():
        with suppress(ValueError, OSError):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _STATE.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_in_child)


def _watch(reading: int) -> None:
    """The thread: from the first signal on, count further ones and the seconds."""
    first = _next_signal(reading, None)
    if first is None:
        return
    main, begun, nudges = threading.main_thread().ident, time.monotonic(), 0
    while (left := begun + LIMIT_S - time.monotonic()) > 0:
        try:
            further = _next_signal(reading, min(left, GENTLE_S))
        except TimeoutError:
            if not _STATE.heard and main is not None:
                _STATE.nudged, nudges = True, nudges + 1
                signal.pthread_kill(main, first)
            continue
        if further is None:
            return
        if nudges:
            nudges -= 1  # that was our own
        elif time.monotonic() - begun > 0.3:  # some terminals and launchers send the same signal twice at once
            break
    _end(first)


def _next_signal(reading: int, timeout: float | None) -> int | None:
    """The next TERM or INT; None where the watch is over. Raises `TimeoutError`."""
    import select

    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:
            raise TimeoutError
        number = os.read(reading, 1)[0]
        if number == 0:
            return None
        if number in SIGNALS:
            return number


def _end(signum: int) -> None:
    """End the process and what it started, now; files it was writing go."""
    unfinished.drop()
    children.end(0.0)
    if not _STATE.heard:
        text = f"picdesk: {line(Stop(signum))}\n"
        with suppress(Exception):
            os.write(2, text.encode())
    os._exit(128 + signum)


def leave(code: int) -> NoReturn:
    """End what this process has started, and the process: where a signal asked for it, without taking the interpreter apart,
    which takes seconds where torch is loaded."""
    children.end()
    if not is_requested():
        raise SystemExit(code) from None
    ending.end_process(code, waits=False)
