"""Which files of a folder are those of the index that is saved in it: nothing else there is written over, or goes.

An index says by name what it consists of: in its header, or in the note of where its vectors are. Another index in its place
has new names, and then what the former one named goes. A folder with anything else in it is somebody's, and no index comes there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError, short_repr
from picdesk.files import LOCK, digest_of, json_object, write_json
from picdesk.filters.kept import COLUMNS, place_of
from picdesk.process.unfinished import remove

HEADER, NOTE, LANCE_NOTE = "header.json", "milvus.json", "lance.json"
"""What says of an index in files of faiss what it is, and what `MilvusIndex.save` and `LanceIndex.save` leave in a folder."""
RECORDS = (HEADER, NOTE, LANCE_NOTE)
FORMAT, BEGUN = "picdesk-index-1", ".begun.json"
INDEX, IDS, LISTS, TABLE = "index-{}.faiss", "ids-{}.jsonl", "lists-{}.ivfdata", "lance-{}"
WRITTEN = re.compile(r"(index-\d+\.faiss|ids-\d+\.jsonl|lists-\d+\.ivfdata|lance-\d+|columns-[0-9a-f]{16}\.parquet)")
"""The names that an index gives its files."""


def free_turn(folder: Path) -> int:
    """The first number that nothing of an index in the folder carries. Its names are noted there, so that what a killed job
    leaves of them goes with the next index."""
    names = (INDEX, IDS, LISTS, TABLE)
    turn = next(turn for turn in range(10**6) if not any((folder / name.format(turn)).exists() for name in names))
    write_json(folder / BEGUN, {"names": sorted(begun_in(folder).union(name.format(turn) for name in names))})
    return turn


def begun_in(folder: Path) -> set[str]:
    """Names of what was begun in a folder and is of no index yet."""
    names = _read(folder / BEGUN).get("names")
    return {str(name) for name in names if WRITTEN.fullmatch(str(name))} if isinstance(names, list) else set()


def check_free(folder: Path, key: str, besides: Path | None = None) -> None:
    """Raise `ConfigError` where a folder that an index is to be saved in holds something else than an index.

    Nothing there, hidden files, a saved index, and what a stopped job left of one are fine; `besides` is what the index itself
    has there, such as the file of a database.
    """
    if not folder.is_dir() or any(is_record(folder / name) for name in RECORDS):
        return
    begun = (folder / LOCK).is_file()
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path != besides)
    other = [name for name in names if not (begun and WRITTEN.fullmatch(name))]
    if other:
        raise ConfigError(
            f"{key}={folder}: neither empty nor a saved index ({short_repr(other[0])} is there); name another folder"
        )


def is_record(path: Path) -> bool:
    """Whether this is the header of an index or a note of one, damaged or not."""
    found = _read(path)
    if path.name == HEADER:
        return str(found.get("format")).startswith("picdesk-index-")
    return isinstance(found.get("collection"), str) and isinstance(found.get("made_from"), dict)


@contextmanager
def replacing(folder: Path, record: str) -> Iterator[None]:
    """Within, an index is written whole, its header or note (`record`) at last; then what the former index named goes, and what
    one that was never whole had begun.

    Raises `ConfigError` where a file of that name is there already and is no record of an index.
    """
    path = folder / record
    if path.exists() and not is_record(path):
        raise ConfigError(f"{path}: is there already and is of no saved index; name another folder")
    former = {name for other in RECORDS for name in names_in(folder, other)}
    yield
    former |= begun_in(folder)
    for name in sorted(former - names_in(folder, record), key=lambda name: (name not in RECORDS, name)):
        remove(folder / name)
    remove(folder / BEGUN)


def names_in(folder: Path, record: str) -> set[str]:
    """What stands in a folder of the index of this header or note, itself with it; nothing where it is missing or damaged."""
    found = _read(folder / record)
    checksum = found.pop("checksum", None)
    is_earlier = checksum is None and record == NOTE  # of an earlier version
    if not found or not (is_earlier or checksum == digest_of(found)):
        return set()
    files, made_from = found.get("files"), found.get("made_from")
    named = (
        [entry.get("name") for entry in files.values() if isinstance(entry, dict)] if isinstance(files, dict) else []
    )
    if files and record == LANCE_NOTE:  # a table that lies in the folder
        named = [found.get("uri")]
    if isinstance(made_from, dict) and made_from.get(COLUMNS):
        named.append(place_of(folder, str(made_from[COLUMNS])).name)
    return {record, *(str(name) for name in named if WRITTEN.fullmatch(str(name)))}


def _read(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        return json_object(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
