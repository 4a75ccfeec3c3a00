"""What `skip_completed=true` and `same_as.json` believe of jobs that somebody else may have written."""

import json
from pathlib import Path

import pytest

from picdesk import marks
from picdesk.errors import DataError
from picdesk.jobs.completed import completed_objective
from picdesk.report.manifest import Manifest
from picdesk.report.provenance import Stopwatch
from picdesk.report.same_as import follow_pointer, point


def finished_job(folder: Path, objective: float = 0.5) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    job = Manifest.of_job(
        folder,
        Stopwatch(),
        task="evaluate",
        seed=0,
        data={},
        weights={},
        config="c",
        index="i",
        fingerprint="f",
        objective=objective,
    )
    job.write(folder / "manifest.json")
    return folder


def somebody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_job_of_somebody_else_is_not_taken_for_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job, new = finished_job(tmp_path / "out" / "a" / "job"), tmp_path / "out" / "b" / "new"
    new.mkdir(parents=True)
    assert completed_objective(tmp_path / "out", new, "f") == 0.5
    assert follow_pointer(new) == job
    somebody_else(monkeypatch, tmp_path)
    assert completed_objective(tmp_path / "out", new, "f") is None
    assert f"not taken for this job: '{job}', with its fingerprint, but not your mark: another user" in caplog.text
    assert completed_objective(tmp_path / "out", job, "f") == 0.5, "the folder that was named"
    assert f"{job} has not your mark (another user or machine wrote it, or an earlier picdesk)" in caplog.text
    nothing = tmp_path / "file"
    nothing.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(nothing))
    assert completed_objective(tmp_path / "out", new, "f") is None
    assert f"not your mark: no key for marks can be kept in {nothing}; set XDG_STATE_HOME" in caplog.text
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert marks.own_key() is None, "a user without a home"


def test_a_forged_manifest_has_no_mark(tmp_path: Path) -> None:
    path = finished_job(tmp_path / "job") / "manifest.json"
    told = json.loads(path.read_text())
    other = json.loads((finished_job(tmp_path / "other", 0.9) / "manifest.json").read_text())
    assert Manifest.read(path).by == told["by"] != ""
    path.write_text(json.dumps(other | {"by": told["by"]}))
    forged = Manifest.read(path)
    assert (forged.objective, forged.by) == (0.9, "")


def test_a_pointer_that_was_sent_leads_to_no_job_of_this_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, sweep = finished_job(tmp_path / "own" / "job"), tmp_path / "sweep"
    beside = finished_job(sweep / "0")
    for name in ("1", "2", "3"):
        (sweep / name).mkdir()
    point(sweep / "1", job)
    point(sweep / "2", beside)
    (sweep / "link").symlink_to(job)
    point(sweep / "3", sweep / "link")
    assert [follow_pointer(sweep / name) for name in ("1", "2")] == [job, beside]
    somebody_else(monkeypatch, tmp_path)
    assert follow_pointer(sweep / "2") == beside, "of the same sweep"
    for name in ("1", "3"):
        with pytest.raises(DataError, match="names a folder outside of its sweep"):
            follow_pointer(sweep / name)
