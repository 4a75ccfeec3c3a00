"""What the jobs of one sweep in one process keep for each other; the few that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from picdesk.files import digest_of

Thing = TypeVar("Thing")


MOST = {
    "dataset": 2,
    "backbone": 2,
    "features": 6,
    "unread": 6,
    "fingerprint": 12,
    "reranker": 8,
    "settings": 8,
    "yaml": 80,
    "saved": 8,
    "option": 32,
}


_KEPT: dict[str, OrderedDict[str, Any]] = {}


def keep_in_sweep(kind: str, key: str, make: Callable[[], Thing]) -> Thing:
    """In a sweep, what an earlier job made under the same key; the few that were used last are kept. Else a new one."""
    return take_or_make(kind, key, make) if sweeping() else make()


def take_or_make(kind: str, key: str, make: Callable[[], Thing]) -> Thing:
    """What was made under the same key, by any job, else a new one; threads may ask at once."""
    shelf = _KEPT.setdefault(kind, OrderedDict())
    try:
        thing: Thing = shelf.pop(key)
    except KeyError:
        thing = make()
    shelf[key] = thing
    while len(shelf) > MOST.get(kind, 2):
        shelf.popitem(last=False)
    return thing


def keep_in_job(kind: str, key: str, make: Callable[[], Thing]) -> Thing:
    """As `keep_in_sweep`; outside a sweep what the same job made before."""
    if sweeping() or not HydraConfig.initialized():
        return keep_in_sweep(kind, key, make)
    return take_or_make(kind, digest_of([key, str(HydraConfig.get().runtime.output_dir)]), make)


def sweeping() -> bool:
    """Whether this job is one of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def own_sweep() -> Path | None:
    """The folder of the sweep that this job is one of."""
    return Path(HydraConfig.get().sweep.dir) if sweeping() else None


def forget() -> None:
    """Let everything go: a sweep has ended."""
    _KEPT.clear()
