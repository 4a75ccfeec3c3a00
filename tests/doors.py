"""Running a door as a user does, but in this process."""

import copy
import logging
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra

PROJECT = Path(__file__).resolve().parents[1]


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
    """Close the file that Hydra opened, which in a process of its own would end with it."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


def without_first_look(get_mode: Callable[..., Any]) -> Callable[..., Any]:
    """Hydra composes the whole config once before it begins, to see whether the config itself asks for a sweep.

    Half of the time of a short job goes there. It is left out here unless something that could ask is given; tests in a process
    of their own have all of it.
    """

    def mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        asks = any(given.lstrip("+~").startswith(("hydra", "hparams_search")) for given in overrides)
        return get_mode(hydra, config_name, overrides) if asks else None

    return mode


Hydra.get_mode = without_first_look(Hydra.get_mode)  # type: ignore[method-assign]


def with_memory(load: Callable[..., Any]) -> Callable[..., Any]:
    """Options of `conf/` are parsed once in this process, and copied for each config that they go into."""
    known: dict[str, Any] = {}

    def load_once(repository: ConfigRepository, config_path: str) -> Any:
        if [source.path for source in repository.get_sources() if source.scheme() == "file"] != [str(PROJECT / "conf")]:
            return load(repository, config_path)
        if config_path not in known:
            found = load(repository, config_path)
            if found is None or found.provider != "main":
                return found
            known[config_path] = found
        return copy.deepcopy(known[config_path])

    return load_once


ConfigRepository.load_config = with_memory(ConfigRepository.load_config)  # type: ignore[method-assign]


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
