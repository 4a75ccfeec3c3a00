"""What an index may be told before it is built: what is to come, and what was chosen before."""

from __future__ import annotations

from typing import Any, Protocol


class Foresight(Protocol):
    """The part of `interfaces.Index` for an index that chooses by what it costs; `search.base.IndexBase` heeds none of it."""

    def expect(self, queries: int | None, depth: int) -> None:
        """Be told how many queries will come (None: not known), and how long their lists are."""

    def remember_in(self, choices: Any) -> None:
        """Be given what was chosen before (`search.contests.choices.Choices`), to follow it and to add to it."""
