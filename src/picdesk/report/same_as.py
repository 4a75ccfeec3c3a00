"""`same_as.json`: a job that was finished before points at the folder of the job that did its work."""

from __future__ import annotations

import os
from pathlib import Path

from picdesk import marks
from picdesk.errors import DataError, short_repr
from picdesk.files import write_json
from picdesk.process.foreign_folders import leads_out
from picdesk.report.metrics_file import read_json

SAME = "same_as.json"


def point(folder: Path, other: Path) -> None:
    """Write down that the job in `folder` is the one in `other`."""
    name = os.path.relpath(other, folder)
    write_json(folder / SAME, {"folder": name, "by": marks.mark_of(f"{SAME}: {name}")})


def follow_pointer(folder: Path) -> Path:
    """The folder itself, or the one that `same_as.json` names; what else lies beside that is of an older run.

    Raises `DataError` where it names no folder relative to this one, and where one that this user's picdesk did not write leads
    out of the sweep: whoever sent that would choose a job of this disk.
    """
    if not (folder / SAME).is_file():
        return folder
    content = read_json(folder / SAME)
    name = content.get("folder") if isinstance(content, dict) else None
    if not isinstance(name, str) or not name or Path(name).is_absolute() or "\0" in name:
        raise DataError(f"{folder / SAME}: names no folder")
    found = Path(os.path.normpath(folder / name))
    sweep = Path(os.path.realpath(folder)).parent
    if not marks.is_own(f"{SAME}: {name}", content.get("by")) and leads_out(found, sweep):
        raise DataError(
            f"{folder / SAME}: names a folder outside of its sweep ({short_repr(name)}) and has not your mark "
            f"({marks.why_not_own()}); name the folder of that job itself, or have the sweep again with skip_completed=true"
        )
    return found
