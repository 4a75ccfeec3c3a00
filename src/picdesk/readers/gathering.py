"""What all readers share: pictures and texts put together as they are met, what is left out listed with its reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from picdesk.collection import Collection, Fields, Skipped
from picdesk.data.spellings import Known
from picdesk.data.unmatched import Unmatched
from picdesk.errors import DataError, examples, readable, short_repr
from picdesk.files import json_value
from picdesk.interfaces import PictureBytes
from picdesk.readers.text_columns import Taken, text_fault
from picdesk.text.as_text import fault_of
from picdesk.text.files import lines_of, read_text
from picdesk.text.table import Table

Place = TypeVar("Place")
UNMATCHED = "no picture of that name"
MOST_NOTES, MOST_NOTE = 6, 400  # of an error: how many notes, and letters of each

SPLIT_NAMES = {
    "": "",
    "train": "train",
    "val": "val",
    "test": "test",
    "valid": "val",
    "validation": "val",
    "dev": "val",
}


def split_name(value: str, where: str) -> str:
    """`train`, `val`, `test` or "" for what data sets call them. Raises `DataError` for anything else."""
    known = SPLIT_NAMES.get(value.strip().lower())
    if known is None:
        raise DataError(
            f"{where}: split {short_repr(value)} is none of {', '.join(name for name in SPLIT_NAMES if name)}"
        )
    return known


class Gathering(Generic[Place]):
    """Grows a `Collection`. A text is tied to its picture by id when it is added, so leaving an item out shifts nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self.unmatched: list[Skipped] = []
        self.places: dict[str, Place] = {}
        self._positions: dict[str, int] = {}
        self._official: dict[str, str] = {}
        self._texts: dict[str, tuple[Fields, int]] = {}
        self._counts: Counter[str] = Counter()
        self._odd: Counter[str] = Counter()

    def skip(self, item: str, reason: str, picture: str = "") -> None:
        """List an item as left out; bytes of its name that are no UTF-8 are shown as such (`caf\\xe9.jpg`).

        `picture` is its id, if it is a picture: who names it means no other.
        """
        self.skipped.append(Skipped(readable(item), readable(reason), picture=picture))

    def known(self, names: Iterable[str], same: Mapping[str, str] | None = None) -> Known:
        """The pictures that were added, to look `names` up in; `same` are further names of some."""
        return Known(tuple(self.places), names, (one.picture for one in self.skipped), same)

    def took(self, taken: Taken, where: str, picture: str = "") -> bool:
        """List what of a record's values could not be used; whether anything could, or nothing was asked for."""
        for fault in taken.faults:
            self.skip(where, fault, picture)
        self._odd += taken.odd
        return bool(taken.texts or not taken.faults)

    def note_table(self, table: Table, file: str) -> None:
        """Note what was odd about a table, and list its rows of a wrong width."""
        self.notes += [table.note] if table.note else []
        for item, reason in table.unused_rows(file):
            self.skip(item, reason)

    def note_unmatched(self, found: Unmatched) -> None:
        """List what lies beside the files that were read and was asked for, and note the rest."""
        for item, reason in found.left_out:
            self.skip(item, reason)
        self.notes += [found.note] if found.note else []

    def lines(
        self, path: Path, encoding: str | None = None, key: str | None = "data.encoding"
    ) -> list[tuple[int, str]]:
        """The lines of a text file that hold anything, with their numbers; what was odd and how many were blank is noted."""
        text, note = read_text(path, encoding, key)
        every = list(enumerate(lines_of(text.rstrip("\r\n")), start=1))
        found = [(number, line) for number, line in every if line.strip()]
        self.notes += [note] if note else []
        self.notes += [f"{path.name}: {len(every) - len(found)} blank lines"] if len(found) < len(every) else []
        return found

    def json(self, path: Path, name: str, encoding: str | None) -> Any:
        """The value of a JSON file, which is called `name`; what was odd about it as a text is noted. Raises `DataError`."""
        text, note = read_text(path, encoding)
        self.notes += [note] if note else []
        try:
            return json_value(text)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None

    def is_new_text(self, text_id: str | None, where: str) -> bool:
        """Whether no text has that id yet; false, and listed, if one has."""
        if text_id not in self._texts:
            return True
        self.skip(where, f"text id {short_repr(text_id)} stands already; the first one was kept")
        return False

    def picture(self, picture_id: str, place: Place, where: str) -> bool:
        """Add a picture, or meet it again; false, and listed, if that id stands for another picture or is not UTF-8."""
        if fault_of(picture_id):
            self.skip(
                where, "a NUL character in the name" if "\0" in picture_id else "the name is not UTF-8; rename it"
            )
            return False
        known = self.places.setdefault(picture_id, place)
        if known != place:
            self.skip(where, f"picture id {short_repr(picture_id)} stands already, for another picture")
            return False
        self._positions.setdefault(picture_id, len(self._positions))
        return True

    def text(self, picture_id: str, fields: Fields, where: str, text_id: str | None = None) -> bool:
        """Add a text of a picture that was added before; without an id it is `<picture id>#<its number, from 0>`.

        False, and listed, if that id stands already or the text cannot be written down.
        """
        fault = text_fault([fields])
        if fault:
            self.skip(where, fault)
            return False
        text_id = f"{picture_id}#{self._counts[picture_id]}" if text_id is None else text_id
        self._counts[picture_id] += 1
        if not self.is_new_text(text_id, where):
            return False
        self._texts[text_id] = (fields, self._positions[picture_id])
        return True

    def member(self, picture_id: str, split: str, where: str) -> None:
        """Note the official split of a picture. Raises `DataError` if it is in another one already."""
        known = self._official.setdefault(picture_id, split)
        if known != split:
            raise DataError(f"{where}: picture {short_repr(picture_id)} is in split {split!r} and in {known!r}")

    def _why(self) -> str:
        """What was left out and noted, for the error of a data set without pictures."""
        first = f"{len(self.skipped)} rows left out, the first: {self.skipped[0].reason}" if self.skipped else ""
        told = [first] if first else []
        told += [note if len(note) <= MOST_NOTE else f"{note[:MOST_NOTE]}..." for note in self.notes[:MOST_NOTES]]
        return f" ({'; '.join(told)})" if told else ""

    def _shared(self) -> list[str]:
        """What to say of ids that mean a file which has an earlier id: each is a picture of the gallery."""
        first: dict[Place, str] = {}
        met = ((name, first.setdefault(place, name)) for name, place in self.places.items())
        again = [f"{name} -> {one}" for name, one in met if name != one]
        told = (
            "pictures lie in the file of an earlier one, so the gallery holds it more than once; give a picture one id"
        )
        return [f"{len(again)} {told}: {examples(again)}"] if again else []

    def collection(self, pictures: Callable[[Iterable[Place]], PictureBytes]) -> Collection:
        """Everything that was gathered, with picture bytes made from the places. Raises `DataError` where there is no picture."""
        if not self.places:
            raise DataError(f"data={self.name}: the data set is empty: no usable picture was found{self._why()}")
        ids = tuple(self.places)
        return Collection(
            name=self.name,
            picture_ids=ids,
            pictures=pictures(self.places.values()),
            text_ids=tuple(self._texts),
            texts=tuple(fields for fields, _ in self._texts.values()),
            picture_of=np.array([position for _, position in self._texts.values()], np.int64),
            official=tuple(self._official.get(item, "") for item in ids) if any(self._official.values()) else (),
            skipped=(*self.skipped, *self.unmatched),
            notes=(*self.notes, *self._shared(), *(f"{count} {what}" for what, count in self._odd.items() if count)),
        )
