"""Opening a saved index without knowing what kind it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.errors import DataError, MissingFileError
from picdesk.files import digest_of, write_json
from picdesk.search import index_files, making
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FlatIndex


class SavedIndex(FaissIndex):
    """An approximate index as it was saved, whatever its kind."""

    def __init__(self, kind: str, recipe: Mapping[str, Any], settings: Mapping[str, float]) -> None:
        super().__init__(recipe, settings)
        self.kind = kind


def open_index(folder: Path | str, expected: Mapping[str, Any] | None = None) -> FaissIndex:
    """Open a saved index of any kind, memory-mapped, with the search settings it was saved with."""
    index, at_place, facts = index_files.read_folder(Path(folder))
    index_files.check_expected(Path(folder), facts, expected or {})
    opened = FlatIndex() if facts.exact else SavedIndex(facts.kind, facts.recipe, facts.settings)
    opened.take_over(Path(folder), index, at_place, facts)
    making.set_search(index, facts.settings)
    return opened


NOTE = "milvus.json"
"""What `MilvusIndex.save` leaves in a folder: where the collection is, and what it was made from."""


def made_from(folder: Path | str) -> dict[str, Any]:
    """What the index saved in a folder says its embeddings were made with, whatever its kind; nothing is opened.

    Raises `MissingFileError`, or `DataError` for a header that is damaged.
    """
    folder = Path(folder)
    if (folder / NOTE).is_file() and not (folder / index_files.HEADER).is_file():
        return dict(read_note(folder)["made_from"])
    return dict(index_files.read_header(folder)["made_from"])


def write_note(folder: Path, note: Mapping[str, Any]) -> None:
    """Say in a folder where a Milvus collection is; the files of an index that was kept there before go."""
    write_json(folder / NOTE, dict(note) | {"checksum": digest_of(note)})
    (folder / index_files.HEADER).unlink(missing_ok=True)
    for pattern in index_files.PATTERNS:
        for old in folder.glob(pattern):
            old.unlink(missing_ok=True)


def read_note(folder: Path) -> dict[str, Any]:
    """The note of where a Milvus collection is. Raises `MissingFileError` or `DataError`."""
    path = folder / NOTE
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file; it is written by `save`, or name the collection: index.collection=NAME"
        )
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        checksum = note.pop("checksum", None)
        whole = isinstance(note["collection"], str) and isinstance(note["made_from"], dict)
        whole = whole and checksum in (None, digest_of(note))  # none: of an earlier version
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path}: not a note of where a Milvus collection is")
    return dict(note)
