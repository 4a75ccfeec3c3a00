"""The submission folder that a retrieval leaves where one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from PIL import Image

from picdesk.assembly.schema import Settings
from picdesk.data.images import named_picture
from picdesk.errors import ConfigError, DataError, examples
from picdesk.jobs.folder import Job
from picdesk.report.submission import check_names, faults, write_submission
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


def check_submission(settings: Settings) -> None:
    """Raise `ConfigError` before anything is encoded if the submission cannot be written as named, or subset has no queries."""
    if settings.subset and not settings.queries:
        raise ConfigError(f"subset={settings.subset} picks among the queries of a file: give queries=FILE too")
    if settings.submission.group is None:
        return
    if not settings.queries:
        raise ConfigError("submission.group: a submission answers articles; give them by queries=FILE")
    if settings.min_score is not None:
        raise ConfigError(
            f"submission.group: a submission has a picture for every article, min_score={settings.min_score} may leave some out; "
            "leave min_score out"
        )
    check_names(settings.submission.group, settings.submission.approach, settings.submission.size)


def write_submission_of(job: Job, run: Run, read: Callable[[str], bytes]) -> None:
    """The first picture of each article as a submission, where one is asked for."""
    settings, submission = job.session.settings, job.session.settings.submission
    if submission.group is None:
        return

    def picture(item: str) -> Callable[[], Image.Image]:
        return lambda: named_picture(read(item), item, settings.encode.max_pixels)

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
    found = {name: picture(run.item_ids[run.index[query, 0]]) for query, name in enumerate(run.query_ids)}
    folder = write_submission(job.folder / "submission", submission.group, submission.approach, submission.size, found)
    wrong = faults(folder.parent, run.query_ids)
    if wrong:
        raise DataError(f"submission: {wrong[0]} ({len(wrong)} faults)")
    log.info("submission: %d pictures in %s", len(found), folder)
