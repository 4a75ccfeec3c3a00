"""WebDataset tar shards: indexed once, then read by offset; nothing is unpacked, and names in a shard are never paths."""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picdesk.collection import Collection, Fields
from picdesk.data.places import data_folder
from picdesk.data.readers.columns import TextColumns, holds_nul
from picdesk.data.readers.gathering import Gathering, split_name
from picdesk.data.readers.text import lines_of
from picdesk.data.sources import FilePart, PictureParts
from picdesk.errors import MissingFileError
from picdesk.parts import config_part

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")


@dataclass(frozen=True)
class Member:
    """One file in a shard: which sample it belongs to, the ending of its name, and where its bytes are."""

    key: str
    ending: str
    part: FilePart


@config_part
class WebDataset:
    """Samples of the shards: a picture, a `.txt` with one caption a line, or a `.json` with the named keys.

    `shards` may hold brace ranges (`train-{000..012}.tar`) and patterns (`*.tar`), and may give them for each split:
    `{train: ..., test: ...}`. A picture's id is `<shard>/<key>`, with the shard's path below `root` without its ending, since
    keys are unique only within a shard, and names of shards only within a folder. Where a sample has both a `.txt` and a
    `.json` with a caption, the `.txt` counts.
    """

    def __init__(
        self,
        root: str,
        shards: str | Mapping[str, str] = "*.tar",
        name: str = "webdataset",
        picture_endings: tuple[str, ...] | list[str] = PICTURES,
        caption_ending: str = "txt",
        json_ending: str = "json",
        caption_column: str | None = "caption",
        title_column: str | None = None,
        tags_column: str | None = None,
        more_columns: Mapping[str, str] | None = None,
        tag_separators: str = ";|",
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.root = root
        self.shards = {"": shards} if isinstance(shards, str) else dict(shards)
        self.name = name
        self.picture_endings = tuple(picture_endings)
        self.caption_ending = caption_ending
        self.json_ending = json_ending
        self.columns = TextColumns(caption_column, title_column, tags_column, more_columns, tag_separators)
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The samples that hold a picture, in the order of the shards."""
        gathering = Gathering[FilePart](self.name)
        root = data_folder(self.root, self.name)
        for path, split in self._paths(root).items():
            shard = path.relative_to(root)
            samples: dict[str, dict[str, FilePart]] = {}
            for member in _members(path, shard.as_posix(), gathering):
                sample = samples.setdefault(member.key, {})
                if sample.setdefault(member.ending, member.part) != member.part:
                    gathering.skip(
                        f"{shard.as_posix()}: {member.key}.{member.ending}",
                        "stands twice in the shard; the first was kept",
                    )
            for key, sample in samples.items():
                name = f"{shard.with_suffix('').as_posix()}/{key}"
                self._sample(gathering, name, sample, split, f"{shard.as_posix()}: {key}")
        return gathering.collection(lambda places: PictureParts(tuple(places)))

    def _paths(self, root: Path) -> dict[Path, str]:
        """Each shard and its split."""
        paths: dict[Path, str] = {}
        for split, pattern in [(split, part) for split, text in self.shards.items() for part in expand_braces(text)]:
            found = sorted(path for path in root.glob(pattern) if path.is_file())
            if not found:
                raise MissingFileError(f"data={self.name}: no shard {pattern!r} in data.root={self.root} (data.shards)")
            paths |= dict.fromkeys(found, split_name(split, "data.shards"))
        return paths

    def _sample(
        self, gathering: Gathering[FilePart], picture_id: str, sample: Mapping[str, FilePart], split: str, where: str
    ) -> None:
        pictures = [part for ending, part in sample.items() if ending.lower() in self.picture_endings]
        if len(pictures) != 1:
            gathering.skip(where, f"{len(pictures)} pictures in the sample")
            return
        texts = self._texts(gathering, sample, where)
        if holds_nul(texts):
            gathering.skip(where, "a NUL character in the text")
        elif gathering.picture(picture_id, pictures[0], where):
            gathering.member(picture_id, split, where)
            for fields in texts:
                gathering.text(picture_id, fields, where)

    def _texts(self, gathering: Gathering[FilePart], sample: Mapping[str, FilePart], where: str) -> list[Fields]:
        record: dict[str, Any] = {}
        if self.json_ending in sample:
            value = _json(_text(sample[self.json_ending]))
            if isinstance(value, dict):
                record = value
            else:
                gathering.skip(f"{where}.{self.json_ending}", "not a JSON object")
        caption = self.columns.columns.get("caption")
        if caption is not None and self.caption_ending in sample:
            record[caption] = [line for line in lines_of(_text(sample[self.caption_ending])) if line.strip()]
        known = any(column in record for column in self.columns.columns.values())
        return self.columns.texts(record) if known else []


def expand_braces(pattern: str) -> list[str]:
    """`a-{08..10}.tar` to `a-08.tar`, `a-09.tar`, `a-10.tar`; `{x,y}` to both; several ranges multiply."""
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not found:
        return [pattern]
    first, last, listed = found.groups()
    if listed is not None:
        middle = listed.split(",")
    else:
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        middle = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [whole for part in middle for whole in expand_braces(head + part + tail)]


def _members(path: Path, shown: str, gathering: Gathering[FilePart]) -> Iterator[Member]:
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as shard:
            for info in shard:
                folder, _, base = info.name.rpartition("/")
                stem, dot, ending = base.partition(".")
                if not info.isreg() or info.issparse() or not dot or not stem:
                    continue
                if info.offset_data + info.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                key = f"{folder}/{stem}" if folder else stem
                yield Member(key, ending, FilePart(path, info.offset_data, info.size))
    except tarfile.TarError as error:
        gathering.skip(shown, f"the shard is broken, or compressed; read as far as it goes ({error})")


def _text(part: FilePart) -> str:
    data = part.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
