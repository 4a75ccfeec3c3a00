"""Stores of many shards: a million pictures lie in a thousand of them, and each question that was ever asked in one."""

import errno
import mmap
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from picdesk.embedding import shards
from picdesk.embedding.store import Store, content_key
from picdesk.errors import MachineError
from picdesk.process.machine import os_line

FILL_AND_LOOK = """
import resource, sys
import numpy as np
from picdesk.embedding.store import Store, content_key

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
root, width = sys.argv[1], int(sys.argv[2])
keys = [content_key(str(number)) for number in range(100)]
for name in ("writes", "reads"):
    space = Store(root).space("text", "trunk", "fp32", width)
    for number in space.missing(keys):
        space.put(keys[number : number + 1], np.full((1, width), number, np.float32))
    assert len(list(space.folder.glob("*.safetensors"))) == 100, name
    assert space.get(keys)[:, -1].tolist() == list(range(100)), name
"""


@pytest.mark.parametrize("width", [4, 20_000])
def test_more_shards_than_a_process_may_have_files_open(tmp_path: Path, width: int) -> None:
    command = [sys.executable, "-c", FILL_AND_LOOK, str(tmp_path), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_limit_that_is_said_to_be_none_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS says so, refuses it, and begins with 256 files."""
    given: list[tuple[int, int]] = []

    def refuse(kind: int, limits: tuple[int, int]) -> None:
        if limits[0] == resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")
        given.append(limits)

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    shards.allow_open_files.__wrapped__()
    assert given == [(10_240, resource.RLIM_INFINITY)]


def test_a_limit_of_the_system_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Store(tmp_path).space("text", "trunk", "fp32", 20_000)
    space.put([content_key("a dog")], np.zeros((1, 20_000), np.float32))

    def too_many(*given: object, **named: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(mmap, "mmap", too_many)
    with pytest.raises(MachineError, match="too many open files"):
        Store(tmp_path).space("text", "trunk", "fp32", 20_000)


def test_a_store_that_can_only_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Store(tmp_path).space("text", "trunk", "fp32", 4)

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))  # which names no file, as the system's own does not

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(OSError, match="Read-only") as raised:
        Store(tmp_path).space("text", "trunk", "fp32", 4)
    assert os_line(raised.value).startswith(f"{space.folder / 'space.json'}: the file system can only be read")
