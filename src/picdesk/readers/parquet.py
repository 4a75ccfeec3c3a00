"""Parquet tables that carry the picture bytes themselves, or their paths; the embedded demo set is one."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_folder, files_of_splits
from picdesk.data.sources import PictureChunks, PictureColumn, PictureFiles, PictureMix
from picdesk.data.unmatched import Unmatched, unmatched_files
from picdesk.errors import short_repr
from picdesk.interfaces import PictureBytes
from picdesk.parts import config_part
from picdesk.readers.arrow_rows import picture_column, read_parquet, rows_of
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering, split_name
from picdesk.readers.text_columns import TextColumns, name_under, text_fault

ENDINGS = ("parquet", "parq", "pq")
Place = int | Path


@config_part
@dataclass
class Parquet:
    """Rows of a picture and its text fields.

    A picture is bytes, a struct with `bytes` or `path` (as the datasets library writes it), or a path below `folder`. Rows that
    repeat a picture's id and bytes add a text to that picture. Without an id column a picture's id is its path, else
    `<file>/<row>` of the first row with the same bytes. A list in `caption_column` makes one text an item, and a name with dots
    leads into records (`sentences.raw`). `file` may be a pattern (`train-*.parquet`); the files are then read in the order of
    their names. It may also give a pattern for each split: `{train: train-*.parquet, test: test-*.parquet}`.
    """

    root: str
    file: str | Mapping[str, str]
    name: str = "parquet"
    picture_column: str = "picture"
    picture_id_column: str | None = "picture_id"
    caption_column: str | None = None
    title_column: str | None = None
    tags_column: str | None = None
    more_columns: Mapping[str, str] | None = None
    split_column: str | None = None
    tag_separators: str = ";|"
    max_bad_fraction: float = 0.01
    folder: str = "."

    def __post_init__(self) -> None:
        self.files = {"": self.file} if isinstance(self.file, str) else dict(self.file)
        of_texts = (self.caption_column, self.title_column, self.tags_column)
        self.columns = TextColumns(*of_texts, self.more_columns, self.tag_separators)

    def read(self) -> Collection:
        """The rows that hold a picture, in the order of the files."""
        rows = _Rows(self)
        for split, shown, table, data, names in [rows.looked_at(*each) for each in self._tables()]:
            rows.add(table, split, shown, data, names)
        rows.gathering.note_unmatched(self._unmatched())
        return rows.collection()

    def keys(self) -> dict[str, str | None]:
        """Config key and column of everything that is read."""
        wanted = {"picture_column": self.picture_column, "picture_id_column": self.picture_id_column}
        return {**wanted, "split_column": self.split_column, **self.columns.keys()}

    def _tables(self) -> Iterator[tuple[str, str, Any]]:
        """Split, name and content of each file."""
        root = data_folder(self.root, self.name)
        for path, split in self._paths(root).items():
            yield split, path.relative_to(root).as_posix(), read_parquet(path, self.keys())

    def _paths(self, root: Path) -> dict[Path, str]:
        return files_of_splits(root, self.files, "data.file", self.name)

    def _unmatched(self) -> Unmatched:
        """What lies in the folder and was not read."""
        root = data_folder(self.root, self.name)
        return unmatched_files(root, self.files.values(), self._paths(root), ENDINGS, "data.file")


class _Rows:
    """Turns rows of tables into pictures and texts."""

    def __init__(self, reader: Parquet) -> None:
        self.reader = reader
        self.gathering = Gathering[Place](reader.name)
        self.chunks = PictureChunks([], [0])
        self.inside = Inside(data_folder(str(Path(reader.root) / reader.folder), reader.name))
        self._same: dict[bytes, str] = {}
        self._repeats = 0

    def looked_at(self, split: str, shown: str, table: Any) -> tuple[str, str, Any, Any, list[str | None]]:
        """A table with its pictures' bytes (None: it has none) and the names of their files, for `add`."""
        data, paths = picture_column(table, self.reader.picture_column, shown)
        names = paths.to_pylist() if paths is not None else []
        self.inside.claim(name for name in names if name is not None)
        return split, shown, self._without_bytes(table), data, names

    def add(self, table: Any, split: str, shown: str, data: Any, names: list[str | None]) -> None:
        """The rows of one table, once all have been looked at."""
        first = self.chunks.add(data.chunks) if data is not None else None
        for row, cells in rows_of(table):
            where = f"{shown} row {row}"
            if isinstance(cells, str):
                self.gathering.skip(where, cells)
                continue
            given = None
            try:
                given = self._given_id(cells)
                place, content = self._place(
                    first + row if first is not None else None, names[row] if names else None, given
                )
                otherwise = f"{Path(shown).with_suffix('').as_posix()}/{row}"
                picture_id = self._id(place, content, otherwise) if given is None else given
                column = self.reader.split_column
                in_split = name_under(cells, "split_column", column) if column else split
            except RefusedError as refused:
                self.gathering.skip(where, str(refused), given or (names[row] if names else "") or "")
                continue
            self._row(picture_id, place, content, cells, split_name(in_split, where), where)

    def collection(self) -> Collection:
        """Everything that was added."""
        if self._repeats:
            self.gathering.notes.append(
                f"{self._repeats} rows hold the picture of an earlier row, byte by byte; their texts were added to it"
            )
        self.gathering.notes += self.inside.notes()
        return self.gathering.collection(self._source)

    def _without_bytes(self, table: Any) -> Any:
        """The table without its pictures, unless a name leads into the column that they are in."""
        names = tuple(table.column_names)
        own = self.reader.picture_column
        used = [column for key, column in self.reader.keys().items() if key != "picture_column" and column is not None]
        return table if own not in names or any(c.split(".")[0] == own for c in used) else table.drop_columns([own])

    def _given_id(self, cells: dict[str, Any]) -> str | None:
        """The id in the row; None where no column has them. Raises `RefusedError`."""
        column = self.reader.picture_id_column
        picture_id = name_under(cells, "picture_id_column", column) if column is not None else None
        if picture_id == "":
            raise RefusedError("no picture id")
        return picture_id

    def _place(self, row: int | None, path: str | None, given: str | None) -> tuple[Place, bytes]:
        """Where the picture is, and its bytes where they are in the table. Raises `RefusedError`."""
        content = self.chunks.read(row) if row is not None else b""
        if row is not None and (content or path is None):
            if not content:
                raise RefusedError("no picture bytes" + (f" for {short_repr(given)}" if given is not None else ""))
            return row, content
        if path is None:
            raise RefusedError("no picture is named")
        file = self.inside.picture(path, SUFFIXES)
        if given is None:
            self.inside.first_name(path, file)  # its id is its own path, whatever the name: the note alone is wanted
        return file, b""

    def _id(self, place: Place, content: bytes, otherwise: str) -> str:
        """A picture's id where no column has one: its path, or that of the first row with the same bytes."""
        if isinstance(place, Path):
            return place.relative_to(self.inside.root).as_posix()
        known = self._same.setdefault(hashlib.sha256(content).digest(), otherwise)
        self._repeats += known != otherwise
        return known

    def _row(
        self, picture_id: str, place: Place, content: bytes, cells: dict[str, Any], split: str, where: str
    ) -> None:
        taken = self.reader.columns.take(cells)
        fault = text_fault(taken.texts)
        if fault:
            self.gathering.skip(where, fault, picture_id)
            return
        known = self.gathering.places.get(picture_id)
        if known is not None and known != place and isinstance(known, int) and self.chunks.read(known) == content:
            place = known
        if not self.gathering.took(taken, where, picture_id) or not self.gathering.picture(picture_id, place, where):
            return
        self.gathering.member(picture_id, split, where)
        for fields in taken.texts:
            self.gathering.text(picture_id, fields, where)

    def _source(self, places: Iterable[Place]) -> PictureBytes:
        kept = tuple(places)
        rows = tuple(place for place in kept if isinstance(place, int))
        paths = tuple(place for place in kept if not isinstance(place, int))
        if not paths:
            return PictureColumn(self.chunks, rows)
        return PictureFiles(paths) if not rows else PictureMix(self.chunks, kept)
