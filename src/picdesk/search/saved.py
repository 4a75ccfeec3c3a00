"""Opening a saved index without knowing what kind it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
