"""Numbers of a form: as they come in an address, and the steps by which they are set."""

from __future__ import annotations

import math

from picdesk.serving.questions import AskError

FIVES = tuple(f"{tenth}5" for tenth in range(10))


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
