"""CSV and JSON files, and frames in memory, with columns of any name, beside a folder of pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk.collection import Collection, Fields
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.parts import config_part
from picdesk.readers.arrow_rows import rows_of_frame
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering, split_name
from picdesk.readers.records import read_records
from picdesk.readers.text_columns import TextColumns, name_under, text_fault
from picdesk.text.as_text import fault_of, names_under
from picdesk.text.table import delimiter_named, need_columns, read_table


@dataclass
class RowsOfTexts:
    """Files with a row a text, or a picture, and columns of any name.

    `picture_column` holds the picture's path below `folder`, which lies in `root`; a name without an ending, or in letters
    of another case, is looked for with the usual endings (by case where no other row means the file). `file` is one file, or a
    split for each of several: `{train: train.jsonl, val: val.jsonl, test: test.jsonl}`. The picture's id is that name, of several
    for one file the first, unless `picture_id_column` is given; a text's id is `<picture id>#<number>` unless `text_id_column`
    is. Rows may repeat a picture.

    A list of strings in `caption_column`, also one written in a cell, makes one text an item. A name with dots leads into
    records: `caption_column=sentences.raw` takes the text `raw` of each record under `sentences`. What is no text (records,
    numbers, booleans, null in a list, bytes) is never made into text: its row is left out and listed with its key.
    `encoding` names the file's encoding where it is not UTF-8 and has no byte order mark.
    """

    root: str
    file: str | Mapping[str, str]
    name: str = "rows"
    folder: str = "."
    picture_column: str = "image"
    picture_id_column: str | None = None
    text_id_column: str | None = None
    caption_column: str | None = "caption"
    title_column: str | None = None
    tags_column: str | None = None
    more_columns: Mapping[str, str] | None = None
    tag_separators: str = ";|"
    split_column: str | None = None
    max_bad_fraction: float = 0.01
    encoding: str | None = None

    def __post_init__(self) -> None:
        self.files = {"": self.file} if isinstance(self.file, str) else dict(self.file)
        of_texts = (self.caption_column, self.title_column, self.tags_column)
        self.columns = TextColumns(*of_texts, self.more_columns, self.tag_separators)

    def read(self) -> Collection:
        """The rows whose picture is there, in the order of the files."""
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        rows = list(self._rows(gathering))
        inside.claim(names_under(self.picture_column, (cells for _, _, cells in rows)))
        for split, where, cells in rows:
            self._row(gathering, inside, cells, split, where)
        gathering.notes += inside.notes()
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _keys(self) -> dict[str, str | None]:
        ids = {"picture_id_column": self.picture_id_column, "text_id_column": self.text_id_column}
        return {"picture_column": self.picture_column, **ids, "split_column": self.split_column, **self.columns.keys()}

    def _rows(self, gathering: Gathering[Path]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """The split of each row, where it stands, and its cells."""
        for split, file in self.files.items():
            path = data_file(self.root, file, self.name)
            for place, cells in self._records(path, gathering):
                yield split, f"{file} {place}", cells

    def _records(self, path: Path, gathering: Gathering[Path]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Each row of a file with its place in it. Raises `DataError` where a column is named that is not there."""
        raise NotImplementedError

    def _row(
        self, gathering: Gathering[Path], inside: Inside, cells: Mapping[str, Any], split: str, where: str
    ) -> None:
        picture_id = ""
        try:
            file = name_under(cells, "picture_column", self.picture_column)
            own = self.picture_id_column in (None, self.picture_column)
            picture_id = file if own else name_under(cells, "picture_id_column", str(self.picture_id_column))
            path = inside.picture(file, SUFFIXES)
            picture_id = inside.first_name(file, path) if own else picture_id
            given = name_under(cells, "text_id_column", self.text_id_column) if self.text_id_column else None
            if not picture_id or given == "":
                raise RefusedError("no picture id" if not picture_id else "no text id")
            in_split = name_under(cells, "split_column", self.split_column) if self.split_column else split
        except RefusedError as refused:
            gathering.skip(where, str(refused), picture_id)
            return
        taken = self.columns.take(cells)
        fault = fault_of(f"{picture_id}{given}") or text_fault(taken.texts)
        if fault:
            gathering.skip(where, fault, picture_id)
        elif gathering.took(taken, where, picture_id):
            self._texts(gathering, (picture_id, path), taken.texts, given, split_name(in_split, where), where)

    def _texts(
        self,
        gathering: Gathering[Path],
        picture: tuple[str, Path],
        texts: list[Fields],
        given: str | None,
        split: str,
        where: str,
    ) -> None:
        ids = [given if given is None or len(texts) == 1 else f"{given}#{number}" for number in range(len(texts))]
        if not all(gathering.is_new_text(text_id, where) for text_id in ids) or not gathering.picture(*picture, where):
            return
        gathering.member(picture[0], split, where)
        for text_id, fields in zip(ids, texts, strict=True):
            gathering.text(picture[0], fields, where, text_id)


@config_part
@dataclass
class Jsonl(RowsOfTexts):
    """A JSON object a line, a list of objects, or one object with such a list under the key `records`; `.gz` too."""

    name: str = "jsonl"
    records: str | None = None

    def _records(self, path: Path, gathering: Gathering[Path]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        caption = self.columns.columns.get("caption")
        records = read_records(path, gathering, self.records, self.encoding, self.picture_column, caption)
        if records:
            header = dict.fromkeys(key for _, record in records for key in record)
            need_columns(self._keys(), tuple(header), path.name, deep=True, cut=False)
        return records


@config_part
@dataclass
class Csv(RowsOfTexts):
    """A CSV or TSV file with a header line (`.gz` too).

    `delimiter` is a character or its name (`tab`, `comma`, `semicolon`, `pipe`); `auto` takes the one that gives the named
    columns. `quoting` is `csv` (RFC 4180), `none` (a quote is a character like any other), or `auto`: `csv`, but where a
    quote is none (behind it stands more text, it never closes, it would swallow rows) the row, or the file if no cell
    needs quotes, is read without, and a note says so.
    """

    name: str = "csv"
    delimiter: str = "auto"
    quoting: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.delimiter = delimiter_named(self.delimiter)

    def _records(self, path: Path, gathering: Gathering[Path]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        columns = [column for column in self._keys().values() if column is not None]

        def suits(header: Sequence[str]) -> bool:
            return all(column in header or column.split(".")[0] in header for column in columns)

        table = read_table(path, self.delimiter, self.quoting, self.encoding, suits)
        gathering.note_table(table, path.name)
        need_columns(self._keys(), table.header, path.name, deep=True, hint=table.hint)
        return [(f"line {line}", row) for line, row in table.rows]


@dataclass
class Frame(RowsOfTexts):
    """The rows of a pandas frame, whose pictures lie below `root`. Where a row stands is its position, from 0."""

    file: str | Mapping[str, str] = field(default="", init=False)
    name: str = "frame"
    frame: Any = None

    def _rows(self, gathering: Gathering[Path]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for row, cells in enumerate(rows_of_frame(self.frame, self._keys())):
            yield "", f"frame row {row}", cells
