"""`skip_completed=true`: a job that was finished before is not run again."""

from __future__ import annotations

import logging
from pathlib import Path

from picdesk.assembly import shelf
from picdesk.errors import UserError
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import read_json
from picdesk.report.same_as import SAME, point

log = logging.getLogger(__name__)


def completed_objective(outputs: Path, folder: Path, fingerprint: str) -> float | None:
    """The objective of a finished job with this fingerprint: this folder's own, or another's below the outputs.

    Another's is named in `same_as.json`, so that the leaderboard shows it. A job whose files were changed counts as not done.
    """
    own = finished_objective(folder, fingerprint)
    if own is not None:
        (folder / SAME).unlink(missing_ok=True)
        log.info("done before: %s", folder)
        return own
    places = shelf.keep_in_sweep("finished", str(outputs.resolve()), lambda: by_fingerprint(outputs))
    for other in places.get(fingerprint, ()):
        objective = finished_objective(other, fingerprint)
        if objective is not None:
            point(folder, other)
            log.info("done before: %s", other)
            return objective
    return None


def finished_objective(folder: Path, fingerprint: str) -> float | None:
    """The objective of the job in `folder`, if it is this one and its files are as it left them."""
    try:
        manifest = Manifest.read(folder / "manifest.json")
        manifest.check_files(folder)
    except UserError:
        return None
    return manifest.objective if manifest.fingerprint == fingerprint else None


def by_fingerprint(outputs: Path) -> dict[str, list[Path]]:
    """Folders of finished jobs below the outputs."""
    found: dict[str, list[Path]] = {}
    for path in sorted(outputs.rglob("manifest.json")):
        try:
            content = read_json(path)
        except (UserError, OSError):
            continue
        fingerprint = content.get("fingerprint") if isinstance(content, dict) else None
        if fingerprint:
            found.setdefault(str(fingerprint), []).append(path.parent)
    return found
