"""The parts that a config may name: every class that stands here was written down as one, where it is defined."""

from __future__ import annotations

from typing import TypeVar

Kind = TypeVar("Kind", bound=type)
PARTS: dict[str, type] = {}
"""By the path that a config writes: module and name."""


def config_part(kind: Kind) -> Kind:
    """Say of a class that a config may name it as its `_target_`. Subclasses say it of themselves."""
    PARTS[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return kind
