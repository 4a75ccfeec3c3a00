"""Running a door as a user does, but in this process."""

import logging
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
    before = set(outputs.rglob("config.yaml")) | set(outputs.rglob("results.json"))
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
    fresh = [path for path in outputs.rglob("metrics.json") if path.parent / "config.yaml" not in before]
    fresh += [path for path in outputs.rglob("results.json") if path not in before]
    folder = max(fresh, key=lambda path: path.stat().st_mtime_ns).parent if fresh else outputs
    return Ran(status, captured.out, captured.err, folder)
