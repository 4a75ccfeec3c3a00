"""TERM and INT end what is at work at a safe point, within seconds, with the status that shells give them."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from picdesk.files import written_whole
from picdesk.process import children, stops
from picdesk.process.unfinished import start_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def fork_worker(work: Callable[[], None], said: Path) -> int:
    """A process of its own that does `work` as a door does; what it says goes to `said`."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        with stops.watch_signals():
            work()
        code = 0
    except stops.Stop as stop:
        print(stops.line(stop), file=sys.stderr, flush=True)
        code = stops.status(stop)
    finally:
        os._exit(code)


def wait_for(path: Path, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.005)
    assert path.exists()


def end_of(child: int, seconds: float = 20) -> int:
    """Exit status, of a process that ends within seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("it did not end")


def busy(started: Path) -> Callable[[], None]:
    def work() -> None:
        started.touch()
        while True:
            time.sleep(0.01)

    return work


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_work_and_says_where(tmp_path: Path, signum: int, status: int) -> None:
    def work() -> None:
        stops.note_place("counting")
        stops.go_on_by(lambda: "go on: count again")
        busy(tmp_path / "started")()

    child = fork_worker(work, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signum)
    assert end_of(child) == status
    name = signal.Signals(signum).name
    assert (tmp_path / "said").read_text() == f"stopped by {name} while at: counting; go on: count again\n"


def test_what_is_being_written_is_dropped_whole(tmp_path: Path) -> None:
    def work() -> None:
        with written_whole(tmp_path / "file.txt") as temporary:
            temporary.write_text("half of it")
            busy(tmp_path / "started")()

    child = fork_worker(work, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signal.SIGTERM)
    assert end_of(child) == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said", "started"]


def test_a_better_point_is_waited_for(tmp_path: Path) -> None:
    def work() -> None:
        with stops.gently():
            (tmp_path / "started").touch()
            while not stops.is_requested():
                time.sleep(0.01)
            (tmp_path / "state").write_text("kept")
            stops.check()
        (tmp_path / "never").touch()

    child = fork_worker(work, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signal.SIGINT)
    assert end_of(child) == 130
    assert (tmp_path / "state").read_text() == "kept"
    assert not (tmp_path / "never").exists()


def test_a_point_that_never_comes_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "GENTLE_S", 0.3)

    def work() -> None:
        with stops.gently():
            busy(tmp_path / "started")()

    child = fork_worker(work, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signal.SIGTERM)
    assert end_of(child, 5) == 143


@pytest.mark.parametrize("again", [True, False])
def test_work_that_hears_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """By a second signal at once, and else after a limit; what it was writing goes, and so do its children."""
    monkeypatch.setattr(stops, "LIMIT_S", 60.0 if again else 0.5)
    monkeypatch.setattr(stops, "GENTLE_S", 0.2 if not again else 30.0)

    def deaf() -> None:
        with written_whole(tmp_path / "file.txt"):
            while True:
                try:
                    busy(tmp_path / "started")()
                except stops.Stop:
                    continue

    child = fork_worker(deaf, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signal.SIGINT)
    if again:
        time.sleep(0.5)
        os.kill(child, signal.SIGINT)
    assert end_of(child, 5) == 130
    assert (tmp_path / "said").read_text().startswith("picdesk: stopped by SIGINT")
    assert list(tmp_path.glob(".file*")) == []


def test_children_go_with_it_and_do_not_wake_it(tmp_path: Path) -> None:
    def work() -> None:
        inner = os.fork()
        if inner == 0:
            busy(tmp_path / "inner")()
        wait_for(tmp_path / "inner")
        victim = os.fork()
        if victim == 0:
            busy(tmp_path / "victim")()
        wait_for(tmp_path / "victim")
        os.kill(victim, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGTERM
        time.sleep(0.1)
        assert not stops.is_requested(), "a signal to a child was taken for one's own"
        (tmp_path / "pid").write_text(str(inner))
        try:
            busy(tmp_path / "started")()
        finally:
            children.end(1.0)

    child = fork_worker(work, tmp_path / "said")
    wait_for(tmp_path / "started")
    os.kill(child, signal.SIGTERM)
    assert end_of(child) == 143
    inner = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while (
        start_of(inner) is not None and time.monotonic() < until
    ):  # it may stay in the table, ended, if nobody waits for it
        time.sleep(0.01)
    assert start_of(inner) is None


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(signum) for signum in stops.SIGNALS]
    with stops.watch_signals():
        assert [signal.getsignal(signum) for signum in stops.SIGNALS] != before
    assert [signal.getsignal(signum) for signum in stops.SIGNALS] == before
