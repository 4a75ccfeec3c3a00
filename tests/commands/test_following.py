"""A job says where its folder is when it begins, and which command follows when it ends."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from picdesk.assembly.allowed import class_of
from picdesk.assembly.schema import CONF
from tests.doors import run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


def test_first_and_last_line_of_a_job(capfd: Capture, tmp_path: Path) -> None:
    data = (f"data.root={write_data(tmp_path / 'data', 30)}", "data=parquet", "data.caption_column=caption")
    out = tmp_path / "out"
    ran = run(capfd, tmp_path, "evaluate", *data, "backbone._target_=tests.tiny.Tiny", f"hydra.run.dir={out}")
    assert ran.status == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == f"job: {out}"
    assert lines[-1] == f"next: picdesk pack {out} job.tar.gz  # one file that another person can check"


def test_doctor_ends_with_the_whole_command(capfd: Capture, tmp_path: Path) -> None:
    ran = run(capfd, tmp_path, "evaluate", "task=doctor", "index=hnsw", "+source=a paper")
    assert ran.status == 0, ran.err
    (said,) = [line for line in ran.out.splitlines() if line.startswith("next: ")]
    assert "evaluate.py index=hnsw '+source=a paper'" in said
    assert "task=doctor" not in said


@pytest.mark.parametrize("task", sorted(path.stem for path in (CONF / "task").glob("*.yaml")))
def test_each_task_has_a_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs/a b").mkdir(parents=True)
    Path("outputs/a b/index.html").touch()
    values = dict(OmegaConf.load(CONF / "task" / f"{task}.yaml"))
    named = {key: {"dir": "sweep", "index_dir": "my index"}.get(key, value) for key, value in values.items()}
    made = class_of(named.pop("_target_"), "task")(**named)
    said = made.next_step(Path("outputs/a b"))
    assert said or task in ("write_captions", "export", "leaderboard"), "these say it themselves"
    assert "None" not in said
    assert "my index" not in said or "'my index'" in said
    assert "a b" not in said or "'outputs/a b'" in said or said.startswith("open ")
