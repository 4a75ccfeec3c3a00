"""Whether a checkpoint has seen the pictures that it is scored on."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.saved import taken
from picdesk.collection import Collection
from picdesk.errors import UserError
from picdesk.pipelines.world import World, read_and_split
from picdesk.report.content import Note
from picdesk.training.checkpoint import Checkpoint

WHERE = ("root", "max_bad_fraction")


def learned_note(cfg: DictConfig, checkpoint: Checkpoint | None, world: World, part: Collection) -> tuple[Note, ...]:
    """Say so where pictures of this part were learned from, or chosen by, when the checkpoint was trained."""
    if checkpoint is None:
        return ()
    saved = taken(checkpoint.config_path, cfg)
    if settings(saved, "data") != settings(cfg, "data"):
        return ()
    ids, splits = world.collection.picture_ids, world.splits
    if settings(saved, "split") != settings(cfg, "split"):
        again = cfg.copy()
        with open_dict(again):
            again.split = OmegaConf.to_container(saved.split, resolve=True)
        try:
            collection, splits = read_and_split(again)
        except UserError as error:  # a split file that is gone, say: no reason to refuse the job
            return (Note(f"Whether the checkpoint learned from pictures of this part cannot be told: {error}", True),)
        ids = collection.picture_ids
    seen = {ids[i] for name in ("train", "val") for i in splits[name]}
    both = len(seen.intersection(part.picture_ids))
    if not both:
        return ()
    return (
        Note(
            f"{both:,} of the {len(part.picture_ids):,} pictures of this part were learned from, or chosen by, when the "
            "checkpoint was trained: these are not numbers of unseen pictures",
            True,
        ),
    )


def settings(cfg: DictConfig, name: str) -> dict[str, Any]:
    """A node as plain values, less where things lie."""
    node = OmegaConf.to_container(cfg[name], resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items() if key not in WHERE}
