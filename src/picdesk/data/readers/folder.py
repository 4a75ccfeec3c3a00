"""A plain folder of pictures: a gallery without texts, or `name.jpg` beside `name.txt` with one caption a line."""

import os
from collections.abc import Iterator
from pathlib import Path

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_folder
from picdesk.data.readers.gathering import Gathering
from picdesk.data.readers.text import lines_of, read_text
from picdesk.data.sources import PictureFiles
from picdesk.errors import examples
from picdesk.text_values import NoTextError, plain_text

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".gif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".jp2",
    ".ppm",
    ".pgm",
    ".tga",
)


class Folder:
    """All pictures below `root`, in the order of their paths, which are their ids; the texts come from the `.txt` beside each.

    Names that begin with a dot are not looked at, linked folders are not followed.
    """

    def __init__(
        self,
        root: str,
        name: str = "folder",
        suffixes: tuple[str, ...] | list[str] = SUFFIXES,
        caption_suffix: str = ".txt",
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        self.root = root
        self.name = name
        self.suffixes = tuple(suffix.lower() for suffix in suffixes)
        self.caption_suffix = caption_suffix
        self.max_bad_fraction = max_bad_fraction
        self.encoding = encoding

    def read(self) -> Collection:
        """The pictures and their captions."""
        root = data_folder(self.root, self.name)
        inside = Inside(root)
        gathering = Gathering[Path](self.name)
        names = sorted(_walk(root))
        pictures = [name for name in names if Path(name).suffix.lower() in self.suffixes]
        beside = {name.casefold(): name for name in reversed(names)}
        for name in pictures:
            try:
                added = gathering.picture(name, inside.path(name), name)
            except RefusedError as refused:
                gathering.skip(name, str(refused))
                continue
            if added:
                self._captions(gathering, inside, name, beside.get(self._beside(name)))
        self._others(gathering, names, pictures)
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _beside(self, name: str) -> str:
        """The name of the captions of a picture, in whatever letters."""
        return Path(name).with_suffix(self.caption_suffix).as_posix().casefold()

    def _captions(self, gathering: Gathering[Path], inside: Inside, name: str, file: str | None) -> None:
        if file is None:
            return
        try:
            text, note = read_text(inside.path(file), self.encoding)
        except RefusedError as refused:
            gathering.skip(file, str(refused))
            return
        gathering.notes += [note] if "read as" in note else []
        captions = [line.strip() for line in lines_of(text) if line.strip()]
        if not captions:
            gathering.skip(file, "no caption in it")
        for caption in captions:
            try:
                gathering.text(name, {"caption": plain_text(caption)}, file)
            except NoTextError as error:
                gathering.skip(file, str(error))

    def _others(self, gathering: Gathering[Path], names: list[str], pictures: list[str]) -> None:
        beside, known = {self._beside(name) for name in pictures}, set(pictures)
        others = [name for name in names if name.casefold() not in beside and name not in known]
        if others:
            gathering.notes.append(f"{len(others)} files are neither pictures nor their captions: {examples(others)}")


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()
