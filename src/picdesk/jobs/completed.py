"""`skip_completed=true`: a job that was finished before is not run again."""

from __future__ import annotations

import logging
from pathlib import Path

from picdesk import marks
from picdesk.assembly import shelf
from picdesk.errors import UserError, examples
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import read_json
from picdesk.report.same_as import SAME, point

log = logging.getLogger(__name__)


def completed_objective(outputs: Path, folder: Path, fingerprint: str) -> float | None:
    """The objective of a finished job with this fingerprint: this folder's own, or another's below the outputs.

    Another's is named in `same_as.json`, so that the leaderboard shows it. A job whose files were changed counts as not done,
    and so does another's without this user's mark: a fingerprint can be copied. This folder was named, and its job counts whoever
    wrote it, which is said.
    """
    own = finished(folder, fingerprint)
    if own is not None:
        (folder / SAME).unlink(missing_ok=True)
        log.info("done before: %s", folder)
        if not own.by:
            log.warning("%s has not your mark (%s): its numbers are what it says", folder, marks.why_not_own())
        return own.objective
    foreign = []
    places = shelf.keep_in_sweep("finished", str(outputs.resolve()), lambda: by_fingerprint(outputs))
    for other in places.get(fingerprint, ()):
        job = finished(other, fingerprint)
        if job is not None and job.by:
            point(folder, other)
            log.info("done before: %s", other)
            return job.objective
        if job is not None:
            foreign.append(str(other))
    if foreign:
        told = "not taken for this job: %s, with its fingerprint, but not your mark: %s"
        log.warning(told, examples(foreign), marks.why_not_own())
    return None


def finished(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of the job in `folder`, if it is this one, has an objective, and its files are as it left them."""
    try:
        manifest = Manifest.read(folder / "manifest.json")
        manifest.check_files(folder)
    except UserError:
        return None
    return manifest if manifest.fingerprint == fingerprint and manifest.objective is not None else None


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
