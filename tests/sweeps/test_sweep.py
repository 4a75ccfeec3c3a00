"""Sweeps: folders that cannot collide, failures that stop nobody, jobs that are not run twice, a leaderboard at the end."""

import csv
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly import schema
from picdesk.assembly.checkpoints import weights_of
from picdesk.assembly.schema import job_folder
from picdesk.assembly.session import Session
from picdesk.embedding import precision
from picdesk.errors import MissingFileError
from picdesk.jobs.archive import pack
from picdesk.jobs.opened import open_job, sweep_results
from picdesk.report.same_as import follow_pointer
from picdesk.retrieval.system import System
from picdesk.sweeps import callbacks
from picdesk.sweeps.callbacks import Leaderboard
from tests.conftest import PROJECT
from tests.doors import Ran, run
from tests.tiny import Tiny, write_data

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = write_data(tmp_path_factory.mktemp("tiny"))
    return (
        "data=parquet",
        f"data.root={folder}",
        "data.caption_column=caption",
        "split=all",
        "backbone._target_=tests.tiny.Tiny",
        "bootstrap.resamples=50",
    )


def composed_dir(_: int) -> str:
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", return_hydra_config=True)
        return str(cfg.hydra.run.dir)


def test_jobs_of_one_second_have_a_folder_each() -> None:
    with ProcessPoolExecutor(3) as pool:
        assert len(set(pool.map(composed_dir, range(3), chunksize=1))) == 3
    assert len({composed_dir(i) for i in range(3)}) == 3, "one process that composes again is another job too"


def test_the_folder_of_a_job_is_its_overrides() -> None:
    one = job_folder("index=flat,loss.margin=0.1,seed=3")
    assert one.startswith("index-flat_margin-0.1_seed-3-")
    assert one != job_folder("index=flat,loss.margin=0.2,seed=3")
    assert job_folder("").startswith("job-")
    assert "/" not in job_folder("data.root=/a/b c/'d',x={a:1}")


def test_a_worker_process_that_unpickles_the_callback_has_our_resolvers() -> None:
    code = "import pickle, sys; pickle.load(sys.stdin.buffer); from omegaconf import OmegaConf; "
    code += "print(OmegaConf.has_resolver('job_folder'), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(Leaderboard()),
        capture_output=True,
        check=True,
        timeout=60,
        cwd=PROJECT / "src",
    )
    assert done.stdout.split() == [b"True", b"False"]


def swept(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    return run(capfd, folder, "evaluate", "-m", *overrides, f"hydra.sweep.dir={folder}/sweep")


FOUR = ("seed=0,1", "backbone.dim=4,8")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep" / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_killed_sweep_runs_what_is_missing(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    original = System.score_both

    def counted(*args: object) -> object:
        if len(scored) == 2 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        scored.append(1)
        return original(*args)  # type: ignore[arg-type]

    killed: list[bool] = []
    monkeypatch.setattr(System, "score_both", counted)
    first = swept(capfd, tmp_path, *tiny, *FOUR, "encode.batch_size=4")
    assert first.status == 130
    assert len(list(tmp_path.rglob("manifest.json"))) == 2
    again = swept(capfd, tmp_path, *tiny, *FOUR, "encode.batch_size=8", "skip_completed=true")
    assert again.status == 0, again.err
    assert len(scored) == 4, "2 before, 2 now"
    assert again.out.count("done before") == 2
    assert sorted(row["encode.batch_size"] for row in table(tmp_path)) == ["4", "4", "8", "8"], (
        "what each had, not the last word"
    )
    more = swept(capfd, tmp_path, *tiny, "seed=1,2", "backbone.dim=4", "skip_completed=true")
    assert more.status == 0, more.err
    assert len(scored) == 5, "an extended sweep runs the new job"
    assert len(table(tmp_path)) == 5
    elsewhere = run(capfd, tmp_path, "evaluate", "-m", *tiny, "seed=0,1", "backbone.dim=4", "skip_completed=true")
    assert elsewhere.status == 0, elsewhere.err
    assert len(scored) == 5, "found by fingerprint under the outputs"
    (board,) = [path for path in tmp_path.rglob("leaderboard.csv") if path.parent.name != "sweep"]
    assert len(board.read_text().splitlines()) == 3
    page = (tmp_path / "sweep" / "leaderboard.html").read_text()
    for words in ("Over seeds", "hits@1 over backbone.dim", "hits@1 against time", "Best config"):
        assert words in page, words
    assert (tmp_path / "sweep" / "best.yaml").read_text().startswith("# @package _global_\n# python evaluate.py ")
    at_once = (tmp_path / "sweep" / "leaderboard.csv").read_bytes()
    made = run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path / 'sweep'}")
    assert made.status == 0, made.err
    assert (tmp_path / "sweep" / "leaderboard.csv").read_bytes() == at_once, "as from the files of the jobs"


def test_jobs_of_machines_that_compute_otherwise_are_told_apart(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(precision.DRIFT, Tiny().trunk_fingerprint("image"), "tiny by at most 0.004")
    for seed, has_units in enumerate((True, False, False)):
        monkeypatch.setattr(precision, "has_bf16_units", lambda has_units=has_units: has_units)
        assert run(capfd, tmp_path, "evaluate", *tiny, f"seed={seed}").status == 0
    assert run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path / 'evaluate'}").status == 0
    (board,) = tmp_path.rglob("leaderboard.csv")
    with board.open() as lines:
        assert sorted(row["encode.precision"] for row in csv.DictReader(lines)) == ["bf16_measured", "fp32", "fp32"]
    best = (board.parent / "best.yaml").read_text()
    assert f"encode.precision={yaml.safe_load(best)['encode']['precision']}" in best, (
        "in the command, and in the settings"
    )
    with (board.parent / "over_seeds.csv").open() as lines:
        (together,) = csv.DictReader(lines)
    assert together["seeds"].startswith("2"), "no mean over jobs that compute in two ways"


def test_one_failing_job_is_named_and_the_others_stand(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    ran = swept(capfd, tmp_path, *tiny, "backbone.dim=2,-1,3")
    assert ran.status == 1
    rows = table(tmp_path)
    good = [row for row in rows if not row["verdict"].startswith("failed")]
    (bad,) = [row for row in rows if row["verdict"].startswith("failed")]
    assert len(good) == 2
    assert "dim--1" in bad["job"]
    assert "1 of the sweep's jobs failed" in ran.err
    assert bad["job"] in ran.err
    assert json.loads(next(tmp_path.rglob("failure.json")).read_text())["reason"]
    assert good[0]["verdict"] == "best"


def test_jobs_share_what_they_can_but_not_what_they_train(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name in ("_dataset", "_backbone"):
        original = getattr(Session, name)
        monkeypatch.setattr(
            Session, name, lambda *a, original=original, name=name: (made.append(name), original(*a))[1]
        )
    fit = ("split=random_70_10_20", "trainer.max_epochs=1", "training.batch_size=16", "prompt=caption")
    settings = (*(s for s in tiny if not s.startswith("split")), *fit)
    both = run(capfd, tmp_path / "a", "train", "-m", *settings, "loss.margin=0.1,0.3")
    assert both.status == 0, both.err
    assert made == ["_dataset", "_backbone"]
    alone = run(capfd, tmp_path / "b", "train", *settings, "loss.margin=0.3")
    assert alone.status == 0, alone.err
    twin = next(path for path in (tmp_path / "a").rglob("metrics.json") if "margin-0.3" in path.parent.name)
    assert twin.read_bytes() == alone.file("metrics.json")


def test_a_board_says_where_rows_have_other_directions(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    both = run(capfd, tmp_path / "jobs", "evaluate", *tiny, "part=all")
    assert both.status == 0, both.err
    for name in ("run.trec", "qrels.trec"):
        lines = both.file(name).decode().splitlines(keepends=True)
        (tmp_path / name).write_text("".join(line for line in lines if line.startswith("t2i/")))
    files = (f"run_file={tmp_path / 'run.trec'}", f"qrels_file={tmp_path / 'qrels.trec'}")
    assert run(capfd, tmp_path / "jobs", "evaluate", *files, "bootstrap.level=0.6").status == 0
    board = run(capfd, tmp_path / "board", "evaluate", "task=leaderboard", f"dir={tmp_path / 'jobs'}")
    assert "1 of 2 rows report other directions" in board.out + board.err
    with (tmp_path / "jobs" / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    alone = next(row for row in rows if not row["i2t/hits@1"])
    assert {row["hits@1"] for row in rows} == {alone["t2i/hits@1"]}, "what both report decides, and it is the same"
    assert all(alone[f"hits@1_{end}"] == alone[f"t2i/hits@1_{end}"] for end in ("low", "high"))
    assert "of the level of each job: 60% or 95%" in (tmp_path / "jobs" / "leaderboard.html").read_text()


def test_a_board_says_what_its_order_does_not(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """Rows about other pictures, and rows about pictures that were learned from, stood first and were called best."""
    fit = (*(s for s in tiny if not s.startswith("split")), "split=random_70_10_20", "prompt=caption")
    fitted = run(capfd, tmp_path, "train", *fit, "trainer.max_epochs=1", "training.batch_size=16")
    assert fitted.status == 0, fitted.err
    plain = (*(s for s in tiny if not s.startswith("split")), f"ckpt={fitted.folder}")
    ran = swept(capfd, tmp_path, *plain, "part=test,all", "seed=0,1")
    assert ran.status == 0, ran.err
    page = (tmp_path / "sweep" / "leaderboard.html").read_text()
    for words in (
        "2 of 4 rows are not comparable with the first",
        "2 of 4 jobs report pictures that were learned from",
    ):
        assert words in page
        assert words in ran.out
    assert (tmp_path / "sweep" / "over_seeds.csv").is_file()
    for asked in (tmp_path / "sweep").glob("*/.hydra/overrides.yaml"):
        if {"part=all", "seed=1"}.intersection(yaml.safe_load(asked.read_text())):
            shutil.rmtree(asked.parent.parent)
    assert run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path / 'sweep'}").status == 0
    page = (tmp_path / "sweep" / "leaderboard.html").read_text()
    assert "not comparable with" not in page
    assert "learned from" not in page
    assert not (tmp_path / "sweep" / "over_seeds.csv").is_file(), "of an earlier board"


def test_a_job_that_was_done_before_is_opened_by_its_own_folder(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    """Its files lie in the folder of the job that did the work, to which it points."""
    fit = (*(s for s in tiny if not s.startswith("split")), "split=random_70_10_20", "prompt=caption", "logger=none")
    asked = (*fit, "trainer.max_epochs=1", "training.batch_size=16", "loss.margin=0.3")
    for overrides in (asked, (*asked, "skip_completed=true")):
        ran = run(capfd, tmp_path, "train", "-m", *overrides)
        assert ran.status == 0, ran.err
    pointer = next(tmp_path.rglob("same_as.json")).parent
    done = follow_pointer(pointer)
    assert open_job(pointer).folder == done
    assert weights_of(str(pointer), tmp_path) == done / "checkpoint" / "model.safetensors"
    again = run(capfd, tmp_path, "evaluate", f"reproduce={pointer}", "plugins=[tests]")
    assert again.status == 0, again.err
    with pytest.raises(MissingFileError, match=f"{done}, which can be packed"):
        pack(pointer, tmp_path / "job.tar.gz")
    sweep = run(capfd, tmp_path, "evaluate", f"reproduce={pointer.parent}")
    assert (sweep.status, "the folder of a sweep; give that of one of its jobs" in sweep.err) == (2, True)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("seed=range(0,0)",), "no job: nothing is in one of the choices, ranges or globs of seed=range(0,0)"),
        (("--cfg", "job"), "of --multirun (-m), --cfg and --info only one can be given"),
        (("hydra/launcher=slurm", "seed=1,2"), "SLURM is asked for, and this machine has no srun"),
        (("hydra.job.chdir=true", "seed=1,2"), "paths.outputs=outputs would be another folder in each job"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_one_line(
    typed: tuple[str, ...], words: str, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one ended with status 0, others in a traceback, and with `chdir` each job encoded into a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    ran = run(capfd, Path("outputs"), "evaluate", "-m", *typed)
    assert (ran.status, ran.err.count("\n")) == (2, 1), ran.err
    assert words in ran.err


@pytest.mark.parametrize("lost", [[], ["job 7 of the launcher"]])
def test_a_sweep_is_empty_where_it_had_no_job_at_all(
    lost: list[str], capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs without a `.hydra` of their own, and those that a cluster ended before they began, are jobs."""
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["seed=1,2"]}}})
    monkeypatch.setattr(callbacks, "LOST", lost)
    monkeypatch.setattr(callbacks, "FAILED", [])
    if not lost:
        (tmp_path / "seed-1").mkdir()
    Leaderboard().on_multirun_end(config)
    assert lost == callbacks.FAILED
    assert "no job" not in capfd.readouterr().err


def test_a_frame_of_a_sweep_sorts_by_what_was_swept(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """Numbers were texts, so 10 came before 9; and what a fit is chosen by was not there."""
    assert swept(capfd, tmp_path, *tiny, "backbone.dim=9,10", "prompt=caption").status == 0
    frame = sweep_results(tmp_path / "sweep")
    assert frame.sort_values("backbone.dim")["backbone.dim"].tolist() == [9, 10]
    assert set(frame["prompt"]) == {"caption"}
    best = next(row for row in table(tmp_path) if row["verdict"] == "best")
    assert frame["objective"].max() == pytest.approx(float(best["hits@1"]))
