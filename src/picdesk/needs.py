"""What a config will need before it can run, and whether it is there: asked of the parts, which know, before any is built.

A part that needs files, a package or a variable has a static method `needs(key, values)`, given the config key it stands under
and its plain values, which gives a list of `Need`. Nothing is fetched to find out.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from picdesk.hub import ID, WEIGHTS, Picked, find_cached, fits


@runtime_checkable
class SaysNeeds(Protocol):
    """A part whose class says what it will need, before it is built."""

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """Files, models, keys and packages of a part at the config node `key` with these values."""


@dataclass(frozen=True)
class Need:
    """One thing: the config key that asks for it, what it is, whether it is there, where, how large (bytes), and what to do."""

    key: str
    what: str
    there: bool
    place: str = ""
    size: int | None = None
    remedy: str = ""


def model_need(source: object, key: str, picked: Picked, wanted: str) -> Need:
    """A model by folder or hub id: the folder, or its copy in the hub's cache on this machine."""
    told = str(source)
    local = Path(told).expanduser()
    folder = local if local.is_dir() else find_cached(told, picked) if ID.fullmatch(told) else None
    if folder is not None:
        return Need(key, f"the model {told}", True, str(folder), weights_size(folder))
    remedy = f"download {wanted} from the hub id {told} and give {key}=FOLDER (or let the job ask the hub)"
    return Need(key, f"the model {told}", False, remedy=remedy if ID.fullmatch(told) else f"no such folder: {told}")


def file_need(path: object, key: str, what: str, remedy: str = "") -> Need:
    """A file or a folder."""
    place = Path(str(path)).expanduser()
    size = place.stat().st_size if place.is_file() else None
    return Need(key, what, place.exists(), str(place), size, "" if place.exists() else remedy or f"give {key}=PATH")


def package_need(module: str, key: str, install: str) -> Need:
    """A package that is not always installed."""
    there = importlib.util.find_spec(module) is not None
    return Need(key, f"the package {module}", there, remedy="" if there else f"pip install {install}")


def variable_need(names: Sequence[str], key: str, what: str) -> Need:
    """One of some environment variables; what is in it is not shown."""
    found = next((name for name in names if os.environ.get(name)), "")
    return Need(key, what, bool(found), found, remedy="" if found else f"export {names[0]}=...")


def weights_size(folder: Path) -> int:
    """Bytes of the files of weights in a folder, those of its modules too."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and fits(path.name, WEIGHTS))


def in_gb(size: int) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.1f} MB"
