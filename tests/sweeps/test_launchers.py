"""A sweep through joblib's processes, and through submitit, ends in the same leaderboard as one in this process."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

LAUNCHERS = {"joblib": ("hydra.launcher.n_jobs=2",), "submitit_local": ("hydra.launcher.timeout_min=20",)}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_of_other_processes_has_its_leaderboard(tmp_path: Path, small_data: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    command = [sys.executable, "evaluate.py", "-m", f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    command += [f"data.root={small_data}", "index=flat,hnsw", "logger=none"]
    command += [f"paths.outputs={tmp_path}", "bootstrap.resamples=100", f"hydra.sweep.dir={tmp_path}/sweep"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep" / "leaderboard.csv").read_text())))
    assert sorted(row["index"] for row in rows) == ["flat", "hnsw"]
    assert "flat" in done.stdout
