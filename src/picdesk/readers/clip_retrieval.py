"""What `clip-retrieval inference` writes: vectors in `img_emb/` and `text_emb/`, and names and captions in `metadata/`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.data.places import Inside, data_folder
from picdesk.data.unmatched import fitting_files, unmatched_files
from picdesk.errors import DataError, MissingFileError, examples
from picdesk.parts import config_part
from picdesk.readers.arrays import load_array
from picdesk.readers.arrow_rows import read_parquet, rows_of
from picdesk.readers.gathering import Gathering
from picdesk.readers.vectors import Content, GivenVectors, Named, Place, check_widths, numbers, tie
from picdesk.text.as_text import NoTextError, fault_of, name_of, one_text, walk


@config_part
@dataclass
class ClipRetrieval(GivenVectors):
    """Row i of `img_emb/img_emb_K.npy`, of `text_emb/text_emb_K.npy` and of `metadata/metadata_K.parquet` belong together.

    A picture's id is its `picture_column`; one that comes several times is taken once. `folder` is where the picture files lie,
    below `root`; without it there are vectors alone. Without `text_emb/` there are pictures alone. Vectors are brought to length
    1. For `backbone=precomputed`.
    """

    root: str
    name: str = "clip_retrieval"
    picture_column: str = "image_path"
    caption_column: str | None = "caption"
    image_folder: str = "img_emb"
    text_folder: str | None = "text_emb"
    metadata_folder: str = "metadata"
    folder: str | None = None
    max_bad_fraction: float = 0.01

    @property
    def _no_texts(self) -> str:
        return f"text_folder={self.text_folder}"

    @cached_property
    def _content(self) -> Content:
        root = data_folder(self.root, self.name)
        images = numbered_files(root / self.image_folder, "npy", f"data.image_folder={self.image_folder}")
        tables = numbered_files(root / self.metadata_folder, "parquet", f"data.metadata_folder={self.metadata_folder}")
        with_texts = self.text_folder is not None and (root / self.text_folder).is_dir()
        texts = (
            numbered_files(root / str(self.text_folder), "npy", f"data.text_folder={self.text_folder}")
            if with_texts
            else {}
        )
        for what, files in (("metadata", tables), *([("text vectors", texts)] if with_texts else [])):
            odd = sorted(files.keys() ^ images.keys())
            if odd:
                raise DataError(
                    f"data={self.name}: {what} and picture vectors are not of the same parts: {examples(odd)}"
                )
        gathering = Gathering[Place](self.name)
        for files, ending in ((images, "npy"), (texts, "npy"), (tables, "parquet")):
            for own in {path.parent for path in files.values()}:
                gathering.note_unmatched(unmatched_files(own, [f"*.{ending}"], files.values(), (ending,), own.name))
        if not with_texts:
            gathering.notes.append(f"no folder data.text_folder={self.text_folder}: there are pictures alone")
        parts = [self._part(images[k], texts.get(k), tables[k], gathering) for k in sorted(images)]
        widths = sorted({part[0].shape[1] for part in parts})
        if len(widths) > 1:
            raise DataError(f"data={self.name}: picture vectors of several widths: {widths}")
        matrix = np.concatenate([part[0] for part in parts])
        words = np.concatenate([part[1] for part in parts if part[1] is not None]) if with_texts else None
        check_widths(self.name, matrix, words)
        names = [name for part in parts for name, _ in part[2]]
        captions = [caption for part in parts for _, caption in part[2]] if with_texts else []
        inside = Inside(data_folder(str(root / self.folder), self.name)) if self.folder is not None else None
        return tie(gathering, (matrix, names), (words, captions), inside)

    def _part(
        self, images: Path, texts: Path | None, metadata: Path, gathering: Gathering[Place]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, list[tuple[Named, Named]]]:
        keys = {"picture_column": self.picture_column, "caption_column": self.caption_column}
        table = read_parquet(metadata, keys)
        names = [self._names(cells, f"{metadata.name} row {row}", gathering) for row, cells in rows_of(table)]
        matrix = load_rows(images, len(names), metadata.name)
        return matrix, load_rows(texts, len(names), metadata.name) if texts is not None else None, names

    def _names(self, cells: dict[str, Any] | str, where: str, gathering: Gathering[Place]) -> tuple[Named, Named]:
        """Picture and caption of a row; what cannot be used keeps its place, marked as listed, so that no other row moves."""
        name = ""
        try:
            if isinstance(cells, str):
                raise NoTextError(cells)
            name = self._value(cells, "picture_column", self.picture_column, name_of)
            caption = ""
            if self.caption_column is not None:
                caption = self._value(cells, "caption_column", self.caption_column, one_text)
            if fault_of(caption):
                raise NoTextError(fault_of(caption))
        except NoTextError as error:
            gathering.skip(where, str(error))
            return Named(name, where, listed=not name), Named(name, where, listed=True)
        return Named(name, where), Named(name, where, caption)

    def _value(self, cells: dict[str, Any], key: str, column: str, made: Callable[[Any], str]) -> str:
        try:
            return made(walk(cells, column))
        except NoTextError as error:
            raise NoTextError(f"data.{key}={column} {error}") from None


def numbered_files(folder: Path, ending: str, key: str) -> dict[int, Path]:
    """Files `NAME_K.ending` of a folder by their number K. Raises `MissingFileError`, `DataError`."""
    found: dict[int, Path] = {}
    for path in fitting_files(folder, f"*.{ending}") if folder.is_dir() else []:
        number = re.search(r"(\d+)$", path.stem)
        if number is None or int(number.group(1)) in found:
            raise DataError(
                f"{key}: {path.name} is no part of its own; wanted names that end in a number, as in x_0.{ending}"
            )
        found[int(number.group(1))] = path
    if not found:
        raise MissingFileError(f"{key}: no *.{ending} in {folder}; clip-retrieval inference writes them")
    return found


def load_rows(path: Path, count: int, beside: str) -> NDArray[np.float32]:
    """Vectors of one file, never unpickled. Raises `DataError` where they do not fit the `count` rows of the metadata."""
    matrix = numbers(load_array(path), path.name)
    if len(matrix) != count:
        raise DataError(f"{path.name}: {len(matrix)} rows for {count} rows in {beside}")
    return matrix
