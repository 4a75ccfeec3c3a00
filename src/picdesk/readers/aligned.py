"""Files that belong together line by line, as Multi30k has them (Elliott et al. 2016): a list of pictures, files of captions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering, split_name
from picdesk.text.as_text import NoTextError, plain_text
from picdesk.text.files import lines_of, read_text

Files = str | Sequence[str]


@config_part
class Aligned:
    """Line n of each captions file is a caption of the picture that line n of the pictures file names.

    `pictures` and `captions` are a file each (`captions` may be a list of files: several captions a picture), or such for
    each split: `{train: train.txt, val: val.txt}`. Files may be gzip's. Files of different numbers of lines are refused,
    as nobody can tell which line is missing; a picture may stand in several lines.
    """

    def __init__(
        self,
        root: str,
        pictures: str | Mapping[str, str],
        captions: Files | Mapping[str, Files],
        name: str = "aligned",
        folder: str = ".",
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        self.root = root
        self.pictures = {"": pictures} if isinstance(pictures, str) else dict(pictures)
        by_split = captions if isinstance(captions, Mapping) else {"": captions}
        self.captions = {split: [file] if isinstance(file, str) else list(file) for split, file in by_split.items()}
        self.name = name
        self.folder = folder
        self.max_bad_fraction = max_bad_fraction
        self.encoding = encoding
        if set(self.pictures) != set(self.captions):
            ours, theirs = ", ".join(self.pictures), ", ".join(self.captions)
            raise ConfigError(f"data.pictures names the splits {ours!r}, data.captions {theirs!r}; the same are needed")

    def read(self) -> Collection:
        """The pictures that are there, in the order of the lists, and their captions."""
        gathering = Gathering[Path](self.name)
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        listed = {
            split: [line.strip() for line in self._lines(file, gathering)] for split, file in self.pictures.items()
        }
        inside.claim(name for names in listed.values() for name in names)
        for split, file in self.pictures.items():
            names = listed[split]
            files = {caption: self._lines(caption, gathering) for caption in self.captions[split]}
            for caption, lines in files.items():
                if len(lines) != len(names):
                    counts = f"{file} has {len(names)} lines and {caption} {len(lines)}"
                    raise DataError(f"data={self.name}: {counts}; line by line they must belong together")
            for row, name in enumerate(names):
                where = f"{file} line {row + 1}"
                self._row(gathering, inside, name, {one: files[one][row].strip() for one in files}, split, where)
        gathering.notes += inside.notes()
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _lines(self, file: str, gathering: Gathering[Path]) -> list[str]:
        text, note = read_text(data_file(self.root, file, self.name), self.encoding)
        gathering.notes += [note] if note else []
        lines = lines_of(text)
        return lines[:-1] if not lines[-1] else lines

    def _row(
        self,
        gathering: Gathering[Path],
        inside: Inside,
        name: str,
        captions: Mapping[str, str],
        split: str,
        where: str,
    ) -> None:
        try:
            path = inside.picture(name, SUFFIXES)
            name = inside.first_name(name, path)
        except RefusedError as refused:
            gathering.skip(where, str(refused), name)
            return
        if not gathering.picture(name, path, where):
            return
        gathering.member(name, split_name(split, "data.pictures"), where)
        for file, caption in captions.items():
            try:
                gathering.text(name, {"caption": plain_text(caption, "the caption")}, where)
            except NoTextError as error:
                gathering.skip(f"{where}, {file}", str(error))
