"""The submission folder that a retrieval leaves where one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from omegaconf import DictConfig
from PIL import Image

from picdesk.data.images import named_picture
from picdesk.errors import ConfigError, DataError, examples
from picdesk.jobs.folder import Job
from picdesk.report.submission import check_names, faults, write_submission
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


def check_submission(cfg: DictConfig) -> None:
    """Raise `ConfigError` before anything is encoded if the submission cannot be written as named, or subset has no queries."""
    if cfg.subset and not cfg.queries:
        raise ConfigError(f"subset={cfg.subset} picks among the queries of a file: give queries=FILE too")
    if cfg.submission.group is None:
        return
    if not cfg.queries:
        raise ConfigError("submission.group: a submission answers articles; give them by queries=FILE")
    if cfg.min_score is not None:
        raise ConfigError(
            f"submission.group: a submission has a picture for every article, min_score={cfg.min_score} may leave some out; "
            "leave min_score out"
        )
    check_names(str(cfg.submission.group), str(cfg.submission.approach), str(cfg.submission.size))


def write_submission_of(job: Job, cfg: DictConfig, run: Run, read: Callable[[str], bytes]) -> None:
    """The first picture of each article as a submission, where one is asked for."""
    if cfg.submission.group is None:
        return
    group, approach, size = (str(cfg.submission[key]) for key in ("group", "approach", "size"))

    def picture(item: str) -> Callable[[], Image.Image]:
        return lambda: named_picture(read(item), item, int(cfg.encode.max_pixels))

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
    folder = write_submission(job.folder / "submission", group, approach, size, found)
    wrong = faults(folder.parent, run.query_ids)
    if wrong:
        raise DataError(f"submission: {wrong[0]} ({len(wrong)} faults)")
    log.info("submission: %d pictures in %s", len(found), folder)
