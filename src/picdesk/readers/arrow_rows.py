"""Tables of Arrow (parquet files, datasets saved to disk), with the column that holds the pictures, and frames of pandas, as rows
of plain values."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from picdesk.errors import DataError, examples, first_line
from picdesk.files import POINTER, is_pointer
from picdesk.text.as_text import what
from picdesk.text.table import need_columns

WANTED = "wanted binary (the bytes of the pictures), a struct with bytes or path, or text (paths below data.folder)"
Rows = Iterator[tuple[int, dict[str, Any] | str]]


def read_parquet(path: Path, keys: Mapping[str, str | None]) -> Any:
    """The columns of a parquet file that the config `keys` name. Raises `DataError` for lacking columns and damaged files."""
    import pyarrow
    import pyarrow.parquet

    try:
        header = tuple(pyarrow.parquet.read_schema(path).names)
        need(keys, header, path.name)
        columns = list(dict.fromkeys(top(column, header) for column in keys.values() if column is not None))
        return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True).read(columns)
    except (pyarrow.ArrowException, OSError) as error:
        told = POINTER if is_pointer(path) else f"not a readable parquet file ({first_line(error)})"
        raise DataError(f"{path.name}: {told}") from None


def need(keys: Mapping[str, str | None], header: tuple[str, ...], file: str) -> None:
    """Raise `DataError` for columns that are not there, or there twice; where the ids lack, it says that there may be none."""
    try:
        need_columns(dict(keys), header, file, deep=True, cut=False)
    except DataError as error:
        lacks_ids = "data.picture_id_column=" in str(error)
        hint = "; data.picture_id_column=null makes ids of file and row" if lacks_ids else ""
        raise DataError(f"{error}{hint}") from None
    need_once(keys, header, file)


def need_once(keys: Mapping[str, str | None], header: tuple[str, ...], file: str) -> None:
    """Raise `DataError` for columns that are there twice."""
    twice = [column for column in keys.values() if column is not None and header.count(top(column, header)) > 1]
    if twice:
        raise DataError(f"{file}: columns of one name stand twice: {examples(dict.fromkeys(twice))}")


def top(column: str, header: tuple[str, ...]) -> str:
    """The column of the table in which a name leads on: `sentences` for `sentences.raw`."""
    return column if column in header else column.split(".")[0]


def rows_of(table: Any) -> Rows:
    """Each row's number and plain values; for one that has no plain values (text that is not UTF-8) the reason."""
    first = 0
    for batch in table.to_batches(max_chunksize=1000):
        try:
            yield from enumerate(batch.to_pylist(), first)
        except (ValueError, OverflowError):  # of some row: UnicodeDecodeError is a ValueError
            for row in range(batch.num_rows):
                yield first + row, _row(batch.slice(row, 1))
        first += batch.num_rows


def _row(batch: Any) -> dict[str, Any] | str:
    try:
        values: dict[str, Any] = batch.to_pylist()[0]
        return values
    except UnicodeDecodeError:
        return "a text that is not UTF-8"
    except (ValueError, OverflowError) as error:
        return f"a value that cannot be read ({first_line(error)})"


def rows_of_frame(frame: Any, keys: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """The rows of a pandas frame, of the columns that the config `keys` name, with the values that a parquet file would give.

    Raises `DataError` for what is no frame, and for columns that are not there, or there twice.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"frame: wanted a pandas.DataFrame, found {what(frame)}")
    header = tuple(map(str, frame.columns))
    need_columns(dict(keys), header, "frame", deep=True, cut=False)
    need_once(keys, header, "frame")
    names = dict.fromkeys(top(column, header) for column in keys.values() if column is not None)
    columns = [[_plain(value) for value in frame.iloc[:, header.index(name)].tolist()] for name in names]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    """A value of a frame as Python's own; None for those that stand for no value (nan, NaT, NA)."""
    import pandas as pd

    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _plain(pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value))
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple | np.ndarray | pd.Series):
        return [_plain(one) for one in (np.atleast_1d(value) if isinstance(value, np.ndarray) else value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, PurePath | pd.Period | pd.Interval) else value


def picture_column(table: Any, column: str, where: str) -> tuple[Any, Any]:
    """Two columns of a table's pictures: their bytes and their paths, None for what the table does not hold.

    Dictionaries, large and fixed-size forms are brought to one. Raises `DataError` for a column of another type.
    """
    found = _leaf(table, column)
    data, paths = _bytes_and_paths(found)
    if data is None and paths is None:
        raise DataError(f"{where}: data.picture_column={column} holds {found.type}; {WANTED}")
    return data, paths


def _bytes_and_paths(column: Any) -> tuple[Any, Any]:
    import pyarrow
    import pyarrow.compute

    types, kind = pyarrow.types, column.type
    if types.is_struct(kind):
        inner = [
            pyarrow.compute.struct_field(column, name) if kind.get_field_index(name) >= 0 else None
            for name in ("bytes", "path")
        ]
        data = _bytes_and_paths(inner[0])[0] if inner[0] is not None else None
        return data, _bytes_and_paths(inner[1])[1] if inner[1] is not None else None
    if types.is_dictionary(kind):
        return _bytes_and_paths(column.cast(kind.value_type))
    if types.is_binary(kind) or types.is_large_binary(kind):
        return column, None
    if types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        return column.cast(pyarrow.large_binary()), None
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return None, column
    return None, None


def _leaf(table: Any, column: str) -> Any:
    """A column by its name, or by a way into records (`image.bytes`). Raises `DataError` where the way ends."""
    import pyarrow
    import pyarrow.compute

    names = tuple(table.column_names)
    first = top(column, names)
    found = table.column(first)
    for name in column.removeprefix(first).split(".")[1:]:
        if not pyarrow.types.is_struct(found.type) or found.type.get_field_index(name) < 0:
            raise DataError(f"data.picture_column={column}: {first} holds {found.type}, in which there is no {name!r}")
        found = pyarrow.compute.struct_field(found, name)
    return found
