"""Tables of Arrow (parquet files, datasets saved to disk): rows as plain values, and the column that holds the pictures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from picdesk.errors import DataError, examples
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
        raise DataError(f"{path.name}: not a readable parquet file ({first_line(error)})") from None


def need(keys: Mapping[str, str | None], header: tuple[str, ...], file: str) -> None:
    """Raise `DataError` for columns that are not there, or there twice; where the ids lack, it says that there may be none."""
    try:
        need_columns(dict(keys), header, file, deep=True, cut=False)
    except DataError as error:
        lacks_ids = "data.picture_id_column=" in str(error)
        hint = "; data.picture_id_column=null makes ids of file and row" if lacks_ids else ""
        raise DataError(f"{error}{hint}") from None
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


def first_line(error: Exception) -> str:
    """The first line of an error's text, at most 200 characters of it."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


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
