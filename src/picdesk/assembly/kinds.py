"""Whether the values of a config node are of the kinds that its class says it takes: told by key."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError

TEXT, NUMBERS, LISTS = (str, Path), (int, float), (list, tuple, set, frozenset, Sequence, Iterable)
OPEN = ("???", "${")


def check_values(kind: type, node: Mapping[Any, Any], key: str) -> None:
    """Raise `ConfigError` for a list where a text belongs, a text where a number belongs, and the like.

    What the class does not say is not looked at; nodes with a `_target_` become objects, which the class looks at itself.
    """
    for name, hint in hints_of(kind).items():
        if name in node and not fits(node[name], hint):
            given = str(node[name])[:60]
            raise ConfigError(f"{key}.{name}={given}: {article(node[name])}, where {words_for(hint)} belongs")


def hints_of(kind: type) -> dict[str, Any]:
    """The kinds of a class's arguments by name; none where they cannot be told."""
    try:
        return typing.get_type_hints(kind.__init__)  # type: ignore[misc]
    except Exception:  # names that only a type checker knows
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can be meant where the hint stands."""
    if (isinstance(value, dict) and "_target_" in value) or (isinstance(value, str) and value.startswith(OPEN)):
        return True
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, inner) for inner in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if origin in TEXT:
        return value is not None and not isinstance(value, list | dict)
    if origin in NUMBERS or origin is bool:
        return isinstance(value, int | float)
    if origin in LISTS:
        return isinstance(value, list | str)
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    return True


def article(value: Any) -> str:
    """What a plain value is, in words."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def words_for(hint: Any) -> str:
    """What a hint asks for, in words."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words_for(inner) for inner in typing.get_args(hint))
    if origin in LISTS:
        return "a list"
    words = {str: "a text", Path: "a path", int: "a number", float: "a number", bool: "true or false"}
    return (words | {dict: "a table", Mapping: "a table", type(None): "nothing"}).get(origin, "something else")
