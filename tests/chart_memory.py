"""A chart of each kind is drawn once in a process of the tests; later ones are given its lines, as only their numbers differ.

matplotlib takes 40 ms for one, and a job has several. `picdesk.report.plots`, which draws them, is left alone.
"""

import math
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from picdesk.report import figures
from picdesk.report.charts import Chart

Draw = Callable[[Chart, str], str]


def begin() -> None:
    """Put it in place."""
    figures.svg_of = draw_once(figures.svg_of)  # type: ignore[assignment]


def draw_once(draw: Draw) -> Draw:
    """The lines of the first chart of a kind for all of it, each with ids of its own."""
    known: dict[Any, tuple[str, str]] = {}

    def svg_of(chart: Chart, name: str) -> str:
        kind = kind_of(chart)
        if kind not in known:
            known[kind] = name, draw(chart, name)
        first, svg = known[kind]
        return re.sub(rf'(\sid="|href="#|url\(#){re.escape(first)}-', rf"\g<1>{name}-", svg)

    return svg_of


def kind_of(value: Any) -> Any:
    """All that a chart says but for its title and its finite numbers, and whether a line has one point or more."""
    if is_dataclass(value):
        return type(value), *(kind_of(getattr(value, own.name)) for own in fields(value) if own.name != "title")
    if isinstance(value, tuple):
        kinds = tuple(map(kind_of, value))
        alike = len(set(kinds)) == 1
        return (*kinds[:1], len(kinds) > 1) if alike else kinds
    if isinstance(value, int | float) and not isinstance(value, bool):
        return type(value), math.isfinite(value)
    return value
