"""One folder per index: the faiss file, its ids, and a header that says what they are and what they were made from.

The header is written last and names the other files, so a folder is always one whole index, old or new. Checksums are
compared before faiss looks at a byte: faiss trusts what it reads, and a damaged file would take the process down with it.
They guard against accidents, not against somebody who writes a folder on purpose: open only index folders you trust.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss

from picdesk.errors import DataError, MissingFileError, check_unique
from picdesk.files import digest_of, file_digest, write_json, written_whole
from picdesk.filters.kept import MEND
from picdesk.search import making
from picdesk.search.own_files import FORMAT, HEADER, IDS, INDEX, LISTS, free_turn, replacing

KINDS = {"kind": str, "exact": bool, "dim": int, "count": int, "places": int, "fingerprint": str, "metric": str}


@dataclass(frozen=True)
class Facts:
    """What a header says of an index, beside its files. `count` items can be found; `places` counts removed ones too."""

    kind: str
    exact: bool
    recipe: Mapping[str, Any]
    settings: Mapping[str, float]
    dim: int
    count: int
    places: int
    fingerprint: str
    made_from: Mapping[str, Any]
    metric: str = "inner_product"


def write_folder(folder: Path, index: Any, ids: Sequence[str | None], facts: Facts, turn: int | None = None) -> None:
    """Write an index whole; `ids` has one entry per place, None where the item was removed. `turn`: the number of
    lists that are there already.

    What the index that was there before consists of goes at last, and nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder, HEADER):
        number = free_turn(folder) if turn is None else turn
        names = {"index": INDEX.format(number), "ids": IDS.format(number)}
        with written_whole(folder / names["index"]) as temporary:
            faiss.write_index(index, str(temporary))
        with written_whole(folder / names["ids"]) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(item) + "\n" for item in ids)
        if turn is not None:
            names["lists"] = LISTS.format(turn)
        files = {role: _file_facts(folder / name) for role, name in names.items()}
        header = {"format": FORMAT, **asdict(facts), "files": files}
        write_json(folder / HEADER, header | {"checksum": digest_of(header)})


def _file_facts(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def read_folder(folder: Path) -> tuple[Any, list[str | None], Facts]:
    """The faiss index (memory-mapped, read-only), the id of each place, and the header's facts.

    Raises `MissingFileError`, or `DataError` for anything that is damaged or does not fit together.
    """
    header = read_header(folder)
    paths = {role: _check_file(folder, entry) for role, entry in header.pop("files").items()}
    facts = Facts(**header)
    ids = _read_ids(paths["ids"])
    on_disk = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    flags = on_disk if "lists" in paths else faiss.IO_FLAG_MMAP_IFC
    try:
        index = faiss.read_index(str(paths["index"]), flags)
    except RuntimeError as error:
        raise DataError(f"{paths['index']}: faiss cannot read it: {making.reason(error)}; {MEND}") from None
    _check_fit(folder, index, ids, facts)
    return index, ids, facts


def read_header(folder: Path) -> dict[str, Any]:
    """The header of an index folder without its format and checksum, both verified.

    Raises `MissingFileError`, or `DataError` for what is none.
    """
    path = folder / HEADER
    if not path.is_file():
        raise MissingFileError(f"index folder {folder}: no {HEADER} there; an index is written by `save`")
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        checksum, stated = header.pop("checksum"), header.pop("format")
        whole = digest_of({"format": stated, **header})
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise DataError(f"{path}: not the header of an index, or damaged; {MEND}") from None
    if stated != FORMAT:
        raise DataError(f"{path}: format is {stated!r}, this version reads {FORMAT!r}; {MEND}")
    if checksum != whole:
        raise DataError(f"{path}: its checksum does not fit its content: the file was changed or damaged; {MEND}")
    wanted = set(Facts.__dataclass_fields__) | {"files"}
    files = header.get("files")
    if set(header) != wanted or not isinstance(files, dict) or not {"index", "ids"} <= set(files):
        raise DataError(f"{path}: keys differ from those of an index: {sorted(set(header) ^ wanted)}; {MEND}")
    mappings = [header[key] for key in ("recipe", "settings", "made_from", "files")] + list(header["files"].values())
    if not all(isinstance(value, dict) for value in mappings):
        raise DataError(f"{path}: a header needs tables for recipe, settings, made_from and files; {MEND}")
    odd = [key for key, kind in KINDS.items() if type(header[key]) is not kind]
    odd += [f"settings.{key}" for key, value in header["settings"].items() if type(value) not in (int, float)]
    if odd:
        raise DataError(f"{path}: {', '.join(odd)}: not what the header of an index says; {MEND}")
    return dict(header)


def _check_file(folder: Path, entry: Mapping[str, Any]) -> Path:
    name = str(entry.get("name"))
    path = folder / name
    if Path(name).name != name:
        raise DataError(f"index folder {folder}: the header names a file outside it: {name!r}")
    if not path.is_file():
        raise MissingFileError(f"index folder {folder}: {name} is missing; {MEND}")
    if path.stat().st_size != entry.get("bytes"):
        raise DataError(
            f"{path}: {path.stat().st_size} bytes, {entry.get('bytes')} were written: it is damaged; {MEND}"
        )
    if file_digest(path) != entry.get("sha256"):
        raise DataError(f"{path}: its checksum differs from the one in {HEADER}: it was changed or damaged; {MEND}")
    return path


def _read_ids(path: Path) -> list[str | None]:
    try:
        ids = json.loads("[" + ",".join(path.read_text(encoding="utf-8").splitlines()) + "]")
    except ValueError:
        raise DataError(f"{path}: not a list of ids; {MEND}") from None
    if not all(item is None or isinstance(item, str) for item in ids):
        raise DataError(f"{path}: something there is not an id; {MEND}")
    check_unique([item for item in ids if item is not None], str(path))
    return list(ids)


def _check_fit(folder: Path, index: Any, ids: Sequence[str | None], facts: Facts) -> None:
    """Compare the header's facts with the faiss index and the ids that stand beside it."""
    metric = "inner_product" if index.metric_type == faiss.METRIC_INNER_PRODUCT else f"number {index.metric_type}"
    found = {"metric": metric, "dim": index.d, "places": index.ntotal, "count": sum(item is not None for item in ids)}
    stated = {"metric": facts.metric, "dim": facts.dim, "places": facts.places, "count": facts.count}
    differing = [
        f"{key} is {found[key]!r}, the header says {stated[key]!r}" for key in found if found[key] != stated[key]
    ]
    if len(ids) != index.ntotal:
        differing.append(f"{len(ids)} ids for {index.ntotal} places")
    if differing:
        raise DataError(f"index folder {folder}: {'; '.join(differing)}; {MEND}")


def check_expected(folder: Path, facts: Facts, expected: Mapping[str, Any]) -> None:
    """Raise `DataError` naming every key in which the index differs from what is wanted now."""
    known = {
        **facts.made_from,
        **{key: getattr(facts, key) for key in ("kind", "dim", "count", "metric", "fingerprint")},
    }
    known |= facts.recipe
    differing = [key for key in expected if known.get(key, _ABSENT) != expected[key]]
    if differing:
        told = "; ".join(
            f"{key} is {known.get(key, 'not recorded')!r} there, {expected[key]!r} here" for key in differing
        )
        raise DataError(f"index folder {folder} does not fit: {told}; {MEND}")


_ABSENT = object()
