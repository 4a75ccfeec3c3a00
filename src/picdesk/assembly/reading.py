"""The data set as its reader gives it, its parts, and what a look over it finds. What it costs is remembered beside the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picdesk.collection import Collection, Fields
from picdesk.data.check_report import CheckReport
from picdesk.data.checks import Splits, check_collection
from picdesk.data.facts import PictureFacts
from picdesk.data.groups import Known, see_all
from picdesk.data.splits import Random
from picdesk.embedding.progress import progress
from picdesk.errors import ConfigError
from picdesk.readers.split_files import with_left_out

CHECKS = ("quick", "full")


@dataclass(frozen=True)
class Looks:
    """How pictures are looked at before anything is encoded: what is known of them, and how large they may be."""

    store: Path
    max_pixels: int

    def facts(self) -> PictureFacts:
        """What is remembered of pictures."""
        return PictureFacts(self.store / "facts.json")

    def see(self, collection: Collection, looks: bool = True) -> list[Known]:
        """What is known of each picture."""
        with progress("comparing pictures", len(collection.picture_ids)) as advance:
            return see_all(collection, looks, self.facts(), self.max_pixels, lambda: advance(1))

    def check(
        self,
        collection: Collection,
        splits: Splits,
        level: str,
        max_bad_fraction: float,
        render: Callable[[Fields], str] | None,
    ) -> CheckReport:
        """Look the data over: `quick` by the first bytes of pictures, `full` by decoding them all."""
        if level not in CHECKS:
            raise ConfigError(f"check={level}: choose one of {', '.join(CHECKS)}")
        with progress("checking pictures", len(collection.picture_ids)) as advance:
            return check_collection(
                collection,
                splits,
                max_bad_fraction=max_bad_fraction,
                max_pixels=self.max_pixels,
                level="full" if level == "full" else "quick",
                facts=self.facts(),
                on_picture=lambda: advance(1),
                render=render,
            )


def read_and_split(
    reader: Any, split: Any, looks: Looks, whole: bool = False
) -> tuple[Collection, Splits, tuple[str, ...]]:
    """The data set as its reader gives it, its parts, and what the split has to say of itself.

    Where the job takes the `whole` data set, whatever its parts, no picture is decoded to draw them.
    """
    collection: Collection = reader.read()
    if isinstance(split, Random) and whole:
        split.groups = ()
    splits: Splits = split.assign(collection, looks.see)
    return with_left_out(collection, split), splits, () if whole else split.notes
