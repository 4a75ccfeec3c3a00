"""JSON as data sets have it: an object a line, an array of objects, or one object that holds such an array."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picdesk.data.readers.gathering import Gathering
from picdesk.data.readers.text import lines_of, read_text
from picdesk.errors import DataError, examples
from picdesk.files import Doubled, json_object, json_value

Records = list[tuple[str, dict[str, Any]]]


def read_records(
    path: Path,
    gathering: Gathering[Any],
    records: str | None = None,
    encoding: str | None = None,
    wanted: str = "",
    key: str | None = "data.encoding",
) -> Records:
    """The objects of a file, each with where it stands (`line 3`, `record 3`); what is no object is listed as left out.

    `records` names the key of the list inside one object. Raises `DataError` for a file of another form, and names the
    way where one object holds lists; `wanted` is a key that marks an object as a record of its own.
    """
    text, note = read_text(path, encoding, key)
    gathering.notes += [note] if note else []
    whole = _whole(path, text, records is not None, wanted)
    if whole is None:
        return _lines(path, text, gathering)
    items = whole if records is None and isinstance(whole, list) else _inner(path, whole, records)
    found: Records = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict) and not isinstance(item, Doubled):
            found.append((f"record {number}", item))
        else:
            why = f"the key {item.twice!r} stands twice" if isinstance(item, Doubled) else "not a JSON object"
            gathering.skip(f"{path.name} record {number}", why)
    return found


def _whole(path: Path, text: str, asked: bool, wanted: str) -> Any:
    """The value of a file that is one JSON value and no record; None for one with an object a line."""
    start = text.lstrip()[:1]
    if not start:
        raise DataError(f"{path.name}: the file is empty: a JSON object a line, or a list of them, is needed")
    try:
        value = json_value(text)
    except ValueError as error:
        if asked or (start in "[{" and not _stands_alone(text)):
            raise DataError(f"{path.name}: {error}; a list of objects is needed, or an object a line") from None
        return None
    if isinstance(value, dict) and not asked and (wanted.split(".")[0] in value or not _lists(value)):
        return None
    return value


def _stands_alone(text: str) -> bool:
    """Whether one of the first lines is JSON by itself, as in a file with an object a line."""
    for line in [line for line in lines_of(text) if line.strip()][:20]:
        try:
            json_value(line)
            return True
        except ValueError:
            continue
    return False


def _lines(path: Path, text: str, gathering: Gathering[Any]) -> Records:
    found: Records = []
    blank = 0
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            blank += 1
            continue
        try:
            found.append((f"line {number}", json_object(line)))
        except ValueError as error:
            gathering.skip(f"{path.name} line {number}", str(error))
    blank -= len(text) != len(text.rstrip())
    gathering.notes += [f"{path.name}: {blank} blank lines"] if blank > 0 else []
    return found


def _lists(value: dict[str, Any]) -> list[str]:
    """Keys under which a list of objects lies."""
    return [
        key for key, inner in value.items() if isinstance(inner, list) and any(isinstance(one, dict) for one in inner)
    ]


def _inner(path: Path, value: Any, records: str | None) -> Sequence[Any]:
    """The list of records inside one object, under a key or a way of keys (`data.items`)."""
    if records is None:
        raise DataError(f"{path.name}: one JSON object, not a list of records: {way_to_read(value)}")
    inner = value
    for key in records.split("."):
        inner = inner.get(key) if isinstance(inner, dict) else None
    if not isinstance(inner, list):
        there = f"an object with {examples(value, 8)}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise DataError(f"{path.name}: no list under data.records={records}; the file is {there}")
    return inner


def way_to_read(value: dict[str, Any]) -> str:
    """How an object that holds lists of records can be read."""
    lists = _lists(value)
    if {"images", "annotations"} <= set(lists):
        return "it has COCO's form, `images` with `annotations`; read it by data=coco"
    if "images" in lists and any("sentences" in image for image in value["images"] if isinstance(image, dict)):
        return "it has Karpathy's form; read it by data=karpathy"
    counts = ", ".join(f"{key!r} ({len(value[key])})" for key in lists)
    return f"it holds lists under {counts}; set data.records to one of these keys"
