"""Vectors that were made elsewhere (`.npz`, a folder of `.npy`, parquet), tied to pictures and captions by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picdesk.data.places import Inside, data_file, data_folder
from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part
from picdesk.readers.arrays import OWN_NAMES, array_of, beside_arrays, load_arrays
from picdesk.readers.gathering import Gathering
from picdesk.readers.vectors import Content, GivenVectors, Named, Place, check_widths, numbers, tie
from picdesk.text.as_text import NoTextError, one_text, parse_cell, what
from picdesk.text.table import delimiter_named, need_columns, read_table


@config_part
@dataclass
class Npz(GivenVectors):
    """Pictures and texts whose vectors are known; `embeddings(modality)` gives them under the ids of `read()`.

    `file` is an `.npz` file; or a folder of `.npy` files, an array a file or a vector a picture, in files that are called as the
    pictures; or a parquet table, whose columns are the arrays.

    Row j of `text_array` belongs to row j of `captions_file`. Row i of `image_array` belongs to name i of the array
    `image_names`; without such an array to the picture named in row i of `captions_file` (one row a caption), and a picture
    that comes several times is taken once. Names of pictures in the two may differ by the ending of a picture (`.jpg`)
    or by case, where one alone fits; a caption of a picture without a vector, or with one that cannot be used, is left out and
    listed. `delimiter`, `quoting` and `encoding`
    are those of `captions_file`, as `csv` has them. Vectors are brought to length 1. Nothing is cut or padded to fit.
    """

    root: str
    file: str
    name: str = "npz"
    image_array: str = "image_embeddings"
    image_names: str | None = None
    text_array: str | None = "text_embeddings"
    captions_file: str | None = "captions.csv"
    picture_column: str = "image"
    caption_column: str = "caption"
    folder: str | None = None
    max_bad_fraction: float = 0.01
    delimiter: str = "auto"
    quoting: str = "auto"
    encoding: str | None = None

    def __post_init__(self) -> None:
        self.delimiter = delimiter_named(self.delimiter)
        if self.captions_file is None and (self.text_array is not None or not self._has_names):
            raise ConfigError(
                "data.captions_file=null: rows of data.text_array, and image rows without names, need a captions file"
            )

    @property
    def _has_names(self) -> bool:
        """Whether the vectors of pictures come with names: an array of them, or files that are called so."""
        return self.image_names is not None or (Path(self.root).expanduser() / self.file).is_dir()

    @property
    def _no_texts(self) -> str:
        return "text_array=null"

    @cached_property
    def _content(self) -> Content:
        keys = {"image_array": self.image_array, "image_names": self.image_names, "text_array": self.text_array}
        arrays = load_arrays(self._path, keys)
        gathering = Gathering[Place](self.name)
        if self._path.is_dir():
            used = [] if self.captions_file is None else [Path(self.root).expanduser() / self.captions_file]
            gathering.note_unmatched(beside_arrays(self._path, used))
        captions = self._captions(gathering)
        images = _matrix(arrays, "image_array", self.image_array)
        texts = _matrix(arrays, "text_array", self.text_array) if self.text_array is not None else None
        check_widths(self.file, images, texts)
        if texts is not None and len(texts) != len(captions):
            counts = f"{len(texts)} rows in {self.text_array} for {len(captions)} captions"
            raise DataError(f"{self.file}: {counts} in data.captions_file={self.captions_file}")
        names = self._names(arrays, captions, len(images))
        named = [Named(name, f"{self.image_array} row {row}") for row, name in enumerate(names)]
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name)) if self.folder is not None else None
        return tie(gathering, (images, named), (texts, captions), inside)

    @property
    def _path(self) -> Path:
        folder = data_folder(self.root, self.name) / self.file
        return folder if folder.is_dir() else data_file(self.root, self.file, self.name)

    def _captions(self, gathering: Gathering[Place]) -> list[Named]:
        if self.captions_file is None:
            return []
        columns = {"picture_column": self.picture_column, "caption_column": self.caption_column}
        path = data_file(self.root, self.captions_file, self.name)
        table = read_table(path, self.delimiter, self.quoting, self.encoding, columns.values())
        need_columns(dict(columns), table.header, self.captions_file)
        if table.ragged:
            raise DataError(
                f"{self.captions_file} line {table.ragged[0][0]}: a row of the wrong width would shift the others"
            )
        gathering.notes += [table.note] if table.note else []
        return [self._caption(row, f"{self.captions_file} line {line}", gathering) for line, row in table.rows]

    def _caption(self, row: Mapping[str, str], where: str, gathering: Gathering[Place]) -> Named:
        """The caption of a row; one that is no text keeps its place, marked as listed, so that no vector moves."""
        name, cell = row[self.picture_column].strip(), row[self.caption_column]
        try:
            value = parse_cell(cell)
            if not isinstance(value, str):
                raise NoTextError(f"holds {what(value)}, where a vector has one caption")
            return Named(name, where, one_text(value))
        except NoTextError as error:
            gathering.skip(where, f"data.caption_column={self.caption_column} {error}")
            return Named(name, where, listed=True)

    def _names(self, arrays: Mapping[str, NDArray[np.generic]], captions: list[Named], count: int) -> list[str]:
        wanted = self.image_names or (OWN_NAMES if self._path.is_dir() and OWN_NAMES in arrays else None)
        if wanted is not None:
            key = f"data.image_names={wanted}"
            names = as_names(array_of(arrays, "image_names", wanted), key)
        else:
            key = f"data.captions_file={self.captions_file}"
            names = [named.picture for named in captions]
        if len(names) != count:
            raise DataError(f"{self.file}: {count} rows in {self.image_array} for {len(names)} names in {key}")
        return names


def as_names(array: NDArray[np.generic], key: str) -> list[str]:
    """An array of text, of bytes in UTF-8 or of whole numbers as names. Raises `DataError`, which begins with `key`."""
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise DataError(f"{key}: {array.dtype} of shape {array.shape}, wanted one row of text")
    if array.dtype.kind != "S":
        return [str(item) for item in array]
    return [bytes(item).decode("utf-8", "surrogateescape") for item in array]


def _matrix(arrays: Mapping[str, NDArray[np.generic]], key: str, name: str) -> NDArray[np.float32]:
    return numbers(array_of(arrays, key, name), f"data.{key}={name}")
