"""`evaluate.py task=agreement agreement.file=FILE`: do the similarities go with people's ratings, or with what they chose?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.errors import ConfigError, DataError, MissingFileError, examples, short_repr
from picdesk.evaluation.agreement import choices_met, kendall
from picdesk.evaluation.statistics import Interval
from picdesk.files import file_digest, write_json
from picdesk.jobs.folder import Job
from picdesk.pages.notes import level_note, untrained_note
from picdesk.parts import config_part
from picdesk.products import exact_scores
from picdesk.report.terminal import console, print_table
from picdesk.retrieval.features import embed
from picdesk.tasks.base import Task
from picdesk.text.files import lines_of, read_text
from picdesk.text.table import need_columns, read_table

log = logging.getLogger(__name__)
FORMS = ("table", "pairs", "expert", "crowdflower")


@dataclass(frozen=True)
class Judged:
    """One rating of a text with a picture; of a choice of two, `other` is the second picture and `rating` 1 for the first."""

    text: str
    picture: str
    rating: float
    other: str = ""


@config_part
@dataclass(kw_only=True)
class Agreement(Task):
    """One job: agreement.json, and a table on the terminal. Gives tau-b, or the share of choices that are met.

    `file` holds people's judgments; `form` is table, pairs, expert or crowdflower, and the others name its columns.
    """

    file: str | None = None
    form: str = "table"
    text_column: str = "text"
    picture_column: str = "picture"
    rating_column: str = "rating"
    other_column: str = "other"

    def run(self, session: Session) -> float:
        """Read the judgments, and score their pairs."""
        path = self.check_file()
        session = session.open()
        session.rerankers.refuse("task=agreement compares similarities with ratings")
        return agreement(session, read(self, path), path, self.form)

    def check_file(self) -> Path:
        """The file, which must be there, of a form that is known."""
        if self.form not in FORMS:
            raise ConfigError(f"agreement.form={self.form}: choose one of {', '.join(FORMS)}")
        if not self.file:
            raise ConfigError("agreement.file must be given: the ratings of task=agreement")
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise MissingFileError(f"agreement.file={self.file}: no such file")
        return path

    def next_step(self, folder: Path) -> str:
        """Look at the numbers."""
        return f"open {folder / 'agreement.json'}"


def agreement(session: Session, judged: list[Judged], path: Path, form: str) -> float:
    """Score the pairs that were judged, and write down how far the scores go with the ratings."""
    part, backbone = session.part, session.backbone
    kept = known_judgments(judged, part, str(path))
    job = Job(session)
    with job.clock.stage("encode"):
        texts, pictures = embed(backbone, session.features_of(part))
    place = {name: i for i, name in enumerate(part.picture_ids)}, {name: i for i, name in enumerate(part.text_ids)}
    rows = np.array([place[1][one.text] for one in kept], np.int64)
    columns = [
        np.array([place[0][getattr(one, key) or one.picture] for one in kept], np.int64) for key in ("picture", "other")
    ]
    scores = [exact_scores(texts.matrix, pictures.matrix, rows, column).astype(np.float64) for column in columns]
    found = correlations(session, form, kept, scores, columns[0])
    values = {name: [one.value, one.low, one.high] for name, one in found.items()}
    content = {"form": form, "judgments": len(kept), "left_out": len(judged) - len(kept), **values}
    write_json(job.folder / "agreement.json", content)
    job.write_config()
    job.objective, job.measure = next(iter(found.values())).value, next(iter(found))
    data = session.fingerprint(part) | {"judgments": file_digest(path)}
    job.write_manifest(data, session.weights(), session.encoder, 0, ("agreement.json",))
    print_table(["agreement", f"{len(kept):,} judgments"], [[name, str(one)] for name, one in found.items()], console())
    for note in (*level_note(session.bars.level), *untrained_note(backbone)):
        log.warning("%s", note.text)
    return job.objective


def correlations(
    session: Session, form: str, kept: Sequence[Judged], scores: list[np.ndarray], picture: np.ndarray
) -> dict[str, Interval]:
    """How far the scores go with the ratings, by the statistic that the form asks for, with intervals."""
    resamples, seed, level = session.bars.resamples, session.bars.seed, session.bars.level
    ratings = np.array([one.rating for one in kept])
    if form == "pairs":
        return {"choices met": choices_met(scores[0], scores[1], ratings > 0, picture, resamples, seed, level)}
    return {
        "tau-b": kendall(scores[0], ratings, picture, "b", resamples, seed, level),
        "tau-c": kendall(scores[0], ratings, picture, "c", resamples, seed, level),
    }


def known_judgments(judged: Sequence[Judged], part: Collection, name: str) -> list[Judged]:
    """The judgments whose texts and pictures are in the part. Raises `DataError` where none is."""
    if not judged:
        raise DataError(f"agreement.file={name}: there is no judgment in it")
    texts, pictures = set(part.text_ids), set(part.picture_ids)
    kept = [
        one
        for one in judged
        if one.text in texts and one.picture in pictures and (one.other or one.picture) in pictures
    ]
    if not kept:
        asked = examples([one.text for one in judged[:2]])
        own = examples(list(part.text_ids[:2]))
        raise DataError(
            f"agreement.file={name}: none of its {len(judged)} judgments is of this part: its texts are like {asked}, those of "
            f"data={part.name} like {own}"
        )
    if len(kept) < len(judged):
        log.warning(
            "agreement.file=%s: %d of %d judgments are not of this part", name, len(judged) - len(kept), len(judged)
        )
    return kept


def read(settings: Agreement, path: Path) -> list[Judged]:
    """The judgments of a file. Raises `DataError` naming file and line."""
    form = settings.form
    if form in ("expert", "crowdflower"):
        text, note = read_text(path, key=None)
        tell(note)
        named = [(line, f"{path.name} line {n}") for n, line in enumerate(lines_of(text), 1) if line.strip()]
        return [one for line, where in named for one in of_flickr(form, line, where)]
    keys = ("text_column", "picture_column", "rating_column", *(["other_column"] if form == "pairs" else []))
    columns = {key: str(getattr(settings, key)) for key in keys}
    table = read_table(path, "auto", wanted=columns.values(), key=None, recover=False)
    need_columns(dict(columns), table.header, path.name, "agreement", hint=table.hint, cut=False)
    tell(table.note)
    for where, reason in table.unused_rows(path.name):
        raise DataError(f"{where}: {reason}; {len(table.ragged)} rows are so, a cell with a comma needs quotes")
    return [
        of_row(form, [row[name] for name in columns.values()], f"{path.name} line {line}") for line, row in table.rows
    ]


def tell(note: str) -> None:
    """Say what was odd about the file, if anything was."""
    if note:
        log.info("agreement.file: %s", note)


def of_row(form: str, cells: list[str], where: str) -> Judged:
    """A row of a table: text, picture, rating; of a choice text, first picture, `a` or `b`, second picture."""
    text, picture, said, other = (cell.strip() for cell in [*cells, ""][:4])
    if form == "pairs":
        if said.lower() not in ("a", "b"):
            raise DataError(f"{where}: {said!r}: a (the first picture fits better) or b is wanted")
        if other in ("", picture):
            found = f"{short_repr(picture)} twice" if other else f"{short_repr(picture)} alone"
            raise DataError(f"{where}: a choice is between two pictures, found {found}")
        return Judged(text, picture, float(said.lower() == "a"), other)
    return Judged(text, picture, number(said, where))


def of_flickr(form: str, line: str, where: str) -> list[Judged]:
    """A line of Flickr8k's own files: picture, text, and three experts' ratings of 1 to 4, or the share of the crowd's yes."""
    cells = line.split("\t")
    if len(cells) < (5 if form == "expert" else 3):
        raise DataError(f"{where}: {len(cells)} columns, which is no line of Flickr8k's {form} judgments")
    said = cells[2:5] if form == "expert" else cells[2:3]
    return [Judged(cells[1], cells[0], number(value, where)) for value in said]


def number(text: str, where: str) -> float:
    """A rating. Raises `DataError` for what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{where}: {text!r} is no rating")
    return value
