"""Flickr8k (Hodosh et al. 2013) in both its forms: `captions.txt` with a header, or the token file `name#n<TAB>caption`."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from picdesk.collection import Collection, Skipped
from picdesk.data.places import Inside, RefusedError, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.data.spellings import Known
from picdesk.errors import DataError, MissingFileError, examples, short_repr
from picdesk.parts import config_part
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import UNMATCHED, Gathering
from picdesk.readers.text_columns import TextColumns
from picdesk.text.as_text import NoTextError, plain_text
from picdesk.text.files import lines_of, read_text
from picdesk.text.table import delimiter_named, need_columns, read_table

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
Caption = tuple[str, int, str, str]


@config_part
class Flickr8k:
    """Pictures with their captions (field caption; ids `name.jpg#0`, `name.jpg#1`, ...).

    Reads whichever of the two caption files is there, the one with a header first (`captions_file` null: the other one alone);
    a note says what the other has beside it. A picture's official split comes from the lists that are there; a list that is
    absent, or null, marks nothing. A name in a list fits as in `split=file`: ending and case may differ; where more than
    `max_bad_fraction` of a list's names fit no picture, that is an error.
    """

    def __init__(
        self,
        root: str,
        name: str = "flickr8k",
        folder: str = "Images",
        captions_file: str | None = "captions.txt",
        token_file: str = "Flickr8k.token.txt",
        lists: Mapping[str, str | None] = LISTS,
        max_bad_fraction: float = 0.01,
        quoting: str = "auto",
        encoding: str | None = None,
        delimiter: str = "auto",
    ) -> None:
        self.root = root
        self.name = name
        self.folder = folder
        self.captions_file = captions_file
        self.token_file = token_file
        self.lists = dict(lists)
        self.max_bad_fraction = max_bad_fraction
        self.quoting = quoting
        self.encoding = encoding
        self.delimiter = delimiter_named(delimiter)

    def read(self) -> Collection:
        """The captioned pictures, in the order of the caption file. Raises `DataError` where more than `max_bad_fraction` of
        the names in the lists have no picture or no caption."""
        root = data_folder(self.root, self.name)
        inside = Inside(data_folder(str(root / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        captions = list(self._captions(root, gathering))
        inside.claim(name for name, *_ in captions)
        for caption in captions:
            self._add(gathering, inside, *caption)
        lists = {split: root / file for split, file in self.lists.items() if file is not None}
        self._official(gathering, inside.same.ids, {split: path for split, path in lists.items() if path.is_file()})
        gathering.notes += inside.notes()
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _captions(self, root: Path, gathering: Gathering[Path]) -> Iterator[Caption]:
        if self.captions_file is not None and (root / self.captions_file).is_file():
            return self._with_header(root / self.captions_file, root / self.token_file, gathering)
        if (root / self.token_file).is_file():
            return self._tokens(root / self.token_file, gathering)
        wanted = (
            f"neither {self.captions_file!r} nor {self.token_file!r}"
            if self.captions_file
            else f"no {self.token_file!r}"
        )
        raise MissingFileError(f"data={self.name}: {wanted} is in data.root={self.root}")

    def _with_header(self, path: Path, other: Path, gathering: Gathering[Path]) -> Iterator[Caption]:
        table = read_table(path, self.delimiter, self.quoting, self.encoding, ("image", "caption"))
        need_columns({"image": "image", "caption": "caption"}, table.header, path.name, hint=table.hint, named=False)
        gathering.note_table(table, path.name)
        counts: Counter[str] = Counter()
        columns = TextColumns("caption", None, None)
        for line, row in table.rows:
            name, where, taken = row["image"].strip(), f"{path.name} line {line}", columns.take(row)
            taken.faults = [fault.removeprefix("data.caption_column=") for fault in taken.faults]
            for fields in taken.texts if gathering.took(taken, where, name) else []:
                yield name, counts[name], str(fields["caption"]), where
                counts[name] += 1
        gathering.notes += self._compare_with(other, path, counts)

    def _compare_with(self, other: Path, path: Path, counts: Counter[str]) -> list[str]:
        """A note on captions that the token file has and the file that was read has not."""
        if not other.is_file():
            return []
        try:
            lines = lines_of(read_text(other, self.encoding)[0])
        except DataError as error:
            return [f"{other.name} lies beside {path.name} and is not read: {error}"]
        there = Counter(line.partition("\t")[0].rpartition("#")[0].strip() for line in lines if "\t" in line)
        more = {name: count - counts[name] for name, count in there.items() if name and count > counts[name]}
        if not more:
            return []
        told = f"{sum(more.values())} captions of {len(more)} pictures stand in it alone: {examples(more)}"
        return [
            f"{other.name} lies beside {path.name} and is not read: {told} (data.captions_file=null reads it instead)"
        ]

    def _tokens(self, path: Path, gathering: Gathering[Path]) -> Iterator[Caption]:
        for line, content in gathering.lines(path, self.encoding):
            key, tab, caption = content.partition("\t")
            name, mark, number = key.rpartition("#")
            where = f"{path.name} line {line}"
            if tab and mark and re.fullmatch(r"\s*\d{1,9}\s*", number):
                yield name.strip(), int(number), caption.strip(), where
            else:
                gathering.skip(where, "not of the form name#n<TAB>caption")

    def _add(
        self, gathering: Gathering[Path], inside: Inside, name: str, number: int, caption: str, where: str
    ) -> None:
        try:
            path = inside.picture(name, SUFFIXES)
        except RefusedError as refused:
            gathering.skip(where, str(refused), name)
            return
        try:
            text = plain_text(caption, "the caption")
        except NoTextError as error:
            gathering.skip(where, str(error), name)
            return
        picture = inside.first_name(name, path)
        if gathering.picture(picture, path, where):
            gathering.text(picture, {"caption": text}, where, f"{name}#{number}")

    def _official(self, gathering: Gathering[Path], same: Mapping[str, str], lists: Mapping[str, Path]) -> None:
        """Marks the pictures of each list; a name that stands in any of them as it is means no other picture in the others."""
        listed = {
            split: [line.strip() for _, line in gathering.lines(path, self.encoding)] for split, path in lists.items()
        }
        names = [name for own in listed.values() for name in own]
        for split, path in lists.items():
            self._mark(gathering, path, split, listed[split], gathering.known(names, same))

    def _mark(self, gathering: Gathering[Path], path: Path, split: str, listed: list[str], known: Known) -> None:
        found = {name: known.picture(name) for name in listed}
        for picture in found.values():
            if picture is not None:
                gathering.member(picture, split, path.name)
        absent = [name for name in listed if found[name] is None]
        if known.near:
            near = f"{len(known.near)} names fit but for their ending or case: {examples(known.near)}"
            gathering.notes.append(f"{path.name}: {near}")
        if absent:
            told = f"{len(absent)} of {len(listed)} names have no picture or no caption"
            gathering.notes.append(f"{path.name}: {told}: {examples(absent)}")
        for name in absent:
            gathering.unmatched.append(Skipped(f"{path.name}: {short_repr(name)}", UNMATCHED, row=False))
        if len(absent) > self.max_bad_fraction * len(listed):
            share = f"{len(absent) / len(listed):.3g} is above data.max_bad_fraction={self.max_bad_fraction:g}"
            told = f"{len(absent)} of {len(listed)} names have no picture or no caption, {share}: {examples(absent)}"
            raise DataError(f"{path.name}: {told} (data.lists.{split}=null reads no such list)")
