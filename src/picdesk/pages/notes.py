"""Notes that several pages carry."""

from __future__ import annotations

from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.report.content import Note


def untrained_note(backbone: TwoTower) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    tower = getattr(backbone, "text_encoder", None)
    if tower is not None and tower.untrained and isinstance(backbone.text_head, nn.Identity):
        told = "is untrained, so its vectors of texts do not belong to those of the data set: these are chance results"
        hint = "name the one that made them: backbone.text_encoder, or its checkpoint: backbone.text_ckpt"
        return (Note(f"the text tower of {backbone.name} {told}; {hint}", True),)
    if not backbone.untrained:
        return ()
    told = "are untrained, so these are chance results; give ckpt=... (or ckpt=latest)"
    return (Note(f"the heads of {backbone.name} {told}", True),)
