"""What a job that was stopped left in its folder: taken up where it is asked for, and never by another job."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from picdesk.tasks import train
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


def fit_job(capfd: Capture, data: Path, folder: Path, *more: str) -> Ran:
    given = ("trainer.max_epochs=2", "training.batch_size=16", "bootstrap.resamples=20", "optimizer.lr=0.03")
    read = ("data=parquet", f"data.root={data}", "data.caption_column=caption", "prompt=caption")
    own = ("backbone._target_=tests.tiny.Tiny", "training.state_seconds=0")
    return run(capfd, folder.parent, "train", *read, *given, *own, f"hydra.run.dir={folder}", *more)


def stop(capfd: Capture, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """A job that ends before it has written anything but its state."""

    def interrupt(*_: Any) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train, "save", interrupt)
        assert fit_job(capfd, data, folder, *more).status == 130
    assert len(list(folder.rglob("resume/state.pt"))) == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def stopped(capfd: Capture, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that was stopped by the first test that asks; each has a copy of its own."""
    if not (data / "out").exists():
        stop(capfd, data, data / "out" / "job", monkeypatch)
    return Path(shutil.copytree(data / "out" / "job", tmp_path / "out" / "job"))


def swap_captions(captions: list[str], contents: list[bytes]) -> None:
    """The same pictures under each other's captions."""
    captions[:] = captions[::-1]


def test_another_job_in_the_same_folder_begins_anew(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(capfd, write_data(tmp_path / "data"), tmp_path / "out" / "job", monkeypatch)
    write_data(tmp_path / "data", change=swap_captions)
    again = fit_job(capfd, tmp_path / "data", tmp_path / "out" / "job", "skip_completed=true")
    assert again.status == 0, again.err
    assert "epoch  0" in again.out
    fresh = fit_job(capfd, tmp_path / "data", tmp_path / "out" / "fresh")
    assert again.file("metrics.json") == fresh.file("metrics.json")
    weights = "checkpoint/model.safetensors"
    assert again.file(weights) == fresh.file(weights)


def test_the_same_job_goes_on_only_where_completed_work_is_to_be_kept(
    capfd: Capture, data: Path, stopped: Path
) -> None:
    other = Path(shutil.copytree(stopped, stopped.parent / "other"))
    again = fit_job(capfd, data, stopped, "skip_completed=true")
    assert "going on from the state" in again.out
    assert "epoch  0" not in again.out
    anew = fit_job(capfd, data, other)
    assert "epoch  0" in anew.out
    assert again.file("metrics.json") == anew.file("metrics.json")


def test_a_sweep_that_was_killed_goes_on_within_its_job(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sweep = write_data(tmp_path / "data"), tmp_path / "out" / "sweep"
    given = ("hydra.mode=MULTIRUN", "seed=3", f"hydra.sweep.dir={sweep}", "callbacks.early_stopping=null")
    stop(capfd, data, sweep, monkeypatch, *given)
    again = fit_job(capfd, data, sweep, *given, "skip_completed=true", "training.state_seconds=9")
    assert again.status == 0, again.err
    assert "going on from the state" in again.out
    assert len(list(sweep.glob("*/metrics.json"))) == 1


def test_a_sweep_of_resumes_is_refused(capfd: Capture, tmp_path: Path) -> None:
    ran = run(capfd, tmp_path, "train", "-m", "resume=/nowhere", "seed=0,1")
    assert ran.status == 1
    assert "leave out -m" in ran.out


@pytest.mark.parametrize(("door", "task"), [("train", "task=train"), ("evaluate", "task=encode")])
def test_a_sweep_shared_by_processes_is_refused(capfd: Capture, tmp_path: Path, door: str, task: str) -> None:
    data = ("data=parquet", f"data.root={write_data(tmp_path / 'data')}", "data.caption_column=caption")
    own = ("backbone._target_=tests.tiny.Tiny", "prompt=caption")
    ran = run(capfd, tmp_path / "out", door, "-m", task, "trainer=ddp", "seed=0", *data, *own)
    assert ran.status == 1
    assert "trainer.devices=2: each process would begin the whole sweep anew" in ran.out + ran.err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", None])
def test_a_damaged_note_of_the_job_is_named(content: str | None, capfd: Capture, stopped: Path) -> None:
    note = stopped / "resume" / "job.json"
    if content is None:
        note.unlink()
    else:
        note.write_text(content)
    refused = run(capfd, stopped.parent, "train", f"resume={stopped}")
    one_line(refused, f"resume={stopped}: {note} is missing or damaged", "anew")


def test_a_state_of_another_job_is_not_gone_on_with(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(capfd, write_data(tmp_path / "data"), tmp_path / "out" / "job", monkeypatch)
    write_data(tmp_path / "data", change=swap_captions)
    one_line(run(capfd, tmp_path / "out", "train", f"resume={tmp_path / 'out' / 'job'}"), "no longer", "anew")
