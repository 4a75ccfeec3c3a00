"""What dead processes left half-written goes when a folder is next used; what living ones write stays."""

import os
import signal
import time
from pathlib import Path

import pytest

from picdesk.files import workshop, write_text, written_whole
from picdesk.process import unfinished

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def writer(folder: Path, name: str) -> int:
    """A process that is at work on a file and on a folder, until it is killed."""
    child = os.fork()
    if child == 0:
        with written_whole(folder / name) as file, workshop(folder / f"{name} parts") as parts:
            file.write_text("half")
            (parts / "one").write_text("half")
            (folder / f"{name} begun").touch()
            time.sleep(60)
        os._exit(0)
    until = time.monotonic() + 10
    while not (folder / f"{name} begun").exists() and time.monotonic() < until:
        time.sleep(0.005)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_only_what_the_dead_left_goes(tmp_path: Path) -> None:
    dead, living = writer(tmp_path, "dead"), writer(tmp_path, "living")
    kill(dead)
    try:
        assert len(list(tmp_path.glob(".dead*"))) == 2
        write_text(tmp_path / "next.txt", "whole")
        assert list(tmp_path.glob(".dead*")) == []
        assert len(list(tmp_path.glob(".living*"))) == 2
    finally:
        kill(living)


def test_a_process_number_that_was_given_anew_is_another_process(tmp_path: Path) -> None:
    mine = f".{unfinished.machine()}-{os.getpid()}"
    start = unfinished.start_of(os.getpid())
    assert start is not None
    old, own = tmp_path / f".a.txt{mine}-{start - 5}.x.part.txt", tmp_path / f".a.txt{mine}-{start}.x.part.txt"
    foreign = tmp_path / f".a.txt.01234567-{os.getpid()}-{start}.x.part.txt"
    stale = tmp_path / f".b.txt.01234567-{os.getpid()}-{start}.x.part.txt"
    another = tmp_path / ".hidden.part.txt"
    for path in (old, own, foreign, stale, another):
        path.touch()
    os.utime(stale, (time.time() - 90_000, time.time() - 90_000))
    unfinished.sweep(tmp_path)
    assert [path.exists() for path in (old, own, foreign, stale, another)] == [False, True, True, False, True]


def test_long_names_and_endings_are_written_too(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 200 + "." + "e" * 40)
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_ended_process_drops_what_it_was_writing(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.txt") as file, workshop(tmp_path / "b") as parts:
        unfinished.drop()
        assert not file.exists()
        assert not parts.exists()
        file.write_text("again")
    assert (tmp_path / "a.txt").read_text() == "again"
