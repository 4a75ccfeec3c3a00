"""Faults of the machine are one line: which path, what helps; nothing is half-written."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from picdesk.commands import check_submission, pack, store
from picdesk.data.images import open_picture
from picdesk.data.sources import PictureFiles
from picdesk.errors import DataError, MachineError
from picdesk.files import write_text, written_whole
from picdesk.process import machine

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def tiny_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A disk of 16 kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def big_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(50_000)}), path)


def big_tensors(path: Path) -> None:
    save_file({"a": np.ones(100_000, np.float32)}, path)


def big_state(path: Path) -> None:
    torch.save({"a": torch.ones(100_000)}, path)


def big_npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.ones(100_000))


def big_index(path: Path) -> None:
    import faiss

    index = faiss.IndexFlatIP(64)
    index.add(np.ones((1000, 64), np.float32))
    faiss.write_index(index, str(path))


def big_text(path: Path) -> None:
    path.write_text("x" * 100_000)


@needs_root
@pytest.mark.parametrize("write", [big_text, big_parquet, big_tensors, big_state, big_npz, big_index])
def test_a_full_disk_is_named_whatever_library_writes(tiny_disk: Path, write) -> None:  # type: ignore[no-untyped-def]
    write_text(tiny_disk / "there.txt", "old")
    with pytest.raises(OSError, match="No space left") as raised, written_whole(tiny_disk / "there.txt") as temporary:
        write(temporary)
    told = machine.fault(raised.value)
    assert told is not None
    assert str(told).startswith(f"{tiny_disk / 'there.txt'}: the disk is full; make room")
    assert [path.name for path in tiny_disk.iterdir()] == ["there.txt"]
    assert (tiny_disk / "there.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: no permission"),
        (FileExistsError(errno.EEXIST, "File exists", "/a/b"), "/a/b: a file stands where a folder is needed"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"/a/b"), "/a/b: a folder stands where a file is needed"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a: the file system can only be read"),
        (OSError(errno.EMFILE, "Too many open files", "/a"), "ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory ran out"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), "memory ran out"),
        (RuntimeError("can't start new thread"), "memory ran out"),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full: the disk is full"),
        (OSError("something of a library, in words alone"), "something of a library"),
    ],
)
def test_what_is_said(error: Exception, words: str) -> None:
    told = machine.fault(error)
    assert isinstance(told, MachineError)
    assert words in str(told)
    assert "\n" not in str(told)


def test_what_lies_behind_an_error_is_told_and_a_bug_stays_one() -> None:
    outer = ValueError("Unable to configure handler 'file'")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/full/log")
    assert str(machine.fault(outer)).startswith("/full/log: the disk is full")
    assert machine.fault(KeyError("a bug")) is None
    own = DataError("told already")
    assert machine.fault(own) is None


def test_a_file_in_the_way_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError) as raised:
        write_text(tmp_path / "file" / "under" / "it.txt", "y")
    assert str(machine.fault(raised.value)).startswith(f"{tmp_path / 'file'}: a file stands where a folder is needed")


def test_a_file_that_is_read_while_another_is_written_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, written_whole(tmp_path / "out.txt"):
        (tmp_path / "in.txt").read_text()
    assert raised.value.filename == str(tmp_path / "in.txt")


def test_too_many_files_and_no_memory_leave_no_picture_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    pictures = PictureFiles((tmp_path / "a.jpg",))

    def exhausted(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", exhausted)
        with pytest.raises(MachineError, match="ulimit -n"):
            pictures.read(0)

    def no_room(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("picdesk.data.images.Image.open", no_room)
    with pytest.raises(MachineError, match="memory ran out"):
        open_picture(b"\xff\xd8\xff")


def test_commands_say_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    space = tmp_path / "store" / "image-0123456789abcdef"
    (space / "space.json").mkdir(parents=True)
    calls = {
        "store": lambda: store.main(["list", "--store", str(tmp_path / "store")]),
        "pack": lambda: pack.main(["--unpack", str(tmp_path / "file"), str(tmp_path / "file" / "new")]),
        "check": lambda: check_submission.main([str(tmp_path), "--articles", str(tmp_path)]),
    }
    for name, call in calls.items():
        assert call() == 2, name
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1, said.err
        assert str(tmp_path) in said.err


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    code = "import os, picdesk.process.machine as m\ntry: os.getcwd()\nexcept OSError as e: print(m.fault(e))"
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "the current folder does not exist any more" in done.stdout
