"""Faults of the machine, and signals, at the doors: one line each, also where Hydra meets them before the job does."""

import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from picdesk.process import stops
from picdesk.tasks import evaluate, train
from tests.commands.test_mistakes import one_line
from tests.conftest import PROJECT, borrow_features
from tests.doors import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def vectors(tmp_path: Path) -> list[str]:
    """A data set of vectors, and a backbone that takes them as they are."""
    import numpy as np

    rng, folder = np.random.default_rng(0), tmp_path / "data"
    folder.mkdir()
    image = rng.normal(size=(20, 8)).astype("f4")
    np.savez(folder / "e.npz", image_embeddings=image, text_embeddings=image + 0.1)
    lines = ["image,caption", *(f"p{i}.png,caption {i}" for i in range(20))]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    read = ["data=npz", f"data.root={folder}", "data.file=e.npz", "split=all", "bootstrap.resamples=20"]
    return [*read, "backbone=precomputed", "backbone.dim=8"]


@pytest.mark.parametrize("door", ["train", "evaluate", "retrieve"])
@pytest.mark.parametrize("more", [(), ("-m", "seed=0,1")])
def test_a_file_where_the_outputs_should_be(capfd: Capture, tmp_path: Path, door: str, more: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("x")
    ran = run(capfd, tmp_path / "file", door, *more)
    one_line(ran, f"{tmp_path / 'file'}: a file stands where a folder is needed")


def test_a_store_that_cannot_be(capfd: Capture, tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "file").write_text("x")
    given = (f"data.root={small_data}", f"paths.store={tmp_path / 'file'}", "backbone._target_=tests.tiny.Tiny")
    ran = run(capfd, tmp_path / "out", "evaluate", "task=encode", *given)
    one_line(ran, f"{tmp_path / 'file'}: a file stands where a folder is needed")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_the_job_succeeds_when_there_is_room(
    capfd: Capture, tmp_path: Path, vectors: list[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        command = [*vectors, f"hydra.run.dir={disk / 'job'}"]
        one_line(run(capfd, disk, "evaluate", *command), str(disk), "the disk is full; make room")
        assert not (disk / "job" / "manifest.json").exists()
        assert list(disk.rglob("*.part*")) == []
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert run(capfd, disk, "evaluate", *command).status == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_sweep_writes_down_what_the_machine_refused(
    capfd: Capture, tmp_path: Path, vectors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = evaluate.evaluate_model

    def once_full(*args: object) -> float:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device", "/full/it")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "evaluate_model", once_full)
    ran = run(capfd, tmp_path, "evaluate", "-m", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}", *vectors)
    assert ran.status == 1
    (failure,) = (tmp_path / "sweep").glob("*/failure.json")
    assert json.loads(failure.read_text())["reason"].startswith("/full/it: the disk is full")
    assert len(list((tmp_path / "sweep").glob("*/metrics.json"))) == 1
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize("device", ["cuda:99", "toaster", "cpu:x", "mps", "meta"])
def test_a_device_that_is_not_there(capfd: Capture, tmp_path: Path, vectors: list[str], device: str) -> None:
    ran = run(capfd, tmp_path, "evaluate", *vectors, f"encode.device={device}")
    one_line(ran, f"encode.device={device}: ", "take cpu")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_fit_says_how_to_go_on(
    capfd: Capture,
    tmp_path: Path,
    settings: tuple[str, ...],
    features: Path,
    monkeypatch: pytest.MonkeyPatch,
    signum: int,
    status: int,
) -> None:
    def stopped(*_: object) -> Path:
        raise stops.Stop(signum)

    monkeypatch.setattr(train, "save", stopped)
    borrow_features(features, tmp_path / "store")
    folder = tmp_path / "a job"
    given = (*settings, "trainer.max_epochs=2", "training.state_seconds=0", f"hydra.run.dir={folder}")
    ran = run(capfd, tmp_path, "train", *given)
    assert ran.status == status
    (line,) = [line for line in ran.err.splitlines() if line.strip()]
    go_on = f"go on: python {PROJECT / 'train.py'} 'plugins=[tests]' 'resume={folder}'"
    assert f"stopped by {signal.Signals(signum).name} while at: epoch 2; {go_on}" in line


def test_a_sweep_that_is_stopped_begins_no_other_job_and_has_its_leaderboard(
    capfd: Capture, tmp_path: Path, vectors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = evaluate.evaluate_model

    def second_stopped(*args: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise stops.Stop(signal.SIGTERM)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "evaluate_model", second_stopped)
    sweep = tmp_path / "a sweep"
    ran = run(capfd, tmp_path, "evaluate", "-m", "seed=0,1,2", f"hydra.sweep.dir={sweep}", *vectors)
    assert ran.status == 143
    assert len(calls) == 2
    assert f"skip_completed=true 'hydra.sweep.dir={sweep}'" in ran.err
    rows = list(csv.DictReader((sweep / "leaderboard.csv").read_text().splitlines()))
    assert [row["verdict"].split(":")[0] for row in rows] == ["", "failed"]


def test_queries_that_a_spreadsheet_would_run(capfd: Capture, tmp_path: Path, small_data: Path, features: Path) -> None:
    borrow_features(features, tmp_path / "out" / "store")
    (tmp_path / "q.csv").write_text("id,title\n=1+1,boat\n@x,house\n-5,tree\n")
    ran = run(
        capfd, tmp_path / "out", "retrieve", f"data.root={small_data}", f"queries={tmp_path / 'q.csv'}", "top_k=1"
    )
    assert ran.status == 0, ran.err
    read = csv.reader((ran.folder / "results.csv").read_text().splitlines())
    assert [row[0] for row in read] == ["query_id", "'=1+1", "'@x", "-5"]
    assert "=1+1" in (ran.folder / "run.trec").read_text()
