"""Folders of somebody else's: nothing is written through a link, and nothing waits for a pipe."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from picdesk.errors import DataError
from picdesk.process.foreign_folders import check_to_write, links_out


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder, reached by a link of the user's own, with the links that wandb and others leave in it."""
    (tmp_path / "disk" / "job" / "wandb" / "offline-run-1" / "logs").mkdir(parents=True)
    (tmp_path / "job").symlink_to(tmp_path / "disk" / "job")
    folder = tmp_path / "job"
    (folder / "resume").mkdir()
    (folder / "job.log").write_text("begun")
    (folder / "wandb" / "latest-run").symlink_to("offline-run-1")
    (folder / "wandb" / "offline-run-1" / "logs" / "debug-core.log").symlink_to(tmp_path / "cache.log")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".bashrc").write_text("")
    return folder


def replace_file(path: Path, make: Callable[[Path], object]) -> None:
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    make(path)


def test_an_honest_folder_may_be_written_into(job: Path, tmp_path: Path) -> None:
    check_to_write(job, "resume")
    check_to_write(tmp_path / "none", "resume")


@pytest.mark.parametrize("name", ["job.log", "resume", ".hydra", "wandb/x", "wandb/offline-run-1/files"])
@pytest.mark.parametrize("to", ["home/.bashrc", "home", "home/new"])
def test_a_link_out_of_it_is_refused(job: Path, tmp_path: Path, name: str, to: str) -> None:
    replace_file(job / name, lambda path: path.symlink_to(tmp_path / to))
    with pytest.raises(DataError, match=f"resume=.*{name}.* leads out of the folder"):
        check_to_write(job, "resume")


def test_so_are_hard_links_and_pipes(job: Path, tmp_path: Path) -> None:
    replace_file(job / "job.log", lambda path: os.link(tmp_path / "home" / ".bashrc", path))
    with pytest.raises(DataError, match="a hard link"):
        check_to_write(job, "resume")
    replace_file(job / "job.log", os.mkfifo)
    with pytest.raises(DataError, match="no plain file"):
        check_to_write(job, "resume")


def test_links_are_found_below_and_above(job: Path, tmp_path: Path) -> None:
    assert links_out(job / "resume", job) == ""
    (job / "resume" / "x").symlink_to(tmp_path / "home")
    assert links_out(job / "resume", job) == str(job / "resume" / "x")
    assert links_out(job / "resume" / "x" / ".bashrc", job)
