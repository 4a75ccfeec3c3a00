"""Parquet tables that carry the picture bytes themselves; the embedded demo set is one."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import data_folder
from picdesk.data.readers.columns import TextColumns
from picdesk.data.readers.gathering import Gathering, split_name
from picdesk.data.readers.text import need_columns
from picdesk.data.sources import PictureColumn, cell_bytes
from picdesk.errors import DataError, MissingFileError


class Parquet:
    """Rows of a picture (binary, or a struct with `bytes`, as the datasets library writes it) and its text fields.

    Rows that repeat a picture's id and bytes add a text to that picture. A list in `caption_column` makes one text an item.
    `file` may be a pattern (`train-*.parquet`); the files are then read in the order of their names.
    """

    def __init__(
        self,
        root: str,
        file: str,
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
        self.file = file
        self.name = name
        self.picture_column = picture_column
        self.picture_id_column = picture_id_column
        self.columns = TextColumns(caption_column, title_column, tags_column, more_columns, tag_separators)
        self.split_column = split_column
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The rows that hold a picture, in the order of the file."""
        table = self._table()
        pictures = table.column(self.picture_column)
        if hasattr(pictures.type, "fields") and pictures.type.get_field_index("bytes") >= 0:
            pictures = _inner(pictures, "bytes")
        starts = [0, *accumulate(len(chunk) for chunk in pictures.chunks)]
        gathering = Gathering[int](self.name)
        for row, cells in enumerate(_rows(table.drop_columns([self.picture_column]))):
            self._row(gathering, row, cells, lambda at: cell_bytes(pictures, starts, at))
        return gathering.collection(lambda places: PictureColumn(pictures, tuple(places)))

    def _table(self) -> Any:
        import pyarrow
        import pyarrow.parquet

        root = data_folder(self.root, self.name)
        files = sorted(path for path in root.glob(self.file) if path.is_file())
        if not files:
            raise MissingFileError(f"data={self.name}: no file {self.file!r} in data.root={self.root}")
        wanted = {"picture_column": self.picture_column, "picture_id_column": self.picture_id_column}
        keys: dict[str, str | None] = {**wanted, "split_column": self.split_column, **self.columns.keys()}
        for path in files:
            need_columns(keys, tuple(_schema(path).names), path.name)
        columns = list(dict.fromkeys(column for column in keys.values() if column is not None))
        try:
            return pyarrow.concat_tables([pyarrow.parquet.read_table(path, columns=columns) for path in files])
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"data={self.name}: {self.file}: {str(error).splitlines()[0]}") from None

    def _row(self, gathering: Gathering[int], row: int, cells: dict[str, Any], picture_at: Any) -> None:
        picture_id = str(cells[self.picture_id_column]).strip() if cells[self.picture_id_column] is not None else ""
        where = f"{self.file} row {row}"
        data = picture_at(row)
        if not picture_id or not data:
            gathering.skip(where, "no picture id" if not picture_id else f"no picture bytes for {picture_id!r}")
            return
        known = gathering.places.get(picture_id, row)
        place = known if known != row and picture_at(known) == data else row
        if not gathering.picture(picture_id, place, where):
            return
        if self.split_column:
            gathering.member(picture_id, split_name(str(cells[self.split_column] or ""), where), where)
        for fields in self.columns.texts(cells):
            gathering.text(picture_id, fields, where)


def _rows(table: Any) -> Iterable[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _schema(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: not a parquet file ({str(error).splitlines()[0]})") from None


def _inner(column: Any, name: str) -> Any:
    import pyarrow.compute

    return pyarrow.compute.struct_field(column, name)
