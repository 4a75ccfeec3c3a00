"""The submission folder that a retrieval leaves where one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from picdesk.data.images import named_picture
from picdesk.data.near import alike
from picdesk.errors import ConfigError, DataError, examples
from picdesk.jobs.folder import Job
from picdesk.pages.submitting import Choice, Near, check_crop
from picdesk.submissions.asked import Submission
from picdesk.submissions.folders import Names, faults, write_submission
from picdesk.submissions.other_runs import shown_before
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


def check_submission(submission: Submission, queries: bool, min_score: float | None) -> None:
    """Raise `ConfigError` before anything is encoded if the submission cannot be written as named, or nothing is asked by a
    file of `queries`, or answers may be left out."""
    if submission.group is None:
        return
    if not queries:
        raise ConfigError("submission.group: a submission answers articles; give them by queries=FILE")
    if min_score is not None:
        raise ConfigError(
            f"submission.group: a submission has a picture for every article, min_score={min_score} may leave some out; "
            "leave min_score out"
        )
    names = submission.names
    check_crop(submission.crop)
    if submission.other_runs and names.edition != 2026:
        raise ConfigError("submission.other_runs is of edition 2026: give submission.edition=2026 too, or leave it out")
    if submission.other_runs:
        shown_before(submission.other_runs, ())


def write_submission_of(
    job: Job, submission: Submission, run: Run, read: Callable[[str], bytes], near: Near | None = None
) -> None:
    """A picture of each article as a submission, where one is asked for."""
    max_pixels = job.session.settings.encode.max_pixels
    if submission.group is None:
        return

    def picture(item: str) -> Callable[[], Image.Image]:
        return lambda: named_picture(read(item), item, max_pixels)

    empty = [name for query, name in enumerate(run.query_ids) if run.index[query, 0] < 0]
    if empty:
        raise DataError(f"submission: nothing was found for {len(empty)} articles, for example {examples(empty)}")
    try:
        for item in {run.item_ids[i] for i in run.index[:, 0]}:
            read(item)
    except KeyError as error:
        raise DataError(
            f"submission: the picture {error} of the index is not in the data set; name it: data=..."
        ) from None
    names, root = submission.names, job.folder / "submission"
    if names.edition == 2026:
        folder = write_2026(submission, max_pixels, root, names, run, read, near)
    else:
        found = {name: picture(run.item_ids[run.index[query, 0]]) for query, name in enumerate(run.query_ids)}
        folder = write_submission(root, names, found)
    wrong = faults(names.checked_folder(root), run.query_ids, names.edition, alike)
    if wrong:
        raise DataError(f"submission: {wrong[0]} ({len(wrong)} faults)")
    log.info("submission: %d pictures in %s", len(run.query_ids), folder)


def write_2026(
    submission: Submission,
    max_pixels: int,
    root: Path,
    names: Names,
    run: Run,
    read: Callable[[str], bytes],
    near: Near | None,
) -> Path:
    """Pictures cut to one size, none of which another run shows for the article; the folder."""
    told = submission.other_runs
    before = shown_before(told, run.query_ids) if told else {}
    by_text = near if submission.crop == "similar" else None
    if by_text is None and submission.crop == "similar":
        log.warning("submission.crop=similar: this backbone encodes no pictures, so their middle is taken")
    shown, sources = Choice(read, max_pixels, before, by_text).pictures(run)
    return write_submission(root, names, {name: lambda own=own: own for name, own in shown.items()}, sources)  # type: ignore[misc]
