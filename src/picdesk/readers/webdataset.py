"""WebDataset tar shards: indexed once, then read by offset; nothing is unpacked, and names in a shard are never paths."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.collection import Collection, Fields
from picdesk.data.picture_formats import ENDINGS
from picdesk.data.places import data_folder, files_of_splits
from picdesk.data.sources import FilePart, PictureParts
from picdesk.data.unmatched import unmatched_files
from picdesk.errors import ConfigError, DataError, MissingFileError, examples
from picdesk.files import Doubled, json_value
from picdesk.parts import config_part
from picdesk.readers.gathering import Gathering, split_name
from picdesk.readers.tar_members import Unread, members
from picdesk.readers.text_columns import TextColumns, text_fault
from picdesk.text.files import decode_text, lines_of

MOST_SHARDS, MOST_LISTED = 100_000, 12
Sample = dict[str, FilePart]


@config_part
class WebDataset:
    """Samples of the shards: a picture, a `.txt` with one caption a line, or a `.json` with the named keys.

    `shards` may hold brace ranges (`train-{000..012}.tar`) and patterns (`*.tar`), and may give them for each split:
    `{train: ..., test: ...}`. A picture's id is `<shard>/<key>`, with the shard's path below `root` without its ending, since
    keys are unique only within a shard, and names of shards only within a folder. Endings, also of shards, are read in letters of
    either case. What a pattern `*.tar` misses in its folder (compressed shards, deeper ones) is listed as left out.
    A `.json` holds a record, a list of records, a text or a list of texts. Where a sample has both a `.txt` and a `.json` with a
    caption, the `.txt` counts; fields that only a list of several records has are then listed as left out. `encoding` is that of
    `.txt` and `.json` where it is not UTF-8; without it, texts with runs of other bytes are left out. Members that
    nothing asks for are counted by their ending, with the key that would read them.
    """

    def __init__(
        self,
        root: str,
        shards: str | Mapping[str, str] = "*.tar",
        name: str = "webdataset",
        picture_endings: tuple[str, ...] | list[str] = ENDINGS,
        caption_ending: str = "txt",
        json_ending: str = "json",
        caption_column: str | None = "caption",
        title_column: str | None = None,
        tags_column: str | None = None,
        more_columns: Mapping[str, str] | None = None,
        tag_separators: str = ";|",
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        self.root = root
        self.shards = {"": shards} if isinstance(shards, str) else dict(shards)
        self.name = name
        self.picture_endings = tuple(ending.lower().lstrip(".") for ending in picture_endings)
        self.caption_ending = caption_ending.lower().lstrip(".")
        self.json_ending = json_ending.lower().lstrip(".")
        self.columns = TextColumns(caption_column, title_column, tags_column, more_columns, tag_separators)
        self.max_bad_fraction = max_bad_fraction
        self.encoding = encoding

    def read(self) -> Collection:
        """The samples that hold a picture, in the order of the shards."""
        reading = _Reading(self)
        root = data_folder(self.root, self.name)
        patterns = {split: expand_braces(text) for split, text in self.shards.items()}
        try:
            paths = files_of_splits(root, patterns, "data.shards", self.name, "shard")
        except MissingFileError as error:
            beside = unmatched_files(root, patterns.values(), (), ("tar",), "data.shards").left_out
            packed = [item for item, reason in beside if "compressed" in reason]
            told = f"; {len(packed)} are compressed, which are not read (unpack them): {examples(packed)}"
            raise MissingFileError(f"{error}{told if packed else ''}") from None
        reading.gathering.note_unmatched(unmatched_files(root, patterns.values(), paths, ("tar",), "data.shards"))
        for path, split in paths.items():
            reading.shard(path, path.relative_to(root).as_posix(), split_name(split, "data.shards"))
        return reading.collection()


class _Reading:
    """Turns shards into pictures and texts."""

    def __init__(self, reader: WebDataset) -> None:
        self.reader = reader
        self.columns = reader.columns
        self.gathering = Gathering[FilePart](reader.name)
        self.unread = Unread()
        self.odd: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.without = 0

    def shard(self, path: Path, shown: str, split: str) -> None:
        """The samples of one shard."""
        samples: dict[str, Sample] = {}
        for member in members(path, shown, self.gathering):
            if not member.key.rpartition("/")[2] or not member.ending or "__MACOSX" in member.key:
                hidden = bool(member.ending)
                self.unread.add("(hidden)" if hidden else "(no ending)", member.part)
            elif not self._is_asked(member.ending):
                self.unread.add(f".{member.ending}", member.part)
            elif samples.setdefault(member.key, {}).setdefault(member.ending, member.part) != member.part:
                where = f"{shown}: {member.key}.{member.ending}"
                self.gathering.skip(where, "stands twice in the shard; the first was kept")
        for key, sample in samples.items():
            self._sample(f"{Path(shown).with_suffix('').as_posix()}/{key}", sample, split, f"{shown}: {key}")

    def collection(self) -> Collection:
        """Everything that was read."""
        notes = self.gathering.notes
        notes += [f"{count:,} {what}" for what, count in self.odd.items() if count]
        if self.without:
            named = ", ".join(f"data.{key}={column}" for key, column in self.columns.keys().items())
            shown = ", ".join(key for key, _ in self.keys.most_common(MOST_LISTED))
            notes.append(f"{self.without:,} .{self.reader.json_ending} records hold no {named}; their keys are {shown}")
        notes += self._unread()
        return self.gathering.collection(lambda places: PictureParts(tuple(places)))

    def _is_asked(self, ending: str) -> bool:
        reader = self.reader
        captions = reader.caption_ending if "caption" in self.columns.columns else None
        return ending in reader.picture_endings or ending in (captions, reader.json_ending)

    def _unread(self) -> list[str]:
        """A line on the members that nothing asked for, by ending, with the key that would read them."""
        if not self.unread.counts:
            return []
        told = [
            f"{count:,} {ending}{self._way(ending.removeprefix('.'))}"
            for ending, count in self.unread.counts.most_common(MOST_LISTED)
        ]
        rest = len(self.unread.counts) - len(told)
        more = f", and {rest} other endings" if rest else ""
        return [f"{self.unread.counts.total():,} members that nothing asked for: {', '.join(told)}{more}"]

    def _way(self, ending: str) -> str:
        last = ending.rpartition(".")[2]
        if ending.startswith("("):
            return ""
        if last in ENDINGS:
            return f" (data.picture_endings=[{ending}] reads such)"
        if last == "json":
            return f" (data.json_ending={ending} reads such)"
        if "caption" not in self.columns.columns and ending == self.reader.caption_ending:
            return " (data.caption_column=caption reads such)"
        return f" (data.caption_ending={ending} reads such)" if _is_text(self.unread.seen[f".{ending}"]) else ""

    def _sample(self, picture_id: str, sample: Sample, split: str, where: str) -> None:
        pictures = [part for ending, part in sample.items() if ending in self.reader.picture_endings]
        if len(pictures) != 1:
            self.gathering.skip(where, f"{len(pictures)} pictures in the sample", picture_id)
            return
        texts = self._texts(sample, where)
        fault = text_fault(texts)
        if fault:
            self.gathering.skip(where, fault, picture_id)
        elif self.gathering.picture(picture_id, pictures[0], where):
            self.gathering.member(picture_id, split, where)
            self.odd["pictures without a text"] += not texts
            for fields in texts:
                self.gathering.text(picture_id, fields, where)

    def _texts(self, sample: Sample, where: str) -> list[Fields]:
        records = self._records(sample, where)
        caption = self.columns.columns.get("caption")
        if caption is not None and self.reader.caption_ending in sample:
            lines = self._lines(sample[self.reader.caption_ending], f"{where}.{self.reader.caption_ending}")
            if lines:
                records = [{**self._other_fields(records, where), caption: lines}]
        found: list[Fields] = []
        for record in records:
            if any(column in record or column.split(".")[0] in record for column in self.columns.columns.values()):
                taken = self.columns.take(record)
                self.gathering.took(taken, where)
                found += taken.texts
            elif self.columns.columns:
                self.keys.update(list(record))
                self.without += 1
        return found

    def _other_fields(self, records: list[dict[str, Any]], where: str) -> dict[str, Any]:
        """What the `.json` beside a `.txt` says besides the caption: of several records nobody can tell which is meant."""
        if len(records) > 1 and len(self.columns.columns) > 1:
            told = (
                f"a list of {len(records)} records beside a .{self.reader.caption_ending}: which goes with a caption?"
            )
            self.gathering.skip(f"{where}.{self.reader.json_ending}", told)
        return records[0] if len(records) == 1 else {}

    def _records(self, sample: Sample, where: str) -> list[dict[str, Any]]:
        """What the `.json` of a sample holds, as records."""
        ending = self.reader.json_ending
        if ending not in sample:
            return []
        try:
            value = json_value(self._text(sample[ending], f"{where}.{ending}"))
            if isinstance(value, Doubled):
                raise ValueError(f"the key {value.twice!r} stands twice")
            if isinstance(value, dict):
                return [value]
            items = value if isinstance(value, list) else [value]
            if items and all(isinstance(item, dict) and not isinstance(item, Doubled) for item in items):
                return items
            if items and all(isinstance(item, str) for item in items):
                return [{self.columns.columns.get("caption", "caption"): items}]
            raise ValueError("not a JSON object, a text, or a list of objects or of texts")
        except ConfigError:
            raise
        except ValueError as error:
            self.gathering.skip(f"{where}.{ending}", str(error))
            return []

    def _lines(self, part: FilePart, where: str) -> list[str]:
        try:
            lines = [line for line in lines_of(self._text(part, where)) if line.strip()]
        except DataError as error:
            self.gathering.skip(where, str(error))
            return []
        if not lines:
            self.gathering.skip(where, "no caption in it")
        return lines

    def _text(self, part: FilePart, where: str) -> str:
        """The text of a member; what is in UTF-16 or of a few Western letters is counted. Raises `DataError` for the rest."""
        name = Path(where)
        try:
            text, note = decode_text(name, part.read(), self.reader.encoding)
        except DataError as error:
            raise DataError(str(error).removeprefix(f"{name.name}: ")) from None
        self.odd["texts in UTF-16"] += "UTF-16" in note
        self.odd["texts that are not UTF-8, read as Windows-1252"] += "Latin-1" in note
        return text


def _is_text(part: FilePart) -> bool:
    """Whether a member looks like words."""
    try:
        text = FilePart(part.path, part.offset, min(part.size, 2048)).read().decode("utf-8", "ignore")
    except DataError:
        return False
    return bool(text.strip()) and all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def expand_braces(pattern: str) -> list[str]:
    """`a-{08..10}.tar` to `a-08.tar`, `a-09.tar`, `a-10.tar`; `{x,y}` to both; several ranges multiply. Raises `ConfigError`."""
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not found:
        return [pattern]
    first, last, listed = found.groups()
    if listed is not None:
        middle = listed.split(",")
    else:
        if not 0 <= int(last) - int(first) < MOST_SHARDS:
            raise ConfigError(f"data.shards={pattern}: a range goes up, over at most {MOST_SHARDS:,} shards")
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        middle = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [whole for part in middle for whole in expand_braces(head + part + tail)]
