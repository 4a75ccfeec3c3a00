"""The data set: a collection with its parts, and the prompt that makes its texts."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picdesk.collection import Collection
from picdesk.data.checks import Splits
from picdesk.data.prompts import Auto
from picdesk.data.sources import has_pictures
from picdesk.data.splits import PARTS
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.readers.folder import Folder
from picdesk.readers.tables import Csv, Frame, RowsOfTexts
from picdesk.text.given import path_from

if TYPE_CHECKING:
    import pandas as pd

NOT_KEYS = ("root", "file", "frame")  # given by the file, or the frame and its folder
QUERY_FIELDS = ("title", "caption", "tags")  # what a text that is asked from outside has


@dataclass(frozen=True)
class Dataset:
    """The data set with its parts, and the prompt that makes its texts; `key` stands for all that they were made from, and
    `split_notes` are what the split has to say of itself."""

    collection: Collection
    splits: Splits
    prompt: Any
    key: str = ""
    split_notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, collection: Collection, prompt: Any = None) -> Dataset:
        """A data set of one part, `test`, with the prompt that suits its texts."""
        everything = np.arange(len(collection.picture_ids), dtype=np.int64)
        none = np.empty(0, np.int64)
        names = collection.field_names()
        chosen = (prompt or Auto()).choose(names) if names else None
        key = digest_of([collection.name, list(collection.picture_ids), list(collection.text_ids)])
        return cls(collection, {"train": none, "val": none, "test": everything}, chosen, key)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Dataset:
        """Every picture below a folder; captions are in a .txt file of the same name, where there is one."""
        return cls.of(Folder(root=str(folder)).read())

    @classmethod
    def from_csv(cls, file: str | Path, **columns: Any) -> Dataset:
        """A CSV or TSV file beside its pictures; `columns` are keys of `conf/data/csv.yaml` (`picture_column="file"`, ...)."""
        path = path_from("file", file)
        check_keys("from_csv", Csv, columns)
        return cls.of(Csv(root=str(path.parent), file=path.name, **columns).read())

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, folder: str | Path, **columns: Any) -> Dataset:
        """The rows of a frame, whose pictures lie below `folder`; `columns` as for a CSV file. Errors count its rows from 0."""
        check_keys("from_pandas", Frame, columns)
        return cls.of(Frame(root=str(path_from("folder", folder).resolve()), frame=frame, **columns).read())

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())
        pictures, texts = len(self.collection.picture_ids), len(self.collection.text_ids)
        return f"<picdesk data set {self.collection.name}: {pictures:,} pictures, {texts:,} texts; {parts}>"

    def part(self, name: str) -> Collection:
        """One part of the data set. Raises `ConfigError` for an unknown or empty one."""
        if name not in PARTS:
            raise ConfigError(f"part={name}: choose one of {', '.join(PARTS)}")
        if name == "all":
            return self.collection
        rows = self.splits[name]
        if not len(rows):
            filled = [part for part in PARTS[:3] if len(self.splits[part])]
            raise ConfigError(
                f"part={name} of data={self.collection.name} is empty; this split fills {', '.join(filled)}"
            )
        return self.collection.take(rows)

    def prompts(self, part: Collection) -> list[str]:
        """The text of each text record, as it is encoded."""
        return [self.prompt.render(fields) for fields in part.texts]

    def titles(self, part: Collection) -> list[str]:
        """A short text of each text record for people to read: its title or caption, else what is encoded."""
        return [
            str(fields.get("title") or fields.get("caption") or self.prompt.render(fields)) for fields in part.texts
        ]

    def split_digest(self) -> str:
        """Digest over which pictures each part holds."""
        ids = self.collection.picture_ids
        return digest_of({name: sorted(ids[i] for i in rows) for name, rows in self.splits.items()})

    def part_key(self, part: Collection) -> str:
        """What one part with its texts depends on."""
        return digest_of([self.key, list(part.picture_ids)])

    def fingerprint(self, part: Collection, encoder: Encoder, fields: bool = False) -> dict[str, str]:
        """Digests over the pictures' content, the prompts, which belongs to which, and the ids; with `fields` also over all
        that the data set says of its texts, which rerankers read."""
        there = has_pictures(part)
        keys = [key.hex() for key in encoder.picture_keys(part.pictures)] if there else [""] * len(part.picture_ids)
        vectors = {
            name: hashlib.sha256(np.ascontiguousarray(matrix).data).hexdigest()
            for name, matrix in sorted(part.vectors.items())
        }
        return {
            "pictures": digest_of(sorted(zip(part.picture_ids, keys, strict=True))),
            "texts": digest_of(list(zip(part.text_ids, self.prompts(part), strict=True))),
            "pairs": digest_of([part.picture_ids[i] for i in part.picture_of]),
            **({"vectors": digest_of(vectors)} if vectors else {}),
            **({"judgments": digest_of(plain_judgments(part))} if part.judgments else {}),
            **({"fields": digest_of([plain_fields(own) for own in part.texts])} if fields else {}),
        }


def check_keys(what: str, reader: type[RowsOfTexts], given: Iterable[str]) -> None:
    """Raise `ConfigError` for a key that the reader does not have, or that is not for a caller to give."""
    known = [one.name for one in fields(reader) if one.init and one.name not in NOT_KEYS]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{what}: {key} is no key of it; {meant}")


def plain_judgments(part: Collection) -> list[object]:
    """What is relevant besides the data set's own pairs, as JSON has it."""
    told: list[object] = [part.judged_only]
    for direction, own in sorted(part.judgments.items()):
        grades = None if own.grades is None else own.grades.tolist()
        told.append([direction, own.query_ids, own.item_ids, own.bounds.tolist(), own.items.tolist(), grades])
    return told


def plain_fields(fields: Mapping[str, str | Sequence[str]]) -> dict[str, str | list[str]]:
    """The fields of a text as JSON has them."""
    return {name: value if isinstance(value, str) else list(value) for name, value in fields.items()}
