"""What earlier runs of a group show for each article, so that a further one shows something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from picdesk.errors import DataError, MissingFileError
from picdesk.submissions.folders import Alike, equals, open_picture

Shown = Mapping[str, Sequence[tuple[Image.Image, str]]]


def shown_before(folder: str, articles: Sequence[str]) -> Shown:
    """By article id, the pictures of all PNG files named `[article_id]_...` in a folder and those inside it.

    Raises `MissingFileError` where there is no such folder or no such file, `DataError` for a file that is no picture.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise MissingFileError(f"submission.other_runs={folder}: no such folder")
    files = sorted(path for path in root.rglob("*.png"))
    if not files:
        raise MissingFileError(
            f"submission.other_runs={folder}: no PNG files in it; give the folder of your other runs"
        )
    known, found = set(articles), dict[str, list[tuple[Image.Image, str]]]()
    for file in files:
        article = file.name.partition("_")[0]
        if article not in known:
            continue
        own = open_picture(file)
        if own is None:
            raise DataError(f"submission.other_runs={folder}: {file.name} is not a picture that can be opened")
        found.setdefault(article, []).append(own)
    return found


def is_new(picture: Image.Image, source: str, before: Sequence[tuple[Image.Image, str]], alike: Alike) -> bool:
    """Whether a picture, made from `source`, is none of those that were shown before, nor looks like one of them."""
    if any(equals((picture, source), other) for other in before):
        return False
    last = len(before)
    return not any(last in pair for pair in alike([*(other for other, _ in before), picture]))
