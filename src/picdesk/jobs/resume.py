"""`train.py resume=OUTPUT_DIR`: a job that was killed goes on in its own folder, as it was begun."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError, UserError
from picdesk.files import write_json
from picdesk.jobs.folder import Job
from picdesk.process.rank import is_first_rank
from picdesk.report.metrics_file import read_json
from picdesk.training.checkpoint import CONFIG
from picdesk.training.state import STATE

log = logging.getLogger(__name__)
FOLDER, ABOUT = "resume", "job.json"


def keep(job: Job, resume: str | None) -> Path:
    """Where the state of this job lies; `resume` is the folder of the stopped job that it goes on with.

    Raises `ConfigError` where data, weights or code are not those it was begun with.

    What an earlier job left in the same folder, that of a sweep started again, is taken up with `skip_completed=true` if it is
    of this very job, and else thrown away.
    """
    folder, session = job.folder / FOLDER, job.session
    if not resume and not (session.settings.skip_completed and begun_with(folder) == job.fingerprint):
        if is_first_rank():
            (folder / STATE).unlink(missing_ok=True)
            session.write_config(folder / CONFIG)
            write_json(folder / ABOUT, {"fingerprint": job.fingerprint, "logger": job.logger.identity()})
        return folder / STATE
    if (begun := begun_with(folder)) is None:
        raise ConfigError(
            f"resume={resume}: {folder / ABOUT} is missing or damaged, and without it nobody knows what job the state is of; "
            "run the job anew"
        )
    if begun != job.fingerprint:
        raise ConfigError(
            f"resume={resume}: the data set, the weights or the code are no longer what this job was begun "
            "with; run it anew"
        )
    job.logger.go_on(str(read_json(folder / ABOUT).get("logger", "")))
    if (folder / STATE).is_file():
        log.info("going on from the state that %s was stopped with", job.folder)
    return folder / STATE


def begun_with(folder: Path) -> str | None:
    """The fingerprint of the job that left its state here, if there is one."""
    try:
        about: Any = read_json(folder / ABOUT)
    except (OSError, UserError):
        return None
    return str(about["fingerprint"]) if isinstance(about, dict) and about.get("fingerprint") else None


def forget(job: Job) -> None:
    """The job is done: its state is not needed any more."""
    shutil.rmtree(job.folder / FOLDER, ignore_errors=True)
