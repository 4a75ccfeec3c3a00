"""The ranks of a finished job with the picture of each query: out of its files, or, within a sweep, as they were scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from picdesk.evaluation.metrics import Ranks, ranks_of_run
from picdesk.evaluation.statistics import Interval
from picdesk.interfaces import Direction
from picdesk.retrieval.scores import ByDirection, pictures_of
from picdesk.trec.files import read_qrels, read_runs

Rankings = dict[Direction, tuple[Ranks, tuple[str, ...]]]
_NOTED: dict[Path, Rankings] = {}


def note(folder: Path, scored: ByDirection) -> None:
    """Remember what the job of this folder was scored by, so that the sweep's leaderboard need not read it back."""
    _NOTED[folder.resolve()] = {
        direction: (one.ranks, pictures_of(direction, one.qrels)) for direction, one in scored.items()
    }


def forget() -> None:
    """The leaderboard is made."""
    _NOTED.clear()


def rankings_of(folder: Path) -> Rankings:
    """Ranks, and the picture of each query; none where the files of the job are gone."""
    if not ((folder / "run.trec").is_file() and (folder / "qrels.trec").is_file()):
        return {}
    if folder.resolve() in _NOTED:
        return _NOTED[folder.resolve()]
    runs, qrels = read_runs(folder / "run.trec"), read_qrels(folder / "qrels.trec")
    return {
        direction: (
            ranks_of_run(runs[direction], qrels[direction], direction),
            pictures_of(direction, qrels[direction]),
        )
        for direction in runs
    }


def joint_json(found: Mapping[str, Interval]) -> dict[str, object]:
    """The same for metrics.json; nothing where none was asked for."""
    if not found:
        return {}
    values = {key: one.value for key, one in found.items()}
    return {"both": {"metrics": values, "intervals": {key: [one.low, one.high] for key, one in found.items()}}}
