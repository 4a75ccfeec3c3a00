"""evaluate.py task=check: look a data set over, fully, and say what was found. Encodes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from picdesk.assembly.session import Session
from picdesk.collection import Collection, Fields
from picdesk.data.check_report import CheckReport, Finding
from picdesk.data.splits import Split
from picdesk.errors import UserError
from picdesk.files import write_json
from picdesk.interfaces import CUT, UNKNOWN
from picdesk.pages.show import picture_reader
from picdesk.parts import config_part
from picdesk.report.content import CheckPage, FoundGroup, Note
from picdesk.report.page import write_check
from picdesk.report.terminal import console
from picdesk.tasks.base import Task

MOST_SHOWN = 60
log = logging.getLogger(__name__)


@config_part
class Check(Task):
    """One job: the report on the terminal and as `check.json`. Gives the fraction that is bad."""

    takes_ckpt = False

    def run(self, session: Session) -> float:
        """Read, decode, report. Raises `DataError` where more is bad than `data.max_bad_fraction` allows."""
        split: Split = session.build("split")
        split.allow_empty()
        collection, splits, notes = session.read_and_split(split)
        noted = replace(collection, notes=(*collection.notes, *notes))
        render = session.rendering(collection)
        report = session.looks.check(noted, splits, "full", max_bad_fraction=1.0, render=render)
        report = with_texts_unread(session, collection, report, render)
        folder = session.output_dir
        write_json(folder / "check.json", report.to_json())
        write_check(folder / "index.html", page_of(report), picture_reader(collection))
        console().print(report.table())
        log.info("check page: %s", folder / "index.html")
        report.require(session.max_bad_fraction)
        return report.bad_fraction()

    def next_step(self, folder: Path) -> str:
        """Encode what was checked."""
        return "the same command with task=encode"


def page_of(report: CheckReport) -> CheckPage:
    """The page of the check: what was found, and pictures that look alike side by side."""
    groups = tuple(
        FoundGroup(f.kind, f.count, f.action, f.items[:MOST_SHOWN], f.together[:MOST_SHOWN]) for f in report.findings
    )
    title = f"{report.name}: {'what was found' if groups else 'nothing to say'}"
    notes = tuple(Note(note) for note in report.notes)
    return CheckPage(title, f"{report.counts} ({report.level} check)", groups, notes, ("check.json",))


def with_texts_unread(
    session: Session, collection: Collection, report: CheckReport, render: Callable[[Fields], str] | None
) -> CheckReport:
    """The report with the texts of which the backbone's tokenizer leaves a part, or nothing; a note where it is not at hand."""
    if render is None or not len(report.texts):
        return report
    try:
        backbone = session.build("backbone")
    except UserError as error:
        note = f"which texts are too long for the backbone, or unknown to it, is not known: {error}"
        return replace(report, notes=(*report.notes, note))
    flags = backbone.text_flags([render(collection.texts[i]) for i in report.texts.tolist()])
    if flags is None:
        return report
    kinds = {
        CUT: f"text longer than the {backbone.context} tokens that {backbone.name} reads",
        UNKNOWN: f"text of tokens that are unknown to {backbone.name}",
    }
    names = [collection.text_ids[i] for i in report.texts.tolist()]
    found = [
        Finding(kind, "reported", tuple(names[i] for i in np.flatnonzero(flags & bit).tolist()), "row")
        for bit, kind in kinds.items()
        if (flags & bit).any()
    ]
    return replace(report, findings=(*report.findings, *found))
