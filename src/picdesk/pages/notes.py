"""Notes that several pages carry."""

from __future__ import annotations

from picdesk.backbones.two_tower import TwoTower
from picdesk.report.content import Note


def untrained_note(backbone: TwoTower) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    told = backbone.by_chance()
    return (Note(told, True),) if told else ()
