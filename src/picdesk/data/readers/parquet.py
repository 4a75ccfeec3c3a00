"""Parquet tables that carry the picture bytes themselves; the embedded demo set is one."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import data_folder
from picdesk.data.readers.columns import TextColumns
from picdesk.data.readers.gathering import Gathering, split_name
from picdesk.data.readers.text import need_columns
from picdesk.data.sources import PictureChunks, PictureColumn
from picdesk.errors import DataError, MissingFileError
from picdesk.parts import config_part


@config_part
class Parquet:
    """Rows of a picture (binary, or a struct with `bytes`, as the datasets library writes it) and its text fields.

    Rows that repeat a picture's id and bytes add a text to that picture. A list in `caption_column` makes one text an item.
    `file` may be a pattern (`train-*.parquet`); the files are then read in the order of their names. It may
    also give a pattern for each split: `{train: train-*.parquet, test: test-*.parquet}`.
    """

    def __init__(
        self,
        root: str,
        file: str | Mapping[str, str],
        name: str = "parquet",
        picture_column: str = "picture",
        picture_id_column: str = "picture_id",
        caption_column: str | None = None,
        title_column: str | None = None,
        tags_column: str | None = None,
        more_columns: Mapping[str, str] | None = None,
        split_column: str | None = None,
        tag_separators: str = ";|",
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.root = root
        self.files = {"": file} if isinstance(file, str) else dict(file)
        self.name = name
        self.picture_column = picture_column
        self.picture_id_column = picture_id_column
        self.columns = TextColumns(caption_column, title_column, tags_column, more_columns, tag_separators)
        self.split_column = split_column
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The rows that hold a picture, in the order of the files."""
        pictures = PictureChunks([], [0])
        gathering = Gathering[int](self.name)
        for split, path in self._paths():
            table = self._table(path)
            first = pictures.add(_binary(table.column(self.picture_column), self.picture_column))
            for number, cells in enumerate(_rows(table.drop_columns([self.picture_column]))):
                in_split = str(cells[self.split_column] or "") if self.split_column else split
                self._row(gathering, pictures, first + number, cells, in_split, f"{path.name} row {number}")
        return gathering.collection(lambda places: PictureColumn(pictures, tuple(places)))

    def _paths(self) -> Iterator[tuple[str, Path]]:
        root = data_folder(self.root, self.name)
        for split, pattern in self.files.items():
            paths = sorted(path for path in root.glob(pattern) if path.is_file())
            if not paths:
                raise MissingFileError(f"data={self.name}: no file {pattern!r} in data.root={self.root}")
            yield from ((split, path) for path in paths)

    def _table(self, path: Path) -> Any:
        import pyarrow
        import pyarrow.parquet

        wanted = {"picture_column": self.picture_column, "picture_id_column": self.picture_id_column}
        keys: dict[str, str | None] = {**wanted, "split_column": self.split_column, **self.columns.keys()}
        columns = list(dict.fromkeys(column for column in keys.values() if column is not None))
        try:
            need_columns(keys, tuple(pyarrow.parquet.read_schema(path).names), path.name)
            return pyarrow.parquet.read_table(path, columns=columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path.name}: not a readable parquet file ({str(error).splitlines()[0]})") from None

    def _row(
        self,
        gathering: Gathering[int],
        pictures: PictureChunks,
        row: int,
        cells: dict[str, Any],
        split: str,
        where: str,
    ) -> None:
        picture_id = str(cells[self.picture_id_column]).strip() if cells[self.picture_id_column] is not None else ""
        data = pictures.read(row)
        if not picture_id or not data:
            gathering.skip(where, "no picture id" if not picture_id else f"no picture bytes for {picture_id!r}")
            return
        known = gathering.places.get(picture_id, row)
        place = known if known != row and pictures.read(known) == data else row
        if not gathering.picture(picture_id, place, where):
            return
        gathering.member(picture_id, split_name(split, where), where)
        for fields in self.columns.texts(cells):
            gathering.text(picture_id, fields, where)


def _rows(table: Any) -> Iterable[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _binary(column: Any, name: str) -> list[Any]:
    """Chunks of bytes of a column that holds them, or a struct with a field `bytes`. Raises `DataError` for another type."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pyarrow.compute.struct_field(column, "bytes")
    if not (pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)):
        raise DataError(f"data.picture_column={name} holds {column.type}; wanted binary, the bytes of the pictures")
    return list(column.chunks)
