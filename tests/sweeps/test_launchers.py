"""A sweep through joblib's processes, and through submitit, ends in the same leaderboard as one in this process."""

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from picdesk.sweeps import callbacks
from tests.conftest import PROJECT
from tests.doors import run
from tests.tiny import write_data

LAUNCHERS = {"joblib": ("hydra.launcher.n_jobs=2",), "submitit_local": ("hydra.launcher.timeout_min=20",)}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_of_other_processes_has_its_leaderboard(tmp_path: Path, small_data: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    command = [sys.executable, "train.py", "-m", f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    command += [f"data.root={small_data}", "index=flat,hnsw", "trainer.max_epochs=1", "logger=none"]
    command += [f"paths.outputs={tmp_path}", "bootstrap.resamples=100", f"hydra.sweep.dir={tmp_path}/sweep"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr, "what extensions of a worker report at its end"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep" / "leaderboard.csv").read_text())))
    assert sorted(row["index"] for row in rows) == ["flat", "hnsw"]
    assert "flat" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "finished", "said"), [("submitit_local", 2, "lost: "), ("joblib", 1, "memory ran out")]
)
def test_a_job_that_the_system_ends_takes_no_leaderboard_with_it(
    tmp_path: Path, launcher: str, finished: int, said: str
) -> None:
    """The sweep ended in the launcher's traceback. submitit's other jobs go on; joblib ends its own, and those done stand."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    given = ("data=parquet", f"data.root={write_data(tmp_path)}", "data.caption_column=caption", "split=all")
    command = [
        sys.executable,
        "evaluate.py",
        "-m",
        f"hydra/launcher={launcher}",
        *given,
        "plugins=[tests]",
        "logger=none",
    ]
    command += LAUNCHERS[launcher]
    command += ["backbone._target_=tests.tiny.Tiny,tests.tiny.Ended", "seed=0,1", "bootstrap.resamples=50"]
    command += [f"paths.outputs={tmp_path}", f"hydra.sweep.dir={tmp_path}/sweep"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stdout + done.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep" / "leaderboard.csv").read_text())))
    assert sum(not row["verdict"].startswith("failed") for row in rows) >= finished


def test_what_a_cluster_does_not_take_is_told_in_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    refused = "sbatch: error: Memory specification can not be satisfied"
    for name, text in (("srun", "exit 0"), ("sbatch", f"echo '{refused}' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = run(capfd, tmp_path, "train", "-m", "hydra/launcher=slurm", "seed=1,2")
    assert ran.status == 2
    assert "SLURM did not take the jobs (Memory specification can not be satisfied)" in ran.err.splitlines()[-1]


def test_a_cluster_without_accounts_tells_of_lost_jobs_by_its_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep waited for ever for a job that was killed."""
    slurm = pytest.importorskip("submitit.slurm.slurm")
    for name, text in (("sacct", "exit 1"), ("squeue", "echo 7_0 RUNNING; echo 7_1 OUT_OF_MEMORY")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm.SlurmInfoWatcher, "update", slurm.SlurmInfoWatcher.update)
    callbacks.ask_queue_too()
    watcher = slurm.SlurmInfoWatcher()
    jobs = ("7_0", "7_1", "8")
    for job in jobs:
        watcher.register_job(job)
    assert [watcher.is_done(job) for job in jobs] == [False, True, True]
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 7_0 CANCELLED\n")
    time.sleep(0.002)  # submitit asks at most once a millisecond
    assert watcher.is_done("7_0", "force"), "as one that ran when the queue was asked before"
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 9 CANCELLED; exit 1\n")
    watcher.register_job("9")
    assert not watcher.is_done("9"), "a queue that does not answer says nothing"
    monkeypatch.setattr(slurm.SlurmJob, "watcher", watcher)
    assert callbacks.on_cluster() == "; its jobs are still with the cluster, end them: scancel 9"
