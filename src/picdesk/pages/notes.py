"""Notes that several pages carry."""

from __future__ import annotations

from picdesk.report.content import Note
from picdesk.training.checkpoint import Checkpoint


def untrained_note(name: str, checkpoint: Checkpoint | None) -> tuple[Note, ...]:
    """Say so where the numbers are those of heads that nobody has trained."""
    if name.startswith("precomputed+lite"):
        told = "is untrained, so its vectors of texts do not belong to those of the data set: these are chance results"
        return (Note(f"the text tower of {name} {told}; name the one that made them: backbone.text_encoder", True),)
    if checkpoint is not None or not name.startswith("lite"):
        return ()
    return (
        Note(f"the heads of {name} are untrained, so these are chance results; give ckpt=... (or ckpt=latest)", True),
    )
