"""Embeddings that were made elsewhere: a `.npz` file of vectors, tied to pictures and captions by name, never by folder order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.readers.gathering import Gathering
from picdesk.data.readers.text import Table, need_columns, read_table
from picdesk.data.sources import NoPictures, PictureFiles
from picdesk.errors import ConfigError, DataError, examples
from picdesk.interfaces import Embeddings, Modality
from picdesk.parts import config_part

Place = tuple[int, Path | None]


@dataclass(frozen=True)
class Content:
    """What the file and its captions hold once they are tied together."""

    collection: Collection
    image: Embeddings
    text: Embeddings | None


@config_part
class Npz:
    """Pictures and texts whose vectors are known; `embeddings(modality)` gives them under the ids of `read()`.

    Row j of `text_array` belongs to row j of `captions_file`. Row i of `image_array` belongs to name i of the array
    `image_names`; without such an array to the picture named in row i of `captions_file` (one row a caption), and a picture
    that comes several times is taken once. Vectors are brought to length 1. Nothing is cut or padded to fit.
    """

    def __init__(
        self,
        root: str,
        file: str,
        name: str = "npz",
        image_array: str = "image_embeddings",
        image_names: str | None = None,
        text_array: str | None = "text_embeddings",
        captions_file: str | None = "captions.csv",
        picture_column: str = "image",
        caption_column: str = "caption",
        folder: str | None = None,
        max_bad_fraction: float = 0.01,
    ) -> None:
        if captions_file is None and (text_array is not None or image_names is None):
            raise ConfigError(
                "data.captions_file=null: rows of data.text_array, and image rows without names, need a captions file"
            )
        self.root = root
        self.file = file
        self.name = name
        self.image_array = image_array
        self.image_names = image_names
        self.text_array = text_array
        self.captions_file = captions_file
        self.picture_column = picture_column
        self.caption_column = caption_column
        self.folder = folder
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The pictures that have a vector, and their captions. Picture bytes are there if `data.folder` is given."""
        return self._content.collection

    def embeddings(self, modality: Modality) -> Embeddings:
        """The vectors under picture ids or text ids. Raises `ConfigError` for texts if there is no `text_array`."""
        found = self._content.image if modality == "image" else self._content.text
        if found is None:
            raise ConfigError("data.text_array=null: there are no text embeddings")
        return found

    @cached_property
    def _content(self) -> Content:
        arrays = load_arrays(data_file(self.root, self.file, self.name))
        captions = self._captions()
        vectors = _matrix(arrays, "image_array", self.image_array)
        texts = _matrix(arrays, "text_array", self.text_array) if self.text_array is not None else None
        if texts is not None and texts.shape[1] != vectors.shape[1]:
            widths = f"{vectors.shape[1]} wide, texts {texts.shape[1]}"
            raise DataError(f"{self.file}: images are {widths}: they were not made by one two-tower model")
        gathering = Gathering[Place](self.name)
        self._pictures(gathering, vectors, self._names(arrays, captions, len(vectors)))
        rows = self._texts(gathering, captions, texts) if captions is not None else []
        collection = gathering.collection(self._source)
        found: dict[Modality, NDArray[np.float32]] = {"image": vectors[[row for row, _ in gathering.places.values()]]}
        if texts is not None:
            found["text"] = texts[rows]
        notes = [*collection.notes, *(note for name, matrix in found.items() for note in lengths_note(name, matrix))]
        found = {name: unit(matrix) for name, matrix in found.items()}
        collection = replace(collection, vectors=found, notes=tuple(notes))
        ids = {"image": collection.picture_ids, "text": collection.text_ids}
        made = {name: Embeddings(ids[name], matrix) for name, matrix in found.items()}
        return Content(collection, made["image"], made.get("text"))

    def _captions(self) -> Table | None:
        if self.captions_file is None:
            return None
        table = read_table(data_file(self.root, self.captions_file, self.name))
        wanted: dict[str, str | None] = {"picture_column": self.picture_column, "caption_column": self.caption_column}
        need_columns(wanted, table.header, self.captions_file)
        if table.ragged:
            raise DataError(
                f"{self.captions_file} line {table.ragged[0][0]}: a row of the wrong width would shift the others"
            )
        return table

    def _names(self, arrays: Mapping[str, NDArray[np.generic]], captions: Table | None, count: int) -> list[str]:
        if self.image_names is not None:
            names = [str(item) for item in _array(arrays, "image_names", self.image_names).ravel()]
            source = f"data.image_names={self.image_names}"
        else:
            names = [row[self.picture_column].strip() for _, row in captions.rows] if captions is not None else []
            source = f"data.captions_file={self.captions_file}"
        if len(names) != count:
            raise DataError(f"{self.file}: {count} rows in {self.image_array} for {len(names)} names in {source}")
        return names

    def _pictures(self, gathering: Gathering[Place], vectors: NDArray[np.float32], names: list[str]) -> None:
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name)) if self.folder is not None else None
        for row, name in enumerate(names):
            where = f"{self.image_array} row {row}"
            known = gathering.places.get(name)
            if known is not None:
                if not np.allclose(vectors[known[0]], vectors[row], atol=1e-4, rtol=1e-3):
                    gathering.skip(where, f"{name!r} has another vector in row {known[0]}; the first was kept")
                continue
            if not _usable(vectors[row]):
                gathering.skip(where, f"the vector of {name!r} is zero or not finite")
                continue
            try:
                gathering.picture(name, (row, inside.path(name) if inside else None), where)
            except RefusedError as refused:
                gathering.skip(where, str(refused))

    def _texts(self, gathering: Gathering[Place], captions: Table, texts: NDArray[np.float32] | None) -> list[int]:
        """Adds the captions; gives, for each text that was added, its row in the text array."""
        if texts is not None and len(texts) != len(captions.rows):
            counts = f"{len(texts)} rows in {self.text_array} for {len(captions.rows)} captions"
            raise DataError(f"{self.file}: {counts} in data.captions_file={self.captions_file}")
        rows, elsewhere = [], []
        for at, (line, row) in enumerate(captions.rows):
            name, where = row[self.picture_column].strip(), f"{self.captions_file} line {line}"
            if name not in gathering.places:
                elsewhere.append(name)
            elif texts is not None and not _usable(texts[at]):
                gathering.skip(where, "the vector of the caption is zero or not finite")
            else:
                gathering.text(name, {"caption": row[self.caption_column].strip()}, where)
                rows.append(at)
        if elsewhere:
            shown = examples(dict.fromkeys(elsewhere))
            gathering.notes.append(f"{len(elsewhere)} captions belong to pictures without a vector: {shown}")
        return rows

    def _source(self, places: Iterable[Place]) -> NoPictures | PictureFiles:
        paths = [path for _, path in places]
        return PictureFiles(tuple(path for path in paths if path)) if self.folder else NoPictures(len(paths))


def load_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Arrays of a `.npz` file, without unpickling. Raises `DataError` for objects or a broken file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except ValueError as error:
        what = "an array of Python objects, which is never unpickled" if "pickle" in str(error) else str(error)
        raise DataError(f"{path.name}: {what}; save numbers and strings only") from None
    except Exception as error:  # a broken zip raises several kinds, one of them of zipfile, zlib or EOFError
        raise DataError(f"{path.name}: not a readable .npz file ({error})") from None


def _array(arrays: Mapping[str, NDArray[np.generic]], key: str, name: str) -> NDArray[np.generic]:
    if name not in arrays:
        raise DataError(f"data.{key}={name}: no such array; there are {', '.join(sorted(arrays))}")
    return arrays[name]


def _matrix(arrays: Mapping[str, NDArray[np.generic]], key: str, name: str) -> NDArray[np.float32]:
    array = _array(arrays, key, name)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(
            f"data.{key}={name}: {array.dtype} of shape {array.shape}, wanted numbers of shape [rows, width]"
        )
    return array.astype(np.float32)


def _usable(vector: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())


def lengths_note(modality: Modality, matrix: NDArray[np.float32]) -> list[str]:
    """What to say of vectors that were not of length 1."""
    norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
    away = int((np.abs(norms - 1) > 1e-3).sum())
    if not away:
        return []
    return [
        f"{away} {modality} vectors were of another length than 1 ({norms.min():.3g} to {norms.max():.3g}): normalised"
    ]


def unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows brought to length 1, [n, dim] float32."""
    wide = matrix.astype(np.float64)
    return np.ascontiguousarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)
