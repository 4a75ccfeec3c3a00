"""Filters and columns for a database: what an item's columns become in a table, and a filter as the SQL that asks it.

A column `k` becomes four, each a list of the item's values or null where it has none: `t<k>` the texts, `n<k>` those that are
numbers, `m<k>` those that are dates, as microseconds from 1970 on, and `y<k>` their days from 1970 on (UTC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from picdesk.filters.columns import ID, Column, Columns, key_of, no_column, no_value_of
from picdesk.filters.language import Empty, Every, Filter, Is, Not, Value

EPOCH = date(1970, 1, 1).toordinal()
BETWEEN = "\x1f"
Kinds = Mapping[str, Mapping[str, Any]]
"""By column: its number `k`, whether it has `numbers` and `dates`, and an example of what it says."""


def with_id(known: Columns) -> dict[str, Column]:
    """The columns, the id of the items among them."""
    return {ID: known.column(ID)} | {name: column for name, column in known.columns.items() if name != ID}


def kinds_of(known: Columns, before: Kinds | None = None) -> dict[str, dict[str, Any]]:
    """What there is to ask of columns, besides what there was before."""
    kinds = {name: dict(own) for name, own in (before or {}).items()}
    for name, column in with_id(known).items():
        own = kinds.setdefault(name, {"k": len(kinds), "numbers": False, "dates": False, "example": ""})
        own["numbers"] = own["numbers"] or any(key_of(word, float) is not None for word in column.words)
        own["dates"] = own["dates"] or any(key_of(word, datetime) is not None for word in column.words)
        own["example"] = own["example"] or next(iter(column.words), "")
    return kinds


def fields_of(kinds: Kinds) -> Iterator[tuple[str, str]]:
    """Names and types (string, double, int64: lists of them) of what the columns become."""
    for own in kinds.values():
        yield from zip(
            (f"{letter}{own['k']}" for letter in "tnmy"), ("string", "double", "int64", "int64"), strict=True
        )


def cells_of(known: Columns, kinds: Kinds, rows: Sequence[int]) -> dict[str, list[list[Any] | None]]:
    """The cells of these items, by the names of `fields_of`."""
    cells: dict[str, list[list[Any] | None]] = {}
    columns = with_id(known)
    for name, own in kinds.items():
        texts = [columns[name].values(row) if name in columns else () for row in rows]
        moments = [[key_of(text, datetime) for text in said] for said in texts]
        dated = [[micros(found) for found in own_ if found is not None] for own_ in moments]
        numbers = [[key_of(text, float) for text in said] for said in texts]
        cells[f"t{own['k']}"] = [list(said) or None for said in texts]
        cells[f"n{own['k']}"] = [[one for one in found if one is not None] or None for found in numbers]
        cells[f"m{own['k']}"] = [found or None for found in dated]
        cells[f"y{own['k']}"] = [[one // 86_400_000_000 for one in found] or None for found in dated]
    return cells


def micros(moment: datetime) -> int:
    """Microseconds from the beginning of 1970."""
    apart = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (apart.days * 86_400 + apart.seconds) * 1_000_000 + apart.microseconds


def sql_of(wanted: Filter, kinds: Kinds) -> str:
    """A filter as SQL, which is true or false of every item. Raises `ConfigError` as `Columns.fulfilling` does."""
    if isinstance(wanted, Is):
        own = own_of(wanted.column, kinds)
        parts = [one_of(wanted, value, own) for value in wanted.values]
        return f"COALESCE({' OR '.join(parts)}, false)" if len(parts) == 1 else all_false(parts)
    if isinstance(wanted, Empty):
        return f"(t{own_of(wanted.column, kinds)['k']} IS NULL)"
    if isinstance(wanted, Not):
        return f"(NOT {sql_of(wanted.part, kinds)})"
    join = " AND " if isinstance(wanted, Every) else " OR "
    return f"({join.join(sql_of(part, kinds) for part in wanted.parts)})"


def all_false(parts: Sequence[str]) -> str:
    """Whether one of them is true, where some may be neither true nor false."""
    return "(" + " OR ".join(f"COALESCE({part}, false)" for part in parts) + ")"


def own_of(column: str, kinds: Kinds) -> Mapping[str, Any]:
    """What is known of one column."""
    if column not in kinds:
        raise no_column(column, [name for name in kinds if name != ID])
    return kinds[column]


def one_of(wanted: Is, value: Value, own: Mapping[str, Any]) -> str:
    """A comparison with one value."""
    k, sign = own["k"], wanted.sign
    if isinstance(value, str):
        if sign == "contains":
            joined = f"lower(array_to_string(t{k}, {quote(BETWEEN)}))"
            return f"contains({joined}, {quote(value.lower())})"
        return comparison(f"t{k}", sign, quote(value))
    if not own["numbers" if isinstance(value, float) else "dates"] and own["example"]:
        raise no_value_of(type(value), wanted.column, [own["example"]])
    if isinstance(value, float):
        return comparison(f"n{k}", sign, repr(value + 0.0))  # -0.0 is 0, as `key_of` has it
    if isinstance(value, datetime):
        return comparison(f"m{k}", sign, str(micros(value)))
    return comparison(f"y{k}", sign, str(value.toordinal() - EPOCH))


def comparison(name: str, sign: str, literal: str) -> str:
    """Whether one of a list of values is as wanted."""
    if sign == "=":
        return f"array_has({name}, {literal})"
    return f"array_{'min' if sign[0] == '<' else 'max'}({name}) {sign} {literal}"


def quote(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
