"""A plain folder of pictures: a gallery without texts, or `name.jpg` beside `name.txt` with one caption a line."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from picdesk.collection import Collection
from picdesk.data.picture_formats import ENDINGS, UNREAD
from picdesk.data.places import Inside, RefusedError, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.data.spellings import fold_name
from picdesk.errors import DataError, examples
from picdesk.parts import config_part
from picdesk.readers.gathering import Gathering
from picdesk.text.as_text import NoTextError, plain_text
from picdesk.text.files import lines_of, read_text

SUFFIXES = tuple(f".{ending}" for ending in ENDINGS)


@config_part
class Folder:
    """All pictures below `root`, in the order of their paths, which are their ids; the texts come from the `.txt` beside each.

    A file that several links lead to is one picture, with the texts of all of them. Endings are read in letters of either case.
    Names that begin with a dot and `__MACOSX` are not looked at, linked folders are not followed, and files that are neither
    pictures nor captions are not used; the notes count them all.
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
        names = _walk(root, gathering)
        pictures = [name for name in names if Path(name).suffix.lower() in self.suffixes]
        beside, unsure = self._caption_files(pictures, names)
        used: Counter[str] = Counter(dict.fromkeys(unsure, 1))
        for file, fitting in unsure.items():
            gathering.skip(
                file, f"fits {examples(fitting)} but for the case of letters; name it as its picture is named"
            )
        done: set[tuple[str, Path]] = set()
        for name in pictures:
            picture, added = name, False
            try:
                picture = inside.first_name(name, inside.path(name))
                added = gathering.picture(picture, inside.path(name), name)
            except RefusedError as refused:
                gathering.skip(name, str(refused), name)
            if name in beside:
                file = beside[name]
                used[file] += self._captions(gathering, inside, picture, file, done) if added else 1
        for file in [file for file, count in used.items() if not count]:
            gathering.skip(file, "no caption in it")
        gathering.notes += inside.notes()
        self._others(gathering, [name for name in names if name not in used], set(pictures))
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _caption_files(self, pictures: list[str], names: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
        """The caption file of each picture: `name.txt` for `name.jpg`, or `name.jpg.txt`, its ending in letters of either case.

        A file of no picture by its very name is that of the one whose name differs by case, where one file fits one picture; of
        the other such files the pictures that they fit.
        """
        ending = self.caption_suffix.lower()
        captions = [name for name in names if name.lower().endswith(ending)]
        captions.sort(key=lambda name: name.endswith(self.caption_suffix))  # of two files the usual one is kept
        files = {name[: len(name) - len(ending)]: name for name in captions}
        stems = {name: (name, Path(name).with_suffix("").as_posix()) for name in pictures}
        beside = {name: files[stem] for name in pictures for stem in stems[name] if stem in files}
        exact = set(beside.values())
        files_of = _by_folded((stem, file) for stem, file in files.items() if file not in exact)
        pictures_of = _by_folded((stem, name) for name in pictures for stem in stems[name])
        unsure: dict[str, list[str]] = {}
        for folded, found in files_of.items():
            fitting = pictures_of.get(folded, [])
            without = [name for name in fitting if name not in beside]
            if without and len(found) == len(fitting) == 1:
                beside[fitting[0]] = found[0]
            elif without:
                unsure |= dict.fromkeys(found, fitting)
        return beside, unsure

    def _captions(
        self, gathering: Gathering[Path], inside: Inside, name: str, file: str, done: set[tuple[str, Path]]
    ) -> int:
        """Adds the captions of a picture; how many lines there were, used or listed as left out, 1 for a file that is `done`."""
        try:
            path = inside.path(file)
            if (name, path) in done:
                return 1
            done.add((name, path))
            text, note = read_text(path, self.encoding)
        except (RefusedError, DataError, OSError) as error:
            gathering.skip(file, getattr(error, "strerror", None) or str(error))
            return 1
        if "read as" in note and note not in gathering.notes:
            gathering.notes.append(note)
        captions = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
        for number, caption in captions:
            try:
                gathering.text(name, {"caption": plain_text(caption, f"line {number}")}, file)
            except NoTextError as error:
                gathering.skip(file, str(error))
        return len(captions)

    def _others(self, gathering: Gathering[Path], names: list[str], pictures: set[str]) -> None:
        others = [name for name in names if name not in pictures]
        unread = [name for name in others if Path(name).suffix.lower() in (f".{ending}" for ending in UNREAD)]
        if unread:
            counts = Counter(Path(name).suffix.lower() for name in unread)
            told = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
            gathering.notes.append(f"pictures in formats that are not read: {told}: {examples(unread)}")
        rest = sorted(set(others) - set(unread))
        if rest:
            gathering.notes.append(f"{len(rest)} files are neither pictures nor their captions: {examples(rest)}")


def _by_folded(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The second of each pair by the first without case."""
    found: dict[str, list[str]] = {}
    for stem, name in pairs:
        found.setdefault(fold_name(stem), []).append(name)
    return found


def _walk(root: Path, gathering: Gathering[Path]) -> list[str]:
    """Files below the root by their paths, sorted; folders that cannot be read are listed, what is passed over is noted."""
    names: list[str] = []
    hidden: list[str] = []
    links: list[str] = []

    def unreadable(error: OSError) -> None:
        gathering.skip(
            os.path.relpath(error.filename or root, root), f"a folder that cannot be read ({error.strerror})"
        )

    for folder, folders, files in os.walk(root, onerror=unreadable):
        at = Path(folder).relative_to(root)
        links += [(at / name).as_posix() for name in folders if (Path(folder) / name).is_symlink()]
        hidden += [(at / name).as_posix() for name in [*folders, *files] if _is_hidden(name)]
        folders[:] = [name for name in folders if not _is_hidden(name)]
        names += [(at / name).as_posix() for name in files if not _is_hidden(name)]
    if hidden:
        gathering.notes.append(f"{len(hidden)} hidden files and folders were not looked at: {examples(sorted(hidden))}")
    if links:
        gathering.notes.append(f"{len(links)} linked folders were not followed: {examples(sorted(links))}")
    return sorted(names)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
