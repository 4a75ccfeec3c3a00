"""Notes that several pages carry."""

from __future__ import annotations

from picdesk.backbones.two_tower import TwoTower
from picdesk.report.content import Note

USUAL = 0.95


def level_note(level: float) -> tuple[Note, ...]:
    """Say so where intervals are of another level than all that is written of them has, of a job from elsewhere too."""
    told = f"intervals of the metrics are of {level:.4g}, as bootstrap.level has it, not of the usual {USUAL}"
    return (Note(told, True),) if level != USUAL else ()


def untrained_note(backbone: TwoTower) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    told = backbone.by_chance()
    return (Note(told, True),) if told else ()
