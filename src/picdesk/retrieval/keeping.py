"""How costly things are kept between uses: whoever stands above decides; by default nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Thing = TypeVar("Thing")


class Keep(Protocol):
    """Gives what was made under the same kind and key before, or makes it."""

    def __call__(self, kind: str, key: str, make: Callable[[], Thing]) -> Thing:
        """The thing."""


def make_anew(kind: str, key: str, make: Callable[[], Thing]) -> Thing:
    """Keep nothing."""
    return make()
