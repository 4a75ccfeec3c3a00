"""What a form or an address says: each name once, numbers, and the steps by which a number is set."""

from __future__ import annotations

import math
from typing import TypeVar

from starlette.datastructures import ImmutableMultiDict

from picdesk.errors import short_repr
from picdesk.serving.questions import AskError

Value = TypeVar("Value")
FIVES = tuple(f"{tenth}5" for tenth in range(10))


def each_once(given: ImmutableMultiDict[str, Value]) -> dict[str, Value]:
    """Names with their values. Raises `AskError` for a name that is given twice, as one of its values would be ignored."""
    found: dict[str, Value] = {}
    for name, value in given.multi_items():
        if name in found:
            raise AskError(short_repr(name, 40).strip("'"), "given more than once")
        found[name] = value
    return found


def number(name: str, text: str) -> float | None:
    """A finite number, or None for nothing. Raises `AskError`."""
    if not text.strip():
        return None
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        raise AskError(name, f"{text[:40]!r} is no number") from None
    if not math.isfinite(found):
        raise AskError(name, f"{text[:40]!r} is no finite number")
    return found


def step_of(weight: str) -> str:
    """The step of a slider that stands at this weight; a browser moves one that its steps do not reach to the nearest they do."""
    digits = weight.partition(".")[2]
    return "0.05" if len(digits) < 2 or digits in FIVES else f"0.{'1':0>{len(digits)}}"
