"""A split by a file that the user has; every name in it that is not used is counted and listed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.collection import Collection, Skipped
from picdesk.data.groups import See, see_all
from picdesk.data.spellings import Known
from picdesk.data.splits import NAMES, Split, Splits
from picdesk.errors import DataError, MissingFileError, check_fraction, examples, short_repr
from picdesk.files import Doubled, json_value
from picdesk.parts import config_part
from picdesk.readers.gathering import SPLIT_NAMES, UNMATCHED, Gathering, split_name
from picdesk.readers.records import read_records
from picdesk.text.as_text import NoTextError, name_of, walk, what
from picdesk.text.files import plain_suffix, read_text
from picdesk.text.table import delimiter_named, need_columns, read_table

FORMS = 'CSV or JSON records with a picture and a split each are needed, or {"train": ["a.jpg", ...], ...}'
Named = list[tuple[str, str, str]]  # where, picture, split


@config_part
class SplitFile(Split):
    """By a file that the user has: CSV (or JSON records) with a picture and a split column, or JSON, either way round.

    JSON is `{"a.jpg": "train", ...}` or `{"train": ["a.jpg", ...], ...}`. Pictures that the file does not name are left out.
    A name fits the picture with that id; else the one whose id differs by the ending of a picture (`.jpg`) or by the case of
    letters alone, unless the id is that of a picture that was left out, or another name fits that picture too.
    After `assign`, `skipped` lists the rows that could not be read and the names that no picture has, `notes` counts them;
    more than `max_bad_fraction` of them is an error.
    """

    def __init__(
        self,
        file: str,
        picture_column: str = "picture",
        split_column: str = "split",
        max_bad_fraction: float = 0.01,
        delimiter: str = "auto",
        quoting: str = "auto",
        encoding: str | None = None,
    ) -> None:
        check_fraction("split.max_bad_fraction", max_bad_fraction)
        self.file = file
        self.picture_column = picture_column
        self.split_column = split_column
        self.max_bad_fraction = max_bad_fraction
        self.delimiter = delimiter_named(delimiter, "split.delimiter")
        self.quoting = quoting
        self.encoding = encoding

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """The pictures that the file names. Raises `DataError` if it names none of them, or one in two splits."""
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise MissingFileError(f"split.file={self.file}: no such file")
        found = Gathering[None](f"split.file={self.file}")
        named = self._json(path, found) if plain_suffix(path) in (".json", ".jsonl") else self._csv(path, found)
        if not named:
            raise DataError(f"split.file={self.file}: {self._why_none(found)}; {FORMS}")
        left_out = (one.picture for one in collection.skipped)
        known = Known(collection.picture_ids, (name for _, name, _ in named), left_out)
        split_of: dict[str, str] = {}
        unmatched = []
        for where, name, given in named:
            split, picture = split_name(given, f"split.file={self.file}, {short_repr(name)}"), known.picture(name)
            if picture is None:
                unmatched.append(Skipped(f"{where}: {short_repr(name)}", UNMATCHED, row=False))
            elif split_of.setdefault(picture, split) != split:
                raise DataError(
                    f"split.file={self.file}: {short_repr(name)} is in {split_of[picture]!r} and in {split!r}"
                )
        if not any(split_of.values()):
            ours, theirs = examples(collection.picture_ids), examples(dict.fromkeys(name for _, name, _ in named))
            raise DataError(
                f"split.file={self.file} names no picture of data={collection.name}: {theirs} against {ours}"
                + (f"; {self._why_none(found)}" if found.skipped else "")
            )
        self._tell(found, unmatched, len(named), known, split_of)
        rows = {
            name: [i for i, one in enumerate(collection.picture_ids) if split_of.get(one) == name] for name in NAMES
        }
        return {name: np.array(part, np.int64) for name, part in rows.items()}

    @staticmethod
    def _why_none(found: Gathering[None]) -> str:
        """Why rows of the file were not used."""
        if not found.skipped:
            return "there are no rows in it"
        return f"{len(found.skipped)} rows cannot be used, the first: {_line_for(found.skipped[0])}"

    def _tell(
        self,
        found: Gathering[None],
        unmatched: list[Skipped],
        count: int,
        known: Known,
        split_of: Mapping[str, str],
    ) -> None:
        """Keep what was not used. Raises `DataError` where that is too much of the file."""
        rows = [replace(one, row=False) for one in found.skipped]
        self.skipped = (*rows, *unmatched)
        bad, total = len(self.skipped), count + len(rows)
        notes = list(found.notes)
        notes += [f"{bad} of {total} rows were not used, the first: {_line_for(self.skipped[0])}"] if bad else []
        notes += (
            [f"{len(known.near)} names fit but for their ending or case: {examples(known.near)}"] if known.near else []
        )
        without = len(known.ids) - sum(map(bool, split_of.values()))
        notes += [f"{without} of {len(known.ids)} pictures are in no part"] if without else []
        self.notes = tuple(f"split.file: {note}" for note in notes)
        if bad > self.max_bad_fraction * total:
            share = f"{bad / total:.3g} is above split.max_bad_fraction={self.max_bad_fraction:g}"
            first = _line_for(self.skipped[0])
            raise DataError(f"split.file={self.file}: {bad} of {total} rows cannot be used, {share}: {first}")

    def _csv(self, path: Path, found: Gathering[None]) -> Named:
        columns = {"picture_column": self.picture_column, "split_column": self.split_column}
        table = read_table(path, self.delimiter, self.quoting, self.encoding, columns.values(), "split.encoding")
        need_columns(dict(columns), table.header, path.name, "split", hint=table.hint)
        found.note_table(table, path.name)
        rows = [(f"{path.name} line {line}", row) for line, row in table.rows]
        return [(where, row[self.picture_column].strip(), row[self.split_column]) for where, row in rows]

    def _json(self, path: Path, found: Gathering[None]) -> Named:
        text, note = read_text(path, self.encoding, "split.encoding")
        try:
            value = json_value(text)
        except ValueError as error:
            if plain_suffix(path) == ".jsonl":
                value = []
            else:
                raise DataError(f"split.file={self.file}: {error}") from None
        if (isinstance(value, list) and (value or plain_suffix(path) == ".jsonl")) or self._is_record(value):
            records = read_records(path, found, None, self.encoding, self.picture_column, key="split.encoding")
            return self._pairs([(f"{path.name} {where}", record) for where, record in records], found)
        found.notes += [note] if note else []
        if not isinstance(value, dict) or not value:
            raise DataError(f"split.file={self.file}: a JSON object is needed, of picture ids or of split names")
        if isinstance(value, Doubled):
            raise DataError(f"split.file={self.file}: the key {value.twice!r} stands twice")
        lists = {name: inner for name, inner in value.items() if isinstance(inner, list)}
        other = next((name for name in value if name not in lists), None)
        if lists and other is not None:
            told = f"{short_repr(other)} holds {what(value[other])}, not a list of pictures"
            raise DataError(f"split.file={self.file}: {told} as {short_repr(next(iter(lists)))} does")
        records = self._of_lists(lists) if lists else list(value.items())
        keys = (self.picture_column, self.split_column)
        named = [one if isinstance(one, dict) else dict(zip(keys, one, strict=True)) for one in records]
        return self._pairs([(path.name, record) for record in named], found)

    def _of_lists(self, lists: Mapping[str, list[Any]]) -> list[Any]:
        """Pairs of a picture and a split out of a list for each split; records where the items are such.

        Where no list is called as a split is, the records say it themselves.
        """
        by_split = any(name.strip().lower() in SPLIT_NAMES for name in lists)
        found: list[Any] = []
        for split, items in lists.items():
            for item in items:
                record = isinstance(item, dict) and not isinstance(item, Doubled)
                own = {**item, self.split_column: split} if record and by_split else item
                found.append(own if record else (item, split))
        return found

    def _is_record(self, value: Any) -> bool:
        return isinstance(value, dict) and {self.picture_column, self.split_column} <= set(value)

    def _pairs(self, records: Sequence[tuple[str, Mapping[str, Any]]], found: Gathering[None]) -> Named:
        named: Named = []
        for where, record in records:
            try:
                name, split = name_of(walk(record, self.picture_column)), walk(record, self.split_column)
                if not name or not isinstance(split, str):
                    raise NoTextError(self._lack(record, name, split))
                named.append((where, name, split))
            except NoTextError as error:
                found.skip(where, str(error))
        return named

    def _lack(self, record: Mapping[str, Any], name: str, split: Any) -> str:
        """What a record has not."""
        key, column = ("split_column", self.split_column) if name else ("picture_column", self.picture_column)
        if record.get(column) is None and column.split(".")[0] not in record:
            return f"there is no {column!r} in it (there are {examples(record, 6)}); split.{key} names it"
        return f"the split of {short_repr(name)} is no text ({what(split)})" if name else "no picture is named"


def _line_for(skipped: Skipped) -> str:
    return f"{skipped.item}: {skipped.reason}"


def with_left_out(collection: Collection, split: Split) -> Collection:
    """The collection, with what a split did not use listed among what was left out."""
    return replace(collection, skipped=(*collection.skipped, *split.skipped))
