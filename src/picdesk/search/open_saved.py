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
from picdesk.search.own_files import HEADER, LANCE_NOTE, NOTE, replacing


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


def note_in(folder: Path) -> str | None:
    """The name of the note that stands for the index in a folder; None where it holds one in files of faiss, or none."""
    if (folder / HEADER).is_file():
        return None
    return next((name for name in (NOTE, LANCE_NOTE) if (folder / name).is_file()), None)


def made_from(folder: Path | str) -> dict[str, Any]:
    """What the index saved in a folder says its embeddings were made with, whatever its kind; nothing is opened.

    Raises `MissingFileError`, or `DataError` for a header that is damaged.
    """
    folder = Path(folder)
    name = note_in(folder)
    if name is not None:
        return dict(read_note(folder, name)["made_from"])
    return dict(index_files.read_header(folder)["made_from"])


def write_note(folder: Path, note: Mapping[str, Any], name: str = NOTE) -> None:
    """Say in a folder where its vectors are; the files of the index that was kept there before go."""
    with replacing(folder, name):
        write_json(folder / name, dict(note) | {"checksum": digest_of(note)})


def read_note(folder: Path, name: str = NOTE) -> dict[str, Any]:
    """The note of where the vectors are. Raises `MissingFileError` or `DataError`."""
    path = folder / name
    if not path.is_file():
        told = ", or name the collection: index.collection=NAME" if name == NOTE else ""
        raise MissingFileError(f"{path}: no such file; it is written by `save`{told}")
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        checksum = note.pop("checksum", None)
        whole = isinstance(note["collection"], str) and isinstance(note["made_from"], dict)
        earlier = checksum is None and name == NOTE  # of an earlier version
        whole = whole and (earlier or checksum == digest_of(note))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path}: not a note of where the vectors of an index are")
    return dict(note)
