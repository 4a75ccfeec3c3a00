"""Embeddings made elsewhere, tied to pictures and captions by name: what `npz` and `clip_retrieval` share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError
from picdesk.data.sources import NoPictures, PictureFiles
from picdesk.data.spellings import SameNames, plain_path
from picdesk.errors import ConfigError, DataError, examples, short_repr
from picdesk.interfaces import Embeddings, Modality
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering

Place = tuple[int, Path | None]
AT_ONCE = 4096
"""Rows that are brought to length 1 at a time."""


@dataclass(frozen=True)
class Content:
    """What the vectors and their captions hold once they are tied together."""

    collection: Collection
    image: Embeddings
    text: Embeddings | None


class GivenVectors(ABC):
    """A reader of vectors that are tied to pictures and captions by name; `embeddings` gives them under the ids of `read()`."""

    @cached_property
    @abstractmethod
    def _content(self) -> Content:
        """What is read, once."""

    @property
    @abstractmethod
    def _no_texts(self) -> str:
        """The key and value by which there are no vectors of texts."""

    def read(self) -> Collection:
        """The pictures that have a vector, and their captions. Picture bytes are there if `data.folder` is given."""
        return self._content.collection

    def embeddings(self, modality: Modality) -> Embeddings:
        """The vectors under picture ids or text ids. Raises `ConfigError` for texts where there are none."""
        found = self._content.image if modality == "image" else self._content.text
        if found is None:
            raise ConfigError(f"data.{self._no_texts}: there are no text embeddings")
        return found


@dataclass(frozen=True)
class Named:
    """A row of vectors or a caption: the picture it belongs to, where it stands, its text, whether it is left out already."""

    picture: str
    where: str
    caption: str = ""
    listed: bool = False


def tie(
    gathering: Gathering[Place],
    images: tuple[NDArray[np.float32], Sequence[Named]],
    texts: tuple[NDArray[np.float32] | None, Sequence[Named]],
    inside: Inside | None,
) -> Content:
    """Pictures and captions with their vectors, [n, dim] and a name a row each; `inside` is where the picture files lie.

    A picture that comes several times is taken once, a caption whose picture has no vector is listed, vectors that are zero or
    not finite are listed with what they are of, and all are brought to length 1.
    """
    vectors, names = images
    same = _pictures(gathering, vectors, names, inside)
    rows = _texts(gathering, *texts, same)
    gathering.notes += inside.notes() if inside else same.notes()
    collection = gathering.collection(_source)
    chosen: dict[Modality, tuple[NDArray[np.float32], NDArray[np.int64]]] = {
        "image": (vectors, np.array([row for row, _ in gathering.places.values()], np.int64))
    }
    if texts[0] is not None:
        chosen["text"] = (texts[0], rows)
    found: dict[Modality, NDArray[np.float32]] = {}
    notes = list(collection.notes)
    for name, (matrix, own) in chosen.items():
        found[name], norms = unit_rows(matrix, own)
        notes += lengths_note(name, norms)
    collection = replace(collection, vectors=found, notes=tuple(notes))
    ids = {"image": collection.picture_ids, "text": collection.text_ids}
    made = {name: Embeddings(ids[name], matrix) for name, matrix in found.items()}
    return Content(collection, made["image"], made.get("text"))


def check_widths(file: str, images: NDArray[np.float32], texts: NDArray[np.float32] | None) -> None:
    """Raise `DataError` where the two sides were not made by one model."""
    if texts is not None and texts.shape[1] != images.shape[1]:
        widths = f"{images.shape[1]} wide, texts {texts.shape[1]}"
        raise DataError(f"{file}: images are {widths}: they were not made by one two-tower model")


def numbers(array: NDArray[np.generic], what: str) -> NDArray[np.float32]:
    """An array as float32 [rows, width]. Raises `DataError`, which begins with `what`, for anything but numbers of that shape."""
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(f"{what}: {array.dtype} of shape {array.shape}, wanted numbers of shape [rows, width]")
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite, and is listed with its picture or text
        return np.ascontiguousarray(array, np.float32)


def _pictures(
    gathering: Gathering[Place], vectors: NDArray[np.float32], names: Sequence[Named], inside: Inside | None
) -> SameNames:
    """Adds the pictures; gives the names that came to mean one picture."""
    same = SameNames() if inside is None else inside.same
    if inside is not None:
        inside.claim(named.picture for named in names)
    for row, named in enumerate(names):
        name = named.picture
        if named.listed:
            continue
        if not name:
            gathering.skip(named.where, "no picture is named")
            continue
        if not _usable(vectors[row]):
            gathering.skip(named.where, f"the vector of {name!r} is zero or not finite", name)
            continue
        try:
            path = inside.picture(name, SUFFIXES) if inside else None
        except RefusedError as refused:
            gathering.skip(named.where, str(refused), name)
            continue
        picture = same.first(name, str(path) if path else plain_path(name))
        known = gathering.places.get(picture)
        if known is None:
            gathering.picture(picture, (row, path), named.where)
        elif not _same_direction(vectors[known[0]], vectors[row]):
            gathering.skip(named.where, f"{name!r} has another vector in row {known[0]}; the first was kept")
    return same


def _texts(
    gathering: Gathering[Place], vectors: NDArray[np.float32] | None, captions: Sequence[Named], same: SameNames
) -> NDArray[np.int64]:
    """Adds the captions; gives, for each text that was added, its row in the vectors."""
    rows, known = [], gathering.known((named.picture for named in captions), same.ids)
    listed = {skipped.item for skipped in gathering.skipped}  # of clip-retrieval picture and caption are one row
    for at, named in enumerate(captions):
        if named.listed:
            continue
        picture = known.picture(named.picture) if named.picture else None
        if picture is None and named.where in listed:
            continue
        if picture is None:
            reason = f"no vector of picture {short_repr(named.picture)}" if named.picture else "no picture is named"
            gathering.skip(named.where, reason)
        elif vectors is not None and not _usable(vectors[at]):
            gathering.skip(named.where, "the vector of the caption is zero or not finite")
        elif gathering.text(picture, {"caption": named.caption}, named.where):
            rows.append(at)
    if known.near:
        near = f"{len(known.near)} captions name their picture but for its ending or case"
        gathering.notes.append(f"{near}: {examples(dict.fromkeys(known.near))}")
    return np.array(rows, np.int64)


def _source(places: Iterable[Place]) -> NoPictures | PictureFiles:
    paths = [path for _, path in places]
    files = tuple(path for path in paths if path is not None)
    return PictureFiles(files) if files else NoPictures(len(paths))


def _usable(vector: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())


def _same_direction(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two vectors are equal once they have length 1, but for what float16 would lose."""
    if np.array_equal(one, other):
        return True
    a, b = (vector / np.linalg.norm(vector) for vector in (one.astype(np.float64), other.astype(np.float64)))
    return bool(np.allclose(a, b, atol=1e-4, rtol=1e-3))


def lengths_note(modality: Modality, norms: NDArray[np.float64]) -> list[str]:
    """What to say of vectors whose lengths were not 1."""
    away = int((np.abs(norms - 1) > 1e-3).sum())
    if not away:
        return []
    return [
        f"{away} {modality} vectors were of another length than 1 ({norms.min():.3g} to {norms.max():.3g}): normalised"
    ]


def unit_rows(matrix: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The chosen rows brought to length 1, [n, dim] float32, and the lengths they had, [n]; worked out in float64.

    `AT_ONCE` rows at a time, so that besides what comes in and what goes out nothing is as large as they are.
    """
    out, norms = np.empty((len(rows), matrix.shape[1]), np.float32), np.empty(len(rows))
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        wide = matrix[rows[part]].astype(np.float64)
        norms[part] = np.linalg.norm(wide, axis=1)
        out[part] = wide / norms[part, None]
    return out, norms
