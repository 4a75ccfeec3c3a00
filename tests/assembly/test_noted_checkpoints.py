"""All jobs of a sweep mean one checkpoint by `latest`, and one by `best`: what they were when it began."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from picdesk.assembly import checkpoints, shelf
from picdesk.assembly.checkpoints import weights_of, words_asked
from picdesk.errors import MissingFileError
from picdesk.sweeps import callbacks
from picdesk.sweeps.callbacks import Leaderboard

Sweep = Callable[..., None]


def checkpoint(folder: Path, written: float) -> Path:
    """Weights that a job left so many seconds from now."""
    weights = folder / "checkpoint" / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    os.utime(weights, 2 * (time.time() + written,))
    return weights


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Begins a sweep in the folder `mine` of the outputs; afterwards every job is one of it."""
    monkeypatch.setattr(shelf, "_KEPT", {})
    monkeypatch.setattr(callbacks, "RUNNING", [])
    about = SimpleNamespace(sweep=SimpleNamespace(dir=str(tmp_path / "mine")))
    monkeypatch.setattr(shelf.HydraConfig, "get", lambda: about)

    def begin(*command: str, door: str = "train", **more: Any) -> None:
        own = {"ckpt": "latest", "skip_completed": "skip_completed=true" in command, "task": {"door": door}}
        hydra = {
            "sweep": {"dir": str(tmp_path / "mine"), "subdir": "0"},
            "sweeper": {"_target_": "x", **more.pop("sweeper", {})},
            "overrides": {"task": list(command)},
        }
        Leaderboard().on_multirun_start(
            OmegaConf.create({"paths": {"outputs": str(tmp_path)}, "hydra": hydra, **own, **more})
        )
        monkeypatch.setattr(shelf, "sweeping", lambda: True)

    return begin


@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_what_comes_while_a_sweep_runs_is_not_the_latest(tmp_path: Path, sweep: Sweep, door: str) -> None:
    first = checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2", door=door)
    checkpoint(tmp_path / "mine" / "seed=1", 5)
    checkpoint(tmp_path / "b", 9)
    for _ in range(2):
        assert weights_of("latest", tmp_path) == first
        shelf.forget()  # as another process of a launcher


def test_what_lay_in_its_folder_before_may_be_the_latest(tmp_path: Path, sweep: Sweep) -> None:
    checkpoint(tmp_path / "a", -50)
    there = checkpoint(tmp_path / "mine" / "of an earlier sweep", -40)
    sweep("seed=1,2")
    assert weights_of("latest", tmp_path) == there


@pytest.mark.parametrize("again", [{"skip_completed": True}, {"sweeper": {"study_name": "search"}}])
def test_fits_that_go_on_take_what_was_noted(tmp_path: Path, sweep: Sweep, again: dict[str, Any]) -> None:
    first = checkpoint(tmp_path / "mine" / "of an earlier sweep", -50)
    more = {"sweeper": again["sweeper"]} if "sweeper" in again else {}
    command = ("seed=1,2", *(["skip_completed=true"] if "skip_completed" in again else []))
    sweep("seed=1,2", **more)
    checkpoint(tmp_path / "mine" / "seed=1", 5)
    sweep(*command, **more)
    assert weights_of("latest", tmp_path) == first
    elsewhere = checkpoint(tmp_path / "b", 9)
    sweep(*command, **more)
    assert weights_of("latest", tmp_path) == elsewhere, "another base has come since"


def test_fits_of_another_command_begin_anew(tmp_path: Path, sweep: Sweep) -> None:
    checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2")
    own = checkpoint(tmp_path / "mine" / "seed=1", 5)
    sweep("seed=1,2", "optimizer.lr=1,2", "skip_completed=true")
    assert weights_of("latest", tmp_path) == own


def test_what_is_evaluated_again_is_the_latest_now(tmp_path: Path, sweep: Sweep) -> None:
    checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2", "skip_completed=true", door="evaluate")
    newer = checkpoint(tmp_path / "mine" / "fit", 5)
    sweep("seed=1,2", "skip_completed=true", door="evaluate")
    assert weights_of("latest", tmp_path) == newer


def test_best_stays_while_the_sweep_that_it_is_of_runs_on(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (checkpoint(tmp_path / "fits" / name, -50) for name in ("one", "other"))
    (tmp_path / "fits" / "multirun.yaml").touch()
    done = [checkpoints.Candidate("one", one, 0.3, "")]
    monkeypatch.setattr(checkpoints, "candidates", lambda folder, **_: done if folder.name == "fits" else [])
    sweep("seed=1,2", door="evaluate", ckpt="best")
    assert weights_of("best", tmp_path) == one
    done.append(checkpoints.Candidate("other", other, 0.5, ""))
    assert weights_of("best", tmp_path) == one


def test_a_checkpoint_that_is_gone_is_called_so(tmp_path: Path, sweep: Sweep) -> None:
    first = checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2")
    checkpoint(tmp_path / "b", 9)
    first.unlink()
    with pytest.raises(MissingFileError, match=r"ckpt=latest: .*, which it was when this sweep began, is gone"):
        weights_of("latest", tmp_path)


def test_where_nothing_was_noted_the_jobs_of_one_process_mean_one(tmp_path: Path, sweep: Sweep) -> None:
    sweep("experiment=a,b", ckpt=None)  # one of them asks for the latest
    first = checkpoint(tmp_path / "a", -50)
    assert weights_of("latest", tmp_path) == first
    checkpoint(tmp_path / "b", 9)
    assert weights_of("latest", tmp_path) == first


def test_outputs_may_lie_behind_a_link(tmp_path: Path, sweep: Sweep) -> None:
    disk = tmp_path.parent / f"{tmp_path.name} large disk"
    disk.mkdir()
    (tmp_path / "fits").symlink_to(disk)
    first = checkpoint(tmp_path / "fits" / "a", -50)
    sweep("seed=1,2")
    checkpoint(tmp_path / "b", 9)
    shelf.forget()
    assert weights_of("latest", tmp_path) == first


@pytest.mark.parametrize("noted", ["{here}/../elsewhere/model.safetensors", "/etc/passwd", 3, None])
def test_what_others_noted_leads_nowhere_else(tmp_path: Path, sweep: Sweep, noted: object) -> None:
    first = checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2")
    file = tmp_path / "mine" / "checkpoints.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"latest": noted}).replace("{here}", str(tmp_path)))
    assert weights_of("latest", tmp_path) == first


def test_a_sweep_that_asks_for_none_leaves_no_note(tmp_path: Path, sweep: Sweep) -> None:
    checkpoint(tmp_path / "a", -50)
    sweep("seed=1,2")
    sweep("seed=1,2", ckpt=None)
    assert not (tmp_path / "mine" / "checkpoints.json").exists()


@pytest.mark.parametrize(
    ("config", "command", "asked"),
    [
        ({"ckpt": "latest"}, [], ["latest"]),
        ({"ckpt": None}, ["ckpt=best,latest,/a/file"], ["latest", "best"]),
        ({"reranker": {"parts": {"a": {"ckpt": "best"}}}}, [], ["best"]),
        ({"reranker": {"ckpt": "${ckpt}"}}, ["+reranker.ckpt=choice(latest, null)"], ["latest"]),
        ({"backbone": {"text_ckpt": "latest"}}, [], ["latest"]),
        ({"task": {"rule": "best"}, "ckpt": "/latest/model"}, ["task.rule=best", "run_name=latest"], []),
        ({"ckpt": None}, ["experiment=a,b"], ["latest", "best"]),
        ({"ckpt": None}, ["experiment=a"], []),
    ],
)
def test_words_are_found_where_checkpoints_are_named(
    config: dict[str, Any], command: list[str], asked: list[str]
) -> None:
    assert words_asked(config, command) == asked


def test_outside_a_sweep_the_latest_checkpoint_is_looked_for_each_time(tmp_path: Path) -> None:
    for job, written in (("a", -9), ("b", -5)):
        assert checkpoint(tmp_path / job, written) == weights_of("latest", tmp_path)
