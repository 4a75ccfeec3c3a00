"""What an encoder keeps account of: how much it encoded, and what files hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from picdesk.interfaces import PictureBytes


class Digests(Protocol):
    """Remembers the SHA-256 of pictures in files that have not changed."""

    def digest(self, source: PictureBytes, i: int) -> str:
        """SHA-256, in hex, of the bytes of picture `i`."""

    def save(self) -> None:
        """Keep what is known for the next job."""


@dataclass
class Counts:
    """How many items went through a trunk in this job, and how many came from the store; `more` are counts of other work."""

    encoded: dict[str, int] = field(default_factory=lambda: {"image": 0, "text": 0})
    reused: dict[str, int] = field(default_factory=lambda: {"image": 0, "text": 0})
    more: dict[str, int] = field(default_factory=dict)
