"""`picdesk store`: what it lists, what it finds damaged, what it removes and what it refuses."""

import os
import time
from pathlib import Path

import pytest

from picdesk.commands.store import main
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from tests.embedding.fakes import Tiny


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for precision in ("fp32", "bf16"):
        Encoder(Store(tmp_path / "store"), precision=precision).texts(Tiny(), ["a", "bb", "a"])
    return tmp_path / "store"


def spaces(store: Path) -> list[Path]:
    return sorted(store.glob("text-*"))


def age(space: Path, days: float) -> None:
    before = time.time() - days * 86400
    os.utime(space / "space.json", (before, before))


def test_list_has_a_line_per_space(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--store", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("2 x 7" in line and "tiny" in line for line in lines[1:])
    assert sum("bf16 as float32, full decoding" in line for line in lines) == 1


def test_verify_reads_every_byte(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--store", str(store)]) == 0
    (shard,) = spaces(store)[0].glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 128
    shard.write_bytes(bytes(content))
    assert main(["verify", "--store", str(store)]) == 2
    printed = capsys.readouterr()
    assert f"{shard} is damaged" in printed.err
    assert printed.out.endswith("2 spaces checked, 1 faults\n")


def test_prune_by_name_and_by_age(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = spaces(store)
    age(old, 10)
    assert main(["prune", "--unused-days", "9", "--dry-run", "--store", str(store)]) == 0
    assert spaces(store) == [old, new]
    assert main(["prune", "--unused-days", "9", "--store", str(store)]) == 0
    assert spaces(store) == [new]
    assert f"removed {old.name}" in capsys.readouterr().out
    assert main(["prune", "--space", new.name[:9], "--store", str(store)]) == 0
    assert spaces(store) == []


def test_a_job_that_opens_a_space_makes_it_used(store: Path) -> None:
    for space in spaces(store):
        age(space, 10)
    Encoder(Store(store)).texts(Tiny(), ["a"])
    assert main(["prune", "--unused-days", "9", "--store", str(store)]) == 0
    assert len(spaces(store)) == 1


def test_mistakes_are_one_line_and_status_2(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (["list", "--store", str(store / "nowhere")], "--store="),
        (["prune", "--space", "text-", "--store", str(store)], "fits 2 spaces; they are 'text-"),
        (["prune", "--space", "x", "--store", str(store)], "fits 0 spaces"),
        (["prune", "--unused-days", "-1", "--store", str(store)], "--unused-days=-1"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1
    assert len(spaces(store)) == 2


def test_a_space_in_use_is_not_removed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = Store(store).space("text", Tiny().trunk_fingerprint("text"), "fp32", 7)
    space.claim([b"k" * 16], 1)
    assert main(["prune", "--space", space.folder.name, "--store", str(store)]) == 2
    assert "a job is encoding into it" in capsys.readouterr().err
    space.claims.close()
    assert main(["prune", "--space", space.folder.name, "--store", str(store)]) == 0
