"""What is known of items, column by column: what a filter asks. A column may say several things of an item (its tags)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.errors import ConfigError, examples
from picdesk.filters.language import Empty, Every, Filter, Is, Not, Value, moment, parse_filter
from picdesk.interfaces import Direction

Flags = NDArray[np.bool_]
ID = "id"
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
KINDS = {str: "texts", float: "numbers", date: "dates", datetime: "dates"}


@dataclass(frozen=True)
class Column:
    """The values of one column: those of item `i` are `words[codes[j]]` for j from `bounds[i]` to `bounds[i + 1]`, each once."""

    words: tuple[str, ...]
    codes: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, count: int, said: Iterable[tuple[int, str]]) -> Column:
        """From pairs of an item's position and a value; "" is no value."""
        place: dict[str, int] = {}
        pairs = [(item, place.setdefault(value, len(place))) for item, value in said if value]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        both = np.unique(both, axis=0) if len(both) else both
        bounds = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=count))]).astype(np.int64)
        return cls(tuple(place), both[:, 1].copy(), bounds)

    def any_of(self, fits: Flags) -> Flags:
        """Which items have a value among those that fit [words]."""
        before = np.concatenate([[0], np.cumsum(fits[self.codes] if len(self.codes) else [])])
        return np.asarray(before[self.bounds[1:]] > before[self.bounds[:-1]], np.bool_)

    def values(self, item: int) -> tuple[str, ...]:
        """What it says of one item."""
        return tuple(self.words[code] for code in self.codes[self.bounds[item] : self.bounds[item + 1]])

    def pairs(self, rows: Sequence[int]) -> Iterable[tuple[int, str]]:
        """The values of some items, each with the item's new position."""
        return ((place, value) for place, row in enumerate(rows) for value in self.values(row))


@dataclass(frozen=True)
class Columns:
    """The columns of a gallery; `ids` are its items."""

    ids: tuple[str, ...]
    columns: Mapping[str, Column]

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Where each item stands."""
        return {item: place for place, item in enumerate(self.ids)}

    def column(self, name: str) -> Column:
        """A column; `id` is one too, whatever fields there are. Raises `ConfigError` for one that is not there."""
        if name == ID:  # before a field that a reader of somebody's own may call so
            every = np.arange(len(self.ids) + 1, dtype=np.int64)
            return Column(self.ids, every[:-1], every)
        if name in self.columns:
            return self.columns[name]
        raise no_column(name, list(self.columns))

    def fulfilling(self, wanted: Filter | str) -> Flags:
        """Which items [items] fulfil a filter; a column of several values does where one of them does.

        Raises `ConfigError` for a filter that cannot be read, a column that is not there, or one that holds no value of the
        kind that it is compared with.
        """
        wanted = parse_filter(wanted) if isinstance(wanted, str) else wanted
        if isinstance(wanted, Is):
            return self.column(wanted.column).any_of(which_fit(wanted, self.column(wanted.column).words))
        if isinstance(wanted, Empty):
            return np.asarray(np.diff(self.column(wanted.column).bounds) == 0, np.bool_)
        if isinstance(wanted, Not):
            return ~self.fulfilling(wanted.part)
        parts = [self.fulfilling(part) for part in wanted.parts]
        join = np.logical_and if isinstance(wanted, Every) else np.logical_or
        return np.asarray(join.reduce(parts), np.bool_)

    def take(self, ids: Sequence[str]) -> Columns:
        """The same of these items alone, in this order; of one that is not known nothing is said."""
        if tuple(ids) == self.ids:
            return self
        rows = [(place, self.place[item]) for place, item in enumerate(ids) if item in self.place]
        taken = {}
        for name, column in self.columns.items():
            said = ((place, value) for place, row in rows for value in column.values(row))
            taken[name] = Column.of(len(ids), said)
        return Columns(tuple(ids), taken)

    def join(self, more: Columns) -> Columns:
        """These items and then others, with the columns of both."""
        count = len(self.ids)
        both = {}
        for name in dict.fromkeys([*self.columns, *more.columns]):
            said = [*self.columns[name].pairs(range(count))] if name in self.columns else []
            if name in more.columns:
                said += [(count + place, value) for place, value in more.columns[name].pairs(range(len(more.ids)))]
            both[name] = Column.of(count + len(more.ids), said)
        return Columns(self.ids + more.ids, both)


def columns_of(part: Collection, direction: Direction) -> Columns:
    """What a collection knows of its pictures (t2i), by all texts of each, or of its texts (i2t)."""
    ids = part.picture_ids if direction == "t2i" else part.text_ids
    owners = part.picture_of.tolist() if direction == "t2i" else range(len(part.text_ids))
    columns = {}
    for name in part.field_names():
        said = (
            (owner, value)
            for owner, fields in zip(owners, part.texts, strict=True)
            for value in several(fields.get(name, ""))
        )
        columns[name] = Column.of(len(ids), said)
    return Columns(ids, columns)


def only(part: Collection, wanted: str) -> Collection:
    """The pictures of a part that fulfil a filter, with all their texts. Raises `ConfigError` where there is none."""
    fits = columns_of(part, "t2i").fulfilling(wanted)
    if not fits.any():
        raise ConfigError(f"filter={wanted}: none of the {len(fits):,} pictures of data={part.name} fulfils it")
    return part.take(np.flatnonzero(fits))


def several(value: str | Sequence[str]) -> Sequence[str]:
    """A field as a list of values."""
    return (value,) if isinstance(value, str) else value


def which_fit(wanted: Is, words: Sequence[str]) -> Flags:
    """Which of the words fit a comparison [words]."""
    found = np.zeros(len(words), np.bool_)
    for value in wanted.values:
        found |= which_fit_one(wanted.column, wanted.sign, value, words)
    return found


def which_fit_one(column: str, sign: str, value: Value, words: Sequence[str]) -> Flags:
    """The same for one value of the comparison."""
    if isinstance(value, str):
        if sign == "contains":
            low = value.lower()
            return np.fromiter((low in word.lower() for word in words), np.bool_, len(words))
        keys: list[Any] = list(words)
    else:
        kind: Any = type(value)
        keys = [key_of(word, kind) for word in words]
        if words and all(key is None for key in keys):
            raise no_value_of(kind, column, words)
    if sign == "=":
        return np.fromiter((key == value for key in keys), np.bool_, len(words))
    order = ORDER[sign]
    return np.fromiter((key is not None and order(key, value) for key in keys), np.bool_, len(words))


def no_column(name: str, columns: Sequence[str]) -> ConfigError:
    """The error for a column that is not there."""
    known = list(dict.fromkeys([*columns, ID]))
    near = difflib.get_close_matches(name, known, 1)
    meant = f"; did you mean {near[0]}?" if near else " (data.more_columns names further ones)"
    return ConfigError(f"filter: there is no column {name}; there are {', '.join(known)}{meant}")


def no_value_of(kind: type, column: str, words: Sequence[str]) -> ConfigError:
    """The error for a column that is compared with what it never holds."""
    told = f"it says {examples(words, 1)}; a text stands in quotes"
    return ConfigError(f"filter: column {column} holds no {KINDS[kind]} to compare with: {told}")


@lru_cache(maxsize=1 << 18)
def key_of(word: str, kind: type) -> Any:
    """A value as a number, a day, or a moment; None where it is none. Of a day, its first moment; of a moment, its day."""
    if kind is float:
        try:
            number = float(word)
        except ValueError:
            return None
        return number + 0.0 if np.isfinite(number) else None  # -0.0, which a database tells from 0, is 0
    found = moment(word)
    if found is None:
        return None
    whole_day = kind is date
    if isinstance(found, datetime):
        return found.date() if whole_day else found
    return found if whole_day else datetime(found.year, found.month, found.day, tzinfo=UTC)
