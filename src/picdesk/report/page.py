"""The page of a job, of a retrieval and of a sweep: one HTML file each that asks for nothing outside itself.

Everything shown is escaped; a policy inside the page refuses whatever else it might be made to load or run.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import picdesk
from picdesk.errors import DataError
from picdesk.files import write_text
from picdesk.report import figures, formats, thumbnails
from picdesk.report.content import CheckPage, JobPage, RetrievalPage, SweepPage
from picdesk.report.thumbnails import Contact
from picdesk.report.tuning_report import TuningPage

ReadPicture = Callable[[str], bytes]
TEMPLATES = Path(__file__).parent / "templates"
STRICT = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_HEAD = re.compile(
    r'\A<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    r'<meta http-equiv="Content-Security-Policy" content="(?P<policy>[^"<>]*)">\n'
)
_LEADING_AWAY = re.compile(
    r'<(?:meta(?! name="[\w-]+" content="[^"<>]*">)|link|base|iframe|frame|frameset|object|embed|portal|fencedframe)\b',
    re.IGNORECASE,
)
"""Tags that send a reader elsewhere, or tell somebody that the page was opened, whatever the policy says. No page of this
project has one, and a text that is shown holds no `<`."""
MOST_CARDS = 100  # of a retrieval page
SIDES = ((12, 1024), (60, 640), (240, 400))  # of so many pictures at most, this long a side: a page stays at a few MB


def render_job(page: JobPage, read_picture: ReadPicture) -> str:
    """HTML of a job's page; `read_picture` gives the encoded bytes of a picture id. Same content, same bytes."""
    return _render("job.html.j2", page, read_picture)


def render_retrieval(page: RetrievalPage, read_picture: ReadPicture) -> str:
    """HTML of what `retrieve.py` found; of very many queries the first, and how many are left out.

    Pictures are large enough to choose from, and larger still where the page has few of them.
    """
    cut = replace(page, cards=page.cards[:MOST_CARDS])
    side = next((side for most, side in SIDES if cut.pictures <= most), thumbnails.LEAST_TO_CHOOSE)
    return _render("retrieval.html.j2", page, read_picture, side)


def render_sweep(page: SweepPage) -> str:
    """HTML of a sweep: leaderboard and plots."""
    return _render("sweep.html.j2", page, _no_picture)


def write_job(path: Path | str, page: JobPage, read_picture: ReadPicture) -> None:
    """Write a job's page, whole."""
    write_text(path, render_job(page, read_picture))


def write_retrieval(path: Path | str, page: RetrievalPage, read_picture: ReadPicture) -> None:
    """Write a retrieval page, whole."""
    write_text(path, render_retrieval(page, read_picture))


def write_sweep(path: Path | str, page: SweepPage) -> None:
    """Write a sweep's page, whole."""
    write_text(path, render_sweep(page))


def write_check(path: Path | str, page: CheckPage, read_picture: ReadPicture) -> None:
    """Write the page of a check of a data set, whole."""
    write_text(path, _render("check.html.j2", page, read_picture, thumbnails.LEAST_TO_CHOOSE))


def write_tuning(path: Path | str, page: TuningPage) -> None:
    """Write the page of an index's trade-off, whole."""
    write_text(path, _render("tuning.html.j2", page, _no_picture))


def without_script(html: str, where: str) -> str:
    """A page from elsewhere, fit to be opened: its own policy gives way to one that lets no script run and nothing be loaded.

    Pages are complete without their script. Raises `DataError` naming `where` it comes from for what does not begin as a page of
    this project does, with nothing before the policy, or holds a tag that the policy does not govern (a redirection by `meta`).
    """
    head = _HEAD.match(html)
    if head is None or _LEADING_AWAY.search(html, head.end()):
        raise DataError(f"{where}: not a page that a job of picdesk leaves")
    return html[: head.start("policy")] + STRICT + html[head.end("policy") :]


def _render(template: str, page: Any, read_picture: ReadPicture, side: int = thumbnails.SIDE) -> str:
    environment = environment_of()
    contact, plots = Contact(read_picture, side), figures.Plots()
    # The body comes first: what it asks for decides which pictures the page embeds.
    body = Markup(environment.get_template(template).render(page=page, contact=contact, plots=plots))
    return environment.get_template("frame.html.j2").render(page=page, body=body, contact=contact, **_static())


@cache
def environment_of(*more: Path) -> Environment:
    """The templates, and those in `more` folders, with what all of them may use. Every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, *more]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shown"] = formats.shown
    environment.globals.update(fmt=formats, bar=figures.bar, whisker=figures.whisker, most=MOST_CARDS)
    return environment


def _static() -> dict[str, Any]:
    style, script = (TEMPLATES / "style.css").read_text("utf-8"), (TEMPLATES / "page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": policy, "version": picdesk.__version__}


def _no_picture(picture_id: str) -> bytes:
    raise KeyError(picture_id)
