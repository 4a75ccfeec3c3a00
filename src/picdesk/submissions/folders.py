"""The submission folders of MediaEval's NewsImages, by edition: how they are named, and all that is wrong with one.

2025: `[group]/RET_[approach]_LARGE|SMALL/[article_id]_[group]_[approach].png`. 2026: `[group]_[approach]/` with files of the same
names, 460x260 pixels, and no two runs of a group with one picture for an article.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from picdesk.errors import ConfigError, DataError, MissingFileError, examples, first_line
from picdesk.files import written_whole
from picdesk.rasters import open_raster

SIZES = ("LARGE", "SMALL")
EDITIONS = (2025, 2026)
TARGET = (460, 260)  # width and height of 2026
WORD = re.compile(r"[A-Za-z0-9-]+")
ARTICLE = re.compile(r"[A-Za-z0-9.-]+")
FOLDER = re.compile(r"RET_([A-Za-z0-9-]+)_(LARGE|SMALL)")
SOURCE = "picture"  # what a written file says of the picture that it was made from
Alike = Callable[[Sequence[Image.Image]], list[tuple[int, int]]]


@dataclass(frozen=True)
class Names:
    """What a submission is named by. Raises `ConfigError` for names that would not come out of a file name whole."""

    group: str
    approach: str
    size: str = "SMALL"
    edition: int = 2025

    def __post_init__(self) -> None:
        for key in ("group", "approach"):
            value = getattr(self, key)
            if not WORD.fullmatch(value):
                raise ConfigError(
                    f"submission.{key}={value}: letters, digits and - only (an underscore parts the names)"
                )
        if self.size not in SIZES:
            raise ConfigError(
                f"submission.size={self.size}: choose one of {', '.join(SIZES)}, the gallery that was searched"
            )
        if self.edition not in EDITIONS:
            raise ConfigError(f"submission.edition={self.edition}: choose one of {', '.join(map(str, EDITIONS))}")

    def folder(self, root: Path) -> Path:
        """The folder of this run."""
        if self.edition == 2026:
            return root / f"{self.group}_{self.approach}"
        return root / self.group / f"RET_{self.approach}_{self.size}"

    def checked_folder(self, root: Path) -> Path:
        """What `faults` looks at."""
        return root if self.edition == 2026 else root / self.group


def write_submission(
    root: Path,
    names: Names,
    found: Mapping[str, Callable[[], Image.Image]],
    sources: Mapping[str, str] | None = None,
) -> Path:
    """One PNG for each article, `found` giving its picture by article id; the folder that holds them.

    `sources` names, by article id, what each was made from; it stands in the file, so that another run can leave it out.
    Raises `DataError` for an id that cannot stand in a file name.
    """
    odd = [article for article in found if not ARTICLE.fullmatch(article)]
    if odd:
        raise DataError(f"submission: {len(odd)} article ids cannot stand in a file name, for example {examples(odd)}")
    folder = names.folder(root)
    for article, picture in found.items():
        about = PngInfo()
        if sources:
            about.add_text(SOURCE, sources[article])
        with written_whole(folder / f"{article}_{names.group}_{names.approach}.png") as temporary:
            picture().save(temporary, "png", pnginfo=about)
    return folder


def faults(root: Path, articles: Iterable[str], edition: int = 2025, alike: Alike | None = None) -> list[str]:
    """All that is wrong, in plain sentences; nothing if it can be handed in.

    `root` is the folder named after the group (2025), or the one that holds all `[group]_[approach]` folders (2026). `articles`
    are the ids that must have exactly one picture in each run; `alike` gives the pairs of pictures that are one picture.
    Raises `MissingFileError` where there is no folder at all, `DataError` for the folder of a single run.
    """
    if not root.is_dir():
        told = "named after the group" if edition == 2025 else "that holds the runs, [group]_[approach] each"
        raise MissingFileError(f"{root}: no such folder; give the folder {told}")
    if FOLDER.fullmatch(root.name) or any(root.glob(f"*_{root.name}.png")):
        raise DataError(f"{root}: one run; give the folder above it, which holds the runs: {root.resolve().parent}")
    return _of_runs(root, set(articles), alike) if edition == 2026 else _of_group(root, set(articles))


def _of_group(root: Path, wanted: set[str]) -> list[str]:
    group, wrong = root.name, []
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


def _of_runs(root: Path, wanted: set[str], alike: Alike | None) -> list[str]:
    wrong, runs = [], []
    for folder in sorted(root.iterdir()):
        group, _, approach = folder.name.partition("_")
        if not folder.is_dir() or not WORD.fullmatch(group) or not WORD.fullmatch(approach):
            wrong.append(f"{root.name}/{folder.name}: not a folder named [group]_[approach] (letters, digits and -)")
            continue
        runs.append(folder)
        wrong += _of_folder(folder, f"_{folder.name}.png", wanted, TARGET)
    groups = sorted({folder.name.partition("_")[0] for folder in runs})
    if len(groups) != 1:
        there = f"runs of {len(groups)} groups ({', '.join(groups)})" if groups else "no run"
        wrong.append(f"{root.name}: {there}; [group]_[approach] folders of one group are needed in it")
    return wrong + [fault for article in sorted(wanted) for fault in _repeats(article, runs, alike)]


def _repeats(article: str, runs: Sequence[Path], alike: Alike | None) -> list[str]:
    """Pairs of runs that show one picture for an article."""
    there = [folder for folder in runs if (folder / f"{article}_{folder.name}.png").is_file()]
    files = [folder / f"{article}_{folder.name}.png" for folder in there]
    shown = [own for file in files if (own := open_picture(file)) is not None]
    if len(shown) < 2 or len(shown) < len(files):
        return []
    same = set(alike([picture for picture, _ in shown]) if alike else [])
    pairs = [(i, j) for j in range(len(shown)) for i in range(j)]
    equal = [(i, j) for i, j in pairs if (i, j) in same or equals(shown[i], shown[j])]
    return [f"{there[j].name}: shows the picture of {there[i].name} for article {article} again" for i, j in equal]


def equals(one: tuple[Image.Image, str], other: tuple[Image.Image, str]) -> bool:
    """Whether two pictures have the same pixels, or say that they were made from the same one."""
    (first, said), (second, told) = one, other
    return (bool(said) and said == told) or (first.size == second.size and first.tobytes() == second.tobytes())


def open_picture(file: Path) -> tuple[Image.Image, str] | None:
    """A written picture (RGB), and what it says that it was made from; None where it cannot be opened."""
    try:
        with open_raster(file) as picture:
            return picture.convert("RGB"), str(picture.info.get(SOURCE, ""))
    except Exception:  # Pillow raises many kinds; `_not_png` tells them
        return None


def _of_folder(folder: Path, ending: str, wanted: set[str], size: tuple[int, int] | None = None) -> list[str]:
    place, wrong, there = f"{folder.parent.name}/{folder.name}", [], set()
    for path in sorted(folder.iterdir()):
        article = path.name.removesuffix(ending)
        if article == path.name or not path.is_file():
            wrong.append(f"{place}/{path.name}: the name must be [article_id]{ending}")
            continue
        there.add(article)
        if article not in wanted:
            wrong.append(f"{place}/{path.name}: {article} is none of the articles")
        problem = _not_png(path, size)
        if problem:
            wrong.append(f"{place}/{path.name}: {problem}")
    missing = sorted(wanted - there)
    if missing:
        wrong.append(f"{place}: {len(missing)} of {len(wanted)} articles have no picture: {examples(missing)}")
    return wrong


def _not_png(path: Path, size: tuple[int, int] | None) -> str:
    try:
        with Image.open(path) as picture:
            if picture.format != "PNG":
                return f"holds a {picture.format}, not a PNG"
            picture.load()
            if size is not None and picture.size != size:
                return f"has {picture.size[0]}x{picture.size[1]} pixels, wanted {size[0]}x{size[1]}"
    except Exception as error:  # Pillow raises many kinds
        return f"not a picture that can be opened ({first_line(error, 80)})"
    return ""
