"""Named arrays of vectors and names, out of an `.npz` file, a folder of `.npy` files or a parquet table."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.data.unmatched import Unmatched, fitting_files
from picdesk.errors import DataError, MissingFileError, examples
from picdesk.files import POINTER, is_pointer
from picdesk.readers.arrow_rows import read_parquet

Arrays = dict[str, NDArray[np.generic]]
OBJECTS = "an array of Python objects, which is never unpickled"
OTHER_VECTORS = (".npy", ".npz", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".pkl", ".pickle", ".parquet")
OWN_NAMES = "names"  # of a folder with a file a picture: what the files are called


def load_arrays(path: Path, keys: Mapping[str, str | None] | None = None) -> Arrays:
    """The arrays of a file or folder by name, of a table those that the config `keys` name; nothing is unpickled.

    Raises `DataError` for what is broken, for Python objects, and for a table that lacks a column.

    A folder holds either an array a file, which has the file's name, or a vector a picture, each in a file that is called as the
    picture with `.npy` behind it: then the one array is `image_embeddings`, and `names` are the pictures. Of a parquet table each
    column is an array.
    """
    if path.is_dir():
        return _of_folder(path)
    return _of_parquet(path, keys or {}) if path.suffix.lower() in {".parquet", ".pq"} else _of_npz(path)


def load_array(path: Path) -> NDArray[np.generic]:
    """The array of one `.npy` file. Raises `DataError` for Python objects, for archives and for a broken file."""
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{path.name}: {_fault(error, path)}") from None
    except Exception as error:  # a broken header raises several kinds
        raise DataError(f"{path.name}: not a readable .npy file ({error})") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path.name}: an archive of arrays; wanted one .npy array")
    return array


def _of_npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as stored:
            twice = [name for name, count in Counter(stored.files).items() if count > 1]
            if twice:
                raise DataError(f"{path.name}: arrays of one name stand twice: {examples(twice)}")
            return {key: stored[key] for key in stored.files}
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path.name}: {_fault(error, path)}") from None
    except Exception as error:  # a broken zip raises several kinds, one of them of zipfile, zlib or EOFError
        raise DataError(f"{path.name}: not a readable .npz file ({error})") from None


def _of_folder(folder: Path) -> Arrays:
    paths = fitting_files(folder, "**/*.npy")
    if not paths:
        raise MissingFileError(f"data.file={folder.name}: no .npy file in that folder")
    names = Counter(path.relative_to(folder).with_suffix("").as_posix() for path in paths)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataError(f"data.file={folder.name}: two files of one name but for the case of .npy: {examples(twice)}")
    found = {path.relative_to(folder).with_suffix("").as_posix(): load_array(path) for path in paths}
    if any(array.ndim != 1 or array.dtype.kind not in "fiu" for array in found.values()):
        return found
    widths = {name: len(vector) for name, vector in found.items()}
    odd = [name for name, width in widths.items() if width != next(iter(widths.values()))]
    if odd:
        raise DataError(f"data.file={folder.name}: vectors of several widths: {examples(odd)}")
    return {OWN_NAMES: np.array(list(found)), "image_embeddings": np.stack(list(found.values()))}


def beside_arrays(folder: Path, used: Iterable[Path] = ()) -> Unmatched:
    """What lies in a folder of `.npy` files and is none: vectors in other forms are left out, other files are noted."""
    left_out, others = [], []
    known = {*fitting_files(folder, "**/*.npy"), *used}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path not in known):
        name = path.relative_to(folder).as_posix()
        if any(f".{ending}" in OTHER_VECTORS for ending in path.name.lower().split(".")[1:]):
            left_out.append(
                (name, "vectors in another form than .npy, which a folder is not read for; save it as .npy")
            )
        else:
            others.append(name)
    note = f"{len(others)} files beside the .npy files of data.file={folder.name} were not read: {examples(others)}"
    return Unmatched(tuple(left_out), note if others else "")


def _of_parquet(path: Path, keys: Mapping[str, str | None]) -> Arrays:
    table = read_parquet(path, keys)
    return {name: _column(table.column(name), f"{path.name}: {name}") for name in table.column_names}


def _column(column: Any, where: str) -> NDArray[np.generic]:
    """A column of lists as [rows, width]; any other as it is."""
    rows = column.to_pylist()
    if not any(isinstance(row, list) for row in rows):
        return np.array(["" if row is None else row for row in rows])
    widths = {0 if row is None else len(row) for row in rows}
    if len(widths) > 1:
        raise DataError(f"{where}: vectors of several widths: {sorted(widths)[:5]}")
    return np.array(rows)


def _fault(error: ValueError, path: Path) -> str:
    if is_pointer(path):
        return POINTER
    return f"{OBJECTS}; save numbers and strings only" if "pickle" in str(error) else str(error)


def array_of(arrays: Mapping[str, NDArray[np.generic]], key: str, name: str) -> NDArray[np.generic]:
    """The array that `data.KEY` names. Raises `DataError` naming those that there are."""
    if name not in arrays:
        raise DataError(f"data.{key}={name}: no such array; there are {examples(sorted(arrays), most=12)}")
    return arrays[name]
