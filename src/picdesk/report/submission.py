"""The submission folder of MediaEval's NewsImages: `[group]/RET_[approach]_LARGE|SMALL/[article_id]_[group]_[approach].png`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image

from picdesk.errors import ConfigError, DataError, MissingFileError, examples
from picdesk.files import written_whole

SIZES = ("LARGE", "SMALL")
WORD = re.compile(r"[A-Za-z0-9-]+")
ARTICLE = re.compile(r"[A-Za-z0-9.-]+")
FOLDER = re.compile(r"RET_([A-Za-z0-9-]+)_(LARGE|SMALL)")


def check_names(group: str, approach: str, size: str) -> None:
    """Raise `ConfigError` for names that would not come out of a file name whole."""
    for key, value in (("group", group), ("approach", approach)):
        if not WORD.fullmatch(value):
            raise ConfigError(f"submission.{key}={value}: letters, digits and - only (an underscore parts the names)")
    if size not in SIZES:
        raise ConfigError(f"submission.size={size}: choose one of {', '.join(SIZES)}, the gallery that was searched")


def write_submission(
    root: Path, group: str, approach: str, size: str, found: Mapping[str, Callable[[], Image.Image]]
) -> Path:
    """One PNG for each article, `found` giving its picture by article id; the folder that holds them."""
    check_names(group, approach, size)
    odd = [article for article in found if not ARTICLE.fullmatch(article)]
    if odd:
        raise DataError(f"submission: {len(odd)} article ids cannot stand in a file name, for example {examples(odd)}")
    folder = root / group / f"RET_{approach}_{size}"
    for article, picture in found.items():
        with written_whole(folder / f"{article}_{group}_{approach}.png") as temporary:
            picture().save(temporary, "png")
    return folder


def faults(root: Path, articles: Iterable[str]) -> list[str]:
    """All that is wrong with the folder of one group, in plain sentences; nothing if it can be handed in.

    `articles` are the ids that must have exactly one picture in each `RET_` folder. Raises `MissingFileError` where there is
    no folder at all.
    """
    if not root.is_dir():
        raise MissingFileError(f"{root}: no such folder; give the folder that is named after the group")
    wanted, group, wrong = set(articles), root.name, []
    if not WORD.fullmatch(group):
        wrong.append(f"{group}: the group's name must be letters, digits and -")
    folders = sorted(path for path in root.iterdir())
    if not folders:
        wrong.append(f"{group}: empty; RET_[approach]_LARGE or RET_[approach]_SMALL is needed in it")
    for folder in folders:
        named = FOLDER.fullmatch(folder.name)
        if named is None or not folder.is_dir():
            wrong.append(f"{group}/{folder.name}: not a folder named RET_[approach]_LARGE or RET_[approach]_SMALL")
            continue
        wrong += _of_folder(folder, f"_{group}_{named.group(1)}.png", wanted)
    return wrong


def _of_folder(folder: Path, ending: str, wanted: set[str]) -> list[str]:
    place, wrong, there = f"{folder.parent.name}/{folder.name}", [], set()
    for path in sorted(folder.iterdir()):
        article = path.name.removesuffix(ending)
        if article == path.name or not path.is_file():
            wrong.append(f"{place}/{path.name}: the name must be [article_id]{ending}")
            continue
        there.add(article)
        if article not in wanted:
            wrong.append(f"{place}/{path.name}: {article} is none of the articles")
        problem = _not_png(path)
        if problem:
            wrong.append(f"{place}/{path.name}: {problem}")
    missing = sorted(wanted - there)
    if missing:
        wrong.append(f"{place}: {len(missing)} of {len(wanted)} articles have no picture: {examples(missing)}")
    return wrong


def _not_png(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            if picture.format != "PNG":
                return f"holds a {picture.format}, not a PNG"
            picture.load()
    except Exception as error:  # Pillow raises many kinds
        return f"not a picture that can be opened ({str(error).splitlines()[0][:80] if str(error) else type(error).__name__})"
    return ""
