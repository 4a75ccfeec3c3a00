"""`ckpt=best` and `ckpt=SWEEPDIR` are the checkpoint of the sweep's best job by its objective."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from picdesk.assembly.checkpoints import best_of, newest, newest_sweep
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.report.manifest import Manifest
from picdesk.report.same_as import point
from tests.commands.test_mistakes import one_line
from tests.doors import run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
TINY = ("data=parquet", "data.caption_column=caption", "backbone._target_=tests.tiny.Tiny", "backbone.dim=8")
FIT = ("trainer.max_epochs=1", "training.batch_size=16", "bootstrap.resamples=50")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), 60)


@pytest.fixture
def jobs(capfd: Capture, data: Path, tmp_path: Path) -> dict[Path, float]:
    """Three fits side by side and their objectives, run by the first test that asks; each has a copy of its own."""
    if not (data / "out").exists():
        asked = ("-m", "seed=2,3,4", f"hydra.sweep.dir={data / 'out'}", "hydra.sweep.subdir=seed-${seed}")
        ran = run(capfd, data / "out", "train", *TINY, f"data.root={data}", *FIT, *asked)
        assert ran.status == 0, ran.err
    jobs = {}
    for manifest in sorted((data / "out").glob("seed-*/manifest.json")):
        folder = tmp_path / "train" / "2026-01-01" / "10-00-00" / manifest.parent.name
        shutil.copytree(manifest.parent, folder)
        jobs[folder] = float(json.loads(manifest.read_text())["objective"])
    return jobs


def test_best_of_a_sweep(
    capfd: Capture, tmp_path: Path, jobs: dict[Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(set(jobs.values())) > 1
    sweep = next(iter(jobs)).parent
    with pytest.raises(MissingFileError, match=r"ckpt=best: no sweep of train\.py has left a checkpoint"):
        newest_sweep(tmp_path)
    (sweep / "multirun.yaml").touch()
    wanted = min(jobs, key=lambda folder: (-jobs[folder], folder.name)) / "checkpoint" / "model.safetensors"
    assert best_of("x", sweep) == wanted
    for ckpt in ("best", str(sweep)):
        ran = run(capfd, tmp_path, "evaluate", f"ckpt={ckpt}", "bootstrap.resamples=50")
        assert ran.status == 0, ran.err
        manifest = json.loads(ran.file("manifest.json"))
        assert manifest["weights"]["checkpoint"] == file_digest(wanted)
    worst = min(jobs, key=lambda folder: jobs[folder])
    other = tmp_path / "learning_rates"  # a sweep in a folder that was named: hydra.sweep.dir=outputs/learning_rates
    (other / "again" / ".hydra").mkdir(parents=True)
    (other / "multirun.yaml").touch()
    point(other / "again", worst)  # a job that was done before counts where it was done
    assert newest_sweep(tmp_path) == other
    assert best_of("x", other).resolve() == worst / "checkpoint" / "model.safetensors"
    (worst / "manifest.json").write_text("{")
    for folder in (sweep, other):  # it might be the best
        with pytest.raises(DataError, match=r"manifest\.json"):
            best_of("x", folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another machine"))
    with pytest.raises(DataError, match=r"same_as\.json: names a folder outside of its sweep"):  # it might be the best
        best_of("x", other)


def test_fits_of_a_sweep_begin_where_all_of_them_begin(capfd: Capture, tmp_path: Path, jobs: dict[Path, float]) -> None:
    start = list(jobs)[-1]
    (start / "checkpoint" / "model.safetensors").touch()
    ran = run(capfd, tmp_path, "train", "-m", "ckpt=latest", "seed=1,2", *FIT)
    assert ran.status == 0, ran.err
    folders = {path.parent for path in tmp_path.rglob("manifest.json")} - jobs.keys()
    begun = [str(yaml.safe_load((folder / "config.yaml").read_text())["ckpt"]) for folder in folders]
    assert begun == 2 * [str(start / "checkpoint" / "model.safetensors")]


@pytest.mark.parametrize("folder", ["train/2026-01-02/10-00-00", "mine", "learning_rates/lr=0.1", "a/b/c/d"])
def test_latest_is_the_newest_in_whatever_folder(tmp_path: Path, folder: str) -> None:
    for place, written in (("train/2026-01-01/10-00-00/seed=0", 1_000), (folder, 2_000)):
        weights = tmp_path / place / "checkpoint" / "model.safetensors"
        weights.parent.mkdir(parents=True)
        weights.touch()
        os.utime(weights, (written, written))
    assert newest(tmp_path) == tmp_path / folder / "checkpoint" / "model.safetensors"


def test_a_sweep_without_a_best_is_one_line(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "job" / ".hydra").mkdir(parents=True)
    (tmp_path / "sweep" / "multirun.yaml").touch()
    ran = run(capfd, tmp_path, "evaluate", f"ckpt={tmp_path / 'sweep'}")
    one_line(ran, f"ckpt={tmp_path / 'sweep'}: no finished training job of this sweep has left a checkpoint")


def test_objectives_of_several_kinds_have_no_best(jobs: dict[Path, float]) -> None:
    one, *_ = jobs
    replace(Manifest.read(one / "manifest.json"), measure="mean rank").write(one / "manifest.json")
    with pytest.raises(ConfigError, match="objectives of several kinds"):
        best_of("x", one.parent)
