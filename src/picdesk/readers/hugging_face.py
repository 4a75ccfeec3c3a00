"""A folder that `save_to_disk` of the Hugging Face datasets library wrote: Arrow files, and JSON that says which."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk.data.places import Inside, RefusedError, data_folder
from picdesk.data.unmatched import Unmatched, unmatched_files
from picdesk.errors import DataError, MissingFileError, first_line
from picdesk.files import POINTER, is_pointer
from picdesk.parts import config_part
from picdesk.readers.arrow_rows import need, top
from picdesk.readers.parquet import Parquet

SPLITS, STATE = "dataset_dict.json", "state.json"


@config_part
@dataclass
class HuggingFace(Parquet):
    """A `Dataset` (its rows are of no split) or a `DatasetDict` (each split in a folder of its name), saved to disk.

    Rows are read as those of `parquet`; nothing is downloaded, and the library itself is not needed.
    """

    file: str | Mapping[str, str] = field(default="", init=False)
    name: str = "hugging_face"
    picture_column: str = "image"
    picture_id_column: str | None = None
    caption_column: str | None = "text"

    def _tables(self) -> Iterator[tuple[str, str, Any]]:
        root = data_folder(self.root, self.name)
        for split, folder in self._folders(root):
            for path in arrow_files(folder, self.name):
                shown = path.relative_to(root).as_posix()
                table = read_arrow(path, shown)
                need(self.keys(), tuple(table.column_names), shown)
                kept = [top(column, tuple(table.column_names)) for column in self.keys().values() if column is not None]
                yield split, shown, table.select(list(dict.fromkeys(kept)))

    def _unmatched(self) -> Unmatched:
        """Arrow files that the JSON files of the folder do not name."""
        root = data_folder(self.root, self.name)
        read = [path for _, folder in self._folders(root) for path in arrow_files(folder, self.name)]
        return unmatched_files(root, [], [root / path.relative_to(root.resolve()) for path in read], ("arrow",), STATE)

    def _folders(self, root: Path) -> list[tuple[str, Path]]:
        if not (root / SPLITS).is_file():
            return [("", root)]
        splits = read_json(root / SPLITS).get("splits")
        if not isinstance(splits, list) or not splits or not all(isinstance(split, str) for split in splits):
            raise DataError(f"{SPLITS}: wanted the names of the splits under the key 'splits'")
        return [(split, _split_folder(root, split, self.name)) for split in splits]


def arrow_files(folder: Path, name: str) -> list[Path]:
    """The Arrow files of one saved dataset, in their order. Raises `MissingFileError`, `DataError`."""
    if not (folder / STATE).is_file():
        raise MissingFileError(
            f"data={name}: no {STATE} in {folder}: it is not a folder that save_to_disk wrote (read *.parquet by data=parquet)"
        )
    state = read_json(folder / STATE)
    if state.get("_indices_data_files"):
        raise DataError(f"{folder.name}/{STATE}: rows chosen by an index; call flatten_indices() before save_to_disk")
    listed = state.get("_data_files")
    files = [item.get("filename") if isinstance(item, dict) else None for item in listed or []]
    if not files or not all(isinstance(file, str) for file in files):
        raise DataError(f"{folder.name}/{STATE}: wanted the names of the Arrow files under the key '_data_files'")
    inside = Inside(folder)
    try:
        return [inside.path(str(file)) for file in files]
    except RefusedError as refused:
        raise DataError(f"{folder.name}/{STATE}: {refused}") from None


def read_arrow(path: Path, shown: str) -> Any:
    """The table in an Arrow file, a stream or one with an index. Raises `DataError` for a damaged one."""
    import pyarrow

    try:
        with path.open("rb") as stream:
            indexed = stream.read(6) == b"ARROW1"
        with pyarrow.memory_map(str(path)) as source:
            reader = pyarrow.ipc.open_file(source) if indexed else pyarrow.ipc.open_stream(source)
            table = reader.read_all()
        table.validate(full=True)  # offsets that point outside would be read otherwise
        return table
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        told = POINTER if is_pointer(path) else f"not a readable Arrow file ({first_line(error)})"
        raise DataError(f"{shown}: {told}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `DataError` for anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: not JSON ({first_line(error)})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: a JSON object is needed, found {type(value).__name__}")
    return value


def _split_folder(root: Path, split: str, name: str) -> Path:
    if "/" in split or "\\" in split or split in ("", ".", "..") or not (root / split).is_dir():
        raise DataError(f"data={name}: {SPLITS} names a split {split!r}, which has no folder of that name here")
    return root / split
