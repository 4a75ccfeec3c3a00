"""CSV and JSONL files with columns of any name, beside a folder of pictures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.readers.columns import TextColumns, holds_nul
from picdesk.data.readers.gathering import Gathering, split_name
from picdesk.data.readers.text import need_columns, read_table, read_text
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError
from picdesk.parts import config_part


@config_part
class Jsonl:
    """A JSON object a line. `picture_column` holds the picture's path below `folder`, which lies in `root`.

    `file` is one file, or a split for each of several: `{train: train.jsonl, val: val.jsonl, test: test.jsonl}`.
    The picture's id is its path unless `picture_id_column` is given; a text's id is `<picture id>#<number>` unless
    `text_id_column` is. A list in `caption_column` makes one text an item; rows may repeat a picture.
    """

    def __init__(
        self,
        root: str,
        file: str | Mapping[str, str],
        name: str = "jsonl",
        folder: str = ".",
        picture_column: str = "image",
        picture_id_column: str | None = None,
        text_id_column: str | None = None,
        caption_column: str | None = "caption",
        title_column: str | None = None,
        tags_column: str | None = None,
        more_columns: Mapping[str, str] | None = None,
        tag_separators: str = ";|",
        split_column: str | None = None,
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.root = root
        self.files = {"": file} if isinstance(file, str) else dict(file)
        self.name = name
        self.folder = folder
        self.columns = TextColumns(caption_column, title_column, tags_column, more_columns, tag_separators)
        self.picture_column = picture_column
        self.picture_id_column = picture_id_column
        self.text_id_column = text_id_column
        self.split_column = split_column
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The rows whose picture is there, in the order of the files."""
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        for split, file in self.files.items():
            path = data_file(self.root, file, self.name)
            for line, cells in self._records(path, gathering):
                in_split = str(cells.get(self.split_column) or "") if self.split_column else split
                self._row(gathering, inside, cells, in_split, f"{file} line {line}")
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _keys(self) -> dict[str, str | None]:
        ids = {"picture_id_column": self.picture_id_column, "text_id_column": self.text_id_column}
        return {"picture_column": self.picture_column, **ids, "split_column": self.split_column, **self.columns.keys()}

    def _records(self, path: Path, gathering: Gathering[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        text, note = read_text(path)
        gathering.notes += [note] if note else []
        records = []
        for line, content in enumerate(text.split("\n"), start=1):
            record = _object(content) if content.strip() else None
            if record is not None:
                records.append((line, record))
            elif content.strip():
                gathering.skip(f"{path.name} line {line}", "not a JSON object")
        if records:
            need_columns(self._keys(), tuple(dict.fromkeys(key for _, record in records for key in record)), path.name)
        return iter(records)

    def _row(self, gathering: Gathering[Path], inside: Inside, cells: dict[str, Any], split: str, where: str) -> None:
        file = _cell(cells, self.picture_column)
        picture_id = _cell(cells, self.picture_id_column) if self.picture_id_column else file
        texts = self.columns.texts(cells)
        given = _cell(cells, self.text_id_column) if self.text_id_column else None
        try:
            path = inside.path(file)
        except RefusedError as refused:
            gathering.skip(where, str(refused))
            return
        if not picture_id or given == "" or "\0" in f"{picture_id}{given}" or holds_nul(texts):
            reason = (
                "no picture id" if not picture_id else "no text id" if given == "" else "a NUL character in the text"
            )
            gathering.skip(where, reason)
            return
        ids = [given if given is None or len(texts) == 1 else f"{given}#{number}" for number in range(len(texts))]
        if not all(gathering.fresh(text_id, where) for text_id in ids):
            return
        if not gathering.picture(picture_id, path, where):
            return
        gathering.member(picture_id, split_name(split, where), where)
        for text_id, fields in zip(ids, texts, strict=True):
            gathering.text(picture_id, fields, where, text_id)


@config_part
class Csv(Jsonl):
    """A CSV file with a header line; otherwise as `Jsonl`."""

    def __init__(
        self,
        root: str,
        file: str | Mapping[str, str],
        name: str = "csv",
        folder: str = ".",
        delimiter: str = ",",
        picture_column: str = "image",
        picture_id_column: str | None = None,
        text_id_column: str | None = None,
        caption_column: str | None = "caption",
        title_column: str | None = None,
        tags_column: str | None = None,
        more_columns: Mapping[str, str] | None = None,
        tag_separators: str = ";|",
        split_column: str | None = None,
        max_bad_fraction: float = 0.01,
    ) -> None:
        super().__init__(
            root=root,
            file=file,
            name=name,
            folder=folder,
            picture_column=picture_column,
            picture_id_column=picture_id_column,
            text_id_column=text_id_column,
            caption_column=caption_column,
            title_column=title_column,
            tags_column=tags_column,
            more_columns=more_columns,
            tag_separators=tag_separators,
            split_column=split_column,
            max_bad_fraction=max_bad_fraction,
        )
        if len(delimiter) != 1:
            raise ConfigError(f"data.delimiter={delimiter!r}: one character is needed, such as ',' or ';' or a tab")
        self.delimiter = delimiter

    def _records(self, path: Path, gathering: Gathering[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        table = read_table(path, self.delimiter)
        gathering.notes += [table.note] if table.note else []
        need_columns(self._keys(), table.header, path.name)
        for line, width in table.ragged:
            gathering.skip(f"{path.name} line {line}", f"{width} cells for {len(table.header)} columns")
        return iter(table.rows)


def _object(content: str) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _cell(cells: Mapping[str, Any], column: str) -> str:
    value = cells.get(column)
    return "" if value is None else str(value).strip()
