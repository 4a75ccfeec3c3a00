"""`evaluate.py task=doctor`: everything that the config will need, what is there and what is missing, before any data is read.

Exit status 0 if all is there, 1 if something is missing. Nothing is downloaded and nothing is encoded.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from picdesk.assembly.needed import needs_of
from picdesk.assembly.session import Session
from picdesk.files import write_json
from picdesk.needs import Need, in_gb
from picdesk.parts import config_part
from picdesk.report import provenance
from picdesk.report.terminal import clean, console
from picdesk.tasks.base import Task

log = logging.getLogger(__name__)
FILES = ("queries", "subset", "index_dir", "captions_file", "image", "run_file", "qrels_file")


@config_part
@dataclass(kw_only=True)
class Doctor(Task):
    """One job: a table on the terminal and `doctor.json` in the folder; the fields are files that the job is to be given."""

    queries: str | None = None
    subset: str | None = None
    image: str | None = None
    index_dir: str | None = None
    captions_file: str | None = None
    run_file: str | None = None
    qrels_file: str | None = None

    def run(self, session: Session) -> float:
        """Look for everything. Leaves with status 1 where something is missing."""
        given = {key: getattr(self, key) for key in FILES}
        return report(needs_of(session, {key: str(name) for key, name in given.items() if name}), session.output_dir)

    def next_step(self, folder: Path) -> str:
        """The job itself: the command as it was typed, without this task."""
        words = [word for word in provenance.command_line() if word != "task=doctor"]
        return shlex.join(words)


def report(found: Sequence[Need], folder: Path) -> float:
    """Write and show what was found. Leaves with status 1 where something is missing."""
    write_json(folder / "doctor.json", [asdict(need) for need in found])
    console().print(table_of(found))
    missing = [need for need in found if not need.there]
    for need in missing:
        log.error("missing: %s (%s): %s", need.what, need.key, need.remedy)
    log.info("%d things looked for, %d missing; %s", len(found), len(missing), folder / "doctor.json")
    if missing:
        raise SystemExit(1)
    return 0.0


def table_of(found: Sequence[Need]) -> Table:
    """One row a thing."""
    table = Table("", "what", "size", "where, or what to do", "key")
    for need in found:
        mark = "ok" if need.there else "MISSING"
        size = in_gb(need.size) if need.size is not None else ""
        told = (need.what, size, need.place if need.there else need.remedy, need.key)
        table.add_row(mark, *map(clean, told))
    return table
