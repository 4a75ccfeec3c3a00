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
    way where one object holds lists; `wanted` is the key (or some) that marks an object as a record. With one such key the
    forms of `records_of` are read too.
    """
    text, note = read_text(path, encoding, key)
    gathering.notes += [note] if note else []
    marks = [wanted] if isinstance(wanted, str) else wanted
    whole = _single_value(path, text, records is not None)
    if records is None and isinstance(whole, dict):
        form = records_of(path.name, whole, wanted, caption) if isinstance(wanted, str) else None
        if form is not None:
            whole = form[0]
            gathering.notes.append(f"{path.name}: one object, {form[1]}")
        elif any(mark.split(".")[0] in whole for mark in marks) or not _lists(whole):
            whole = None
    if whole is None:
        return _lines(path, text, gathering)
    items = whole if records is None and isinstance(whole, list) else _inner(path, whole, records, key is not None)
    found: Records = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict) and not isinstance(item, Doubled):
            found.append((f"record {number}", item))
        else:
            why = f"the key {item.twice!r} stands twice" if isinstance(item, Doubled) else "not a JSON object"
            gathering.skip(f"{path.name} record {number}", why)
    return found


def _single_value(path: Path, text: str, asked: bool) -> Any:
    """The value of a file that is one JSON value; None for one with an object a line."""
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
    return value


def records_of(file: str, value: dict[str, Any], wanted: str, caption: str | None) -> tuple[list[Any], str] | None:
    """The records that an object stands for, and how it was read; None for an object that is none of these forms.

    Columns (under `wanted` and other keys) are lists of one length or objects with the same keys, as `to_json` of pandas writes
    them; or every value is a record with the key `wanted`; or the keys are names of pictures, which come under `wanted`, and
    what is no record under `caption`. Raises `DataError` for a key that stands twice, and for columns that do not fit together.
    """
    mark = wanted.split(".")[0]
    names = all(Path(key).suffix.lower() in SUFFIXES for key in value)
    if not value or (isinstance(value, Doubled) and not names):
        return None
    if isinstance(value, Doubled):
        raise DataError(f"{file}: the key {value.twice!r} stands twice, so one of its values is lost")
    if isinstance(value.get(mark), list | dict):
        columns = _rows_of_columns(file, value, mark)
        return None if columns is None else (columns, "whose columns were taken for records")
    if all(isinstance(inner, dict) and mark in inner for inner in value.values()):
        return list(value.values()), "whose values were taken for records"
    lists = all(isinstance(inner, list) and all(isinstance(one, str) for one in inner) for inner in value.values())
    if names or (lists and mark not in value and caption not in value):
        return _by_name(value, wanted, caption), "whose keys were taken for data.picture_column"
    return None


def _by_name(value: dict[str, Any], wanted: str, caption: str | None) -> list[Any]:
    named = {name: inner if isinstance(inner, dict) else {caption or "caption": inner} for name, inner in value.items()}
    return [inner if isinstance(inner, Doubled) else {**inner, wanted: name} for name, inner in named.items()]


def _rows_of_columns(file: str, value: dict[str, Any], mark: str) -> list[Any] | None:
    """The rows of columns side by side; None where the values are no columns, as in one record whose picture is a record."""
    first = value[mark]
    cells = first if isinstance(first, list) else list(first.values())
    if not cells or not all(isinstance(cell, str | int) for cell in cells):
        return None
    if isinstance(first, dict) and not all(isinstance(inner, dict) for inner in value.values()):
        return None
    twice = [key for key, inner in value.items() if isinstance(inner, Doubled)]
    odd = [key for key, inner in value.items() if type(inner) is not type(first) or len(inner) != len(first)]
    odd += [key for key, inner in value.items() if isinstance(first, dict) and set(inner) != set(first)]
    if twice or odd:
        why = "in which a key stands twice" if twice else f"that do not fit the {len(first)} rows of {mark!r}"
        raise DataError(f"{file}: columns side by side, {why}: {examples(dict.fromkeys(twice or odd))}")
    keys = range(len(first)) if isinstance(first, list) else first
    return [{name: column[key] for name, column in value.items()} for key in keys]


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
