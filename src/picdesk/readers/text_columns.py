"""Which columns (of a table) or keys (of JSON records) hold the text fields, and the texts that one record makes."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from picdesk.collection import Fields
from picdesk.data.places import RefusedError
from picdesk.errors import ConfigError, DataError, short_repr
from picdesk.filters.columns import ID
from picdesk.text.as_text import (
    NO_VALUE,
    NoTextError,
    fault_of,
    name_of,
    one_text,
    parse_cell,
    value_text,
    walk,
    way,
    what,
)

BUILT_IN = ("caption", "title", "tags")


@dataclass
class Taken:
    """The texts of one record, why some values could not be used, and counts of what was read in an unusual way."""

    texts: list[Fields] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)


class TextColumns:
    """Columns of the fields caption, title, tags and any more; None for a field that there is not.

    A list in the caption column makes one text an item. Tags in one string are cut at any of `separators`; whole numbers as
    tags stand as their digits; in further columns numbers, dates, times, durations and truths stand as they are written.
    Otherwise what is no text (`text/as_text.py` has the rule) makes the record's texts unusable, and is told by its config key.

    Raises `ConfigError` for a further field whose name is taken, or whose column is not one name.
    """

    def __init__(
        self,
        caption: str | None,
        title: str | None,
        tags: str | None,
        more: Mapping[str, str] | None = None,
        separators: str = ";|",
    ) -> None:
        own = {str(name): _further(str(name), column) for name, column in (more or {}).items()}
        named = {"caption": caption, "title": title, "tags": tags, **own}
        self.columns = {field: column for field, column in named.items() if column is not None}
        self.separators = separators

    def keys(self) -> dict[str, str | None]:
        """Config key (`caption_column`, `more_columns.author`) and the column it names."""
        return {_key(field): column for field, column in self.columns.items()}

    def take(self, cells: Mapping[str, Any]) -> Taken:
        """The texts that one record makes, none where no column is named; values that are no text are in `faults`."""
        taken = Taken()
        named: dict[str, Any] = {}
        for field_, column in self.columns.items():
            try:
                named[field_] = self._value(field_, walk(cells, column), taken)
            except NoTextError as error:
                taken.faults.append(f"data.{_key(field_)}={column} {error}")
        if len(named) < len(self.columns):
            return taken
        captions = named.get("caption")
        if isinstance(captions, tuple):
            taken.texts = [{**named, "caption": caption} for caption in captions]
        elif named:
            taken.texts = [named]
        return taken

    def texts(self, cells: Mapping[str, Any]) -> list[Fields]:
        """As `take`. Raises `DataError` where a value is no text."""
        taken = self.take(cells)
        if taken.faults:
            raise DataError("; ".join(taken.faults))
        return taken.texts

    def _value(self, field_: str, cell: Any, taken: Taken) -> str | tuple[str, ...]:
        value = parse_cell(cell) if isinstance(cell, str) else cell
        taken.odd["cells that say nan, None, #N/A or the like: no value"] += (
            isinstance(cell, str) and cell.strip() in NO_VALUE
        )
        if isinstance(value, list | tuple):
            several = self._several(field_, list(value), taken)
            taken.odd["lists written in a cell, taken apart"] += value is not cell
            return several
        whole = field_ == "tags" and isinstance(value, int) and not isinstance(value, bool)
        further = field_ not in BUILT_IN
        text = one_text(str(value) if whole else value_text(value) if further else value)
        return split_tags(text, self.separators) if field_ == "tags" else text

    def _several(self, field_: str, values: list[Any], taken: Taken) -> str | tuple[str, ...]:
        if field_ == "caption":
            return self._captions(values, taken)
        if field_ not in BUILT_IN:
            values = [value_text(value) for value in values]
        if field_ == "tags":
            values = [str(tag) if isinstance(tag, int) and not isinstance(tag, bool) else tag for tag in values]
        bad = next((value for value in values if not isinstance(value, str)), None)
        if any(not isinstance(value, str) for value in values):
            raise NoTextError(f"holds a list with {what(bad)}, which is no text{way(bad)}")
        if field_ == "title" and len(values) != 1:
            raise NoTextError(f"holds a list of {len(values)}, where one title is needed")
        listed = tuple(text for text in map(str.strip, values) if text)
        return (listed[0] if listed else "") if field_ == "title" else listed

    def _captions(self, values: list[Any], taken: Taken) -> tuple[str, ...]:
        """Those items that are text; each of the others is a fault of its own. Raises `NoTextError` if none is."""
        found, faults = [], []
        for number, value in enumerate(values):
            try:
                if value is None:
                    raise NoTextError("holds null, which is no text")
                found.append(one_text(parse_cell(value) if isinstance(value, str) else value))
            except NoTextError as error:
                faults.append(f"data.caption_column={self.columns['caption']} item {number} {error}")
        if not found:
            raise NoTextError(f"holds {what(values) if values else 'an empty list'}, which is no text{way(values)}")
        taken.faults += faults
        return tuple(found)


def _further(name: str, column: Any) -> str | None:
    """The column of a further field. Raises `ConfigError` for a name that stands for something else, and for no column's name."""
    key = f"data.more_columns.{name}"
    if name in BUILT_IN:
        raise ConfigError(f"{key}={column}: the name {name} is taken; name the {name} by data.{name}_column={column}")
    if name == ID:
        raise ConfigError(f"{key}={column}: the name {ID} is taken, for the ids of pictures and texts; choose another")
    if isinstance(column, Mapping | list | tuple):
        raise ConfigError(f"{key}={short_repr(column, 60)}: the name of one column is wanted")
    return None if column is None else str(column)


def _key(field_: str) -> str:
    return f"{field_}_column" if field_ in BUILT_IN else f"more_columns.{field_}"


def split_tags(text: str, separators: str) -> tuple[str, ...]:
    """Tags of one string, cut at any of the separators; empty ones dropped."""
    parts = re.split(f"[{re.escape(separators)}]", text) if separators else [text]
    return tuple(part.strip() for part in parts if part.strip())


def name_under(cells: Mapping[str, Any], key: str, column: str) -> str:
    """A name (an id, a file, a split) under the column that `data.KEY` names. Raises `RefusedError` for what is none."""
    try:
        return name_of(walk(cells, column))
    except NoTextError as error:
        raise RefusedError(f"data.{key}={column} {error}") from None


def text_fault(texts: Iterable[Fields]) -> str:
    """Why a text cannot be used: a NUL character, or half of a character that no encoding can write; "" if it can."""
    return next((fault for fault in map(fault_of, _all(texts)) if fault), "")


def _all(texts: Iterable[Fields]) -> list[str]:
    values = [value for fields in texts for value in fields.values()]
    return [part for value in values for part in ([value] if isinstance(value, str) else value)]
