"""Running a door as a user does, but in this process."""

import logging
import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import hydra_memory

PROJECT = Path(__file__).resolve().parents[1]
hydra_memory.begin()


@dataclass(frozen=True)
class Ran:
    """What a door did: its exit status, what it wrote to either stream, its output dir."""

    status: int
    out: str
    err: str
    folder: Path

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def close_job_log() -> None:
    """Take away what Hydra logs to, the file and this test's terminal: in a process of its own they would end with it."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one) in (logging.FileHandler, logging.StreamHandler)]:
        root.removeHandler(handler)
        handler.close()


def run(capfd: pytest.CaptureFixture[str], outputs: Path, door: str, *overrides: str) -> Ran:
    """Run `door` with the overrides; jobs write below `outputs`, nothing is logged; what the tests define is a plug-in."""
    before = left_in(outputs)
    own = () if any(given.startswith("plugins=") for given in overrides) else ("plugins=[tests]",)
    argv, sys.argv = sys.argv, [f"{door}.py", *overrides, *own, f"paths.outputs={outputs}", "logger=none"]
    capfd.readouterr()
    status = 0
    try:
        runpy.run_path(str(PROJECT / f"{door}.py"), run_name="__main__")
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.argv = argv
        close_job_log()
    captured = capfd.readouterr()
    after = left_in(outputs)
    fresh = [folder for folder in after["metrics.json"] if folder not in before["config.yaml"]]
    fresh = [os.path.join(folder, "metrics.json") for folder in fresh]  # noqa: PTH118 - many, and a path is slow to make
    fresh += [os.path.join(folder, "results.json") for folder in after["results.json"] - before["results.json"]]  # noqa: PTH118
    newest = max(fresh, key=lambda path: os.stat(path).st_mtime_ns, default="")  # noqa: PTH116
    return Ran(status, captured.out, captured.err, Path(newest).parent if newest else outputs)


def run_once(capfd: pytest.CaptureFixture[str], outputs: Path, door: str, *overrides: str) -> Ran:
    """As `run`, for a job that ends well and that tests leave as it is: run by the first of them that asks."""
    asked = (outputs, door, *overrides)
    if asked not in _RUN:
        _RUN[asked] = run(capfd, outputs, door, *overrides)
    assert _RUN[asked].status == 0, _RUN[asked].err
    return _RUN[asked]


_RUN: dict[tuple[Path | str, ...], Ran] = {}


def left_in(outputs: Path) -> dict[str, set[str]]:
    """The folders below `outputs` that hold each of the files by which a job is told."""
    found: dict[str, set[str]] = {"config.yaml": set(), "metrics.json": set(), "results.json": set()}
    for folder, _, files in os.walk(outputs):
        for name in found.keys() & set(files):
            found[name].add(folder)
    return found
