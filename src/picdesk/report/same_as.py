"""`same_as.json`: a job that was finished before points at the folder of the job that did its work."""

from __future__ import annotations

import os
from pathlib import Path

from picdesk.errors import DataError
from picdesk.files import write_json
from picdesk.report.metrics_file import read_json

SAME = "same_as.json"


def point(folder: Path, other: Path) -> None:
    """Write down that the job in `folder` is the one in `other`."""
    write_json(folder / SAME, {"folder": os.path.relpath(other, folder)})


def follow_pointer(folder: Path) -> Path:
    """The folder itself, or the one that `same_as.json` names; what else lies beside that is of an older run.

    Raises `DataError` where it names no folder relative to this one.
    """
    if not (folder / SAME).is_file():
        return folder
    content = read_json(folder / SAME)
    name = content.get("folder") if isinstance(content, dict) else None
    if not isinstance(name, str) or not name or Path(name).is_absolute() or "\0" in name:
        raise DataError(f"{folder / SAME}: names no folder")
    return Path(os.path.normpath(folder / name))
