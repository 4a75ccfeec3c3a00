"""A job says where its folder is when it begins, and which command follows when it ends."""

from pathlib import Path

import pytest

from picdesk.commands.following import next_step
from picdesk.tasks.choice import TASKS as EVALUATED
from picdesk.tasks.retrieve import TASKS as RETRIEVED
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
    assert lines[-1] == f"next: picdesk pack {out} job.tar.gz (one file that another person can check)"


@pytest.mark.parametrize("task", sorted({"train", *EVALUATED, *RETRIEVED} - {"write_captions", "export"}))
def test_each_task_has_a_next_step(task: str) -> None:
    said = next_step({"task": task, "dir": "sweep", "index_dir": "my index"}, Path("outputs/a b"))
    assert said
    assert "None" not in said
    assert "my index" not in said or "'my index'" in said
    assert "a b" not in said or "'outputs/a b'" in said or said.startswith("open ")
