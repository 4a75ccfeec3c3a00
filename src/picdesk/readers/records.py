"""JSON as data sets have it: an object a line, an array of objects, or one object that holds such an array."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picdesk.errors import DataError, examples, short_repr
from picdesk.files import Doubled, json_object, json_value
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering
from picdesk.text.files import lines_of, read_text

Records = list[tuple[str, dict[str, Any]]]


def read_records(
    path: Path,
    gathering: Gathering[Any],
    records: str | None = None,
    encoding: str | None = None,
    wanted: str | Sequence[str] = "",
    caption: str | None = None,
    key: str | None = "data.encoding",
) -> Records:
    """The objects of a file, each with where it stands (`line 3`, `record 3`); what is no object is listed as left out.

    `records` names the key of the list inside one object. Raises `DataError` for a file of another form, and names the
    way where one object holds lists; `wanted` is the key (or some) that marks an object as a record. An object whose keys
    are all file names of pictures is read as records too: the keys under `wanted`, what is no record under `caption`.
    """
    text, note = read_text(path, encoding, key)
    gathering.notes += [note] if note else []
    marks = [wanted] if isinstance(wanted, str) else wanted
    whole = _single_value(path, text, records is not None, marks)
    if whole is None:
        return _lines(path, text, gathering)
    if records is None and isinstance(wanted, str) and _by_name(whole):
        gathering.notes.append(f"{path.name}: one object, whose keys were taken for data.picture_column")
        whole = _name_items(whole, marks[0], caption)
    items = whole if records is None and isinstance(whole, list) else _inner(path, whole, records, key is not None)
    found: Records = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict) and not isinstance(item, Doubled):
            found.append((f"record {number}", item))
        else:
            why = f"the key {item.twice!r} stands twice" if isinstance(item, Doubled) else "not a JSON object"
            gathering.skip(f"{path.name} record {number}", why)
    return found


def _single_value(path: Path, text: str, asked: bool, marks: Sequence[str]) -> Any:
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
    if not isinstance(value, dict | list):
        raise DataError(f"{path.name}: a JSON object a line, or a list of objects, is needed, found one value")
    if isinstance(value, dict) and not asked and not _by_name(value):
        return None if any(mark.split(".")[0] in value for mark in marks) or not _lists(value) else value
    return value


def _by_name(value: Any) -> bool:
    """Whether it is one object of captions, or of records, by the file name of the picture."""
    return isinstance(value, dict) and bool(value) and all(Path(name).suffix.lower() in SUFFIXES for name in value)


def _name_items(value: dict[str, Any], wanted: str, caption: str | None) -> list[Any]:
    if isinstance(value, Doubled):
        raise DataError(f"the key {value.twice!r} stands twice, so one of its values is lost")
    named = {name: inner if isinstance(inner, dict) else {caption or "caption": inner} for name, inner in value.items()}
    return [inner if isinstance(inner, Doubled) else {**inner, wanted: name} for name, inner in named.items()]


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


def _inner(path: Path, value: Any, records: str | None, told: bool) -> Sequence[Any]:
    """The list of records inside one object, under a key or a way of keys (`data.items`)."""
    if records is None:
        way = way_to_read(value) if told else f"the list under {examples(_lists(value))} alone is needed"
        raise DataError(f"{path.name}: one JSON object, not a list of records: {way}")
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
    counts = ", ".join(f"{short_repr(key, 60)} ({len(value[key])})" for key in lists[:8])
    return f"it holds lists under {counts}; set data.records to one of these keys"
