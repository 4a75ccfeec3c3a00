"""Near-duplicates of one list folded into the best of them. What looks alike is found once a generation, by the store's facts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from picdesk.data.groups import components, find_links
from picdesk.data.sources import has_pictures
from picdesk.serving.served import Served

log = logging.getLogger(__name__)
LARGEST = 50


@dataclass
class Folds:
    """The group of each picture that has look-alikes, by the number of the generation."""

    group_of: dict[int, Mapping[str, int]] = field(default_factory=dict)

    def are_known(self, served: Served) -> bool:
        """Whether look-alikes are known."""
        return served.number in self.group_of

    def find(self, served: Served, most: int, see: Callable[..., Any]) -> None:
        """Look at the pictures, up to `most` of them; what was looked at before is remembered in the store."""
        collection = served.pictures.collection
        if collection is None or not has_pictures(collection) or len(collection.picture_ids) > most:
            return
        facts, pixels = served.opened.facts, served.standing.max_pixels
        looking = partial(see, facts=facts, **({"max_pixels": pixels} if pixels else {}))
        links = find_links(collection, ("pictures", "near"), looking)
        groups, _ = components(links, LARGEST)
        ids = collection.picture_ids
        found = {ids[place]: number for number, group in enumerate(groups) for place in group}
        self.group_of = {served.number: found}
        log.info("look-alikes: %d groups with %d of %d pictures", len(groups), len(found), len(ids))

    def fold(self, served: Served, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The list with each look-alike moved into `alike` of the best of its group; ranks stay those of the whole list."""
        groups = self.group_of.get(served.number, {})
        kept: list[dict[str, Any]] = []
        first: dict[int, dict[str, Any]] = {}
        for item in results:
            group = groups.get(str(item["id"]))
            if group is not None and group in first:
                first[group].setdefault("alike", []).append(dict(item))
                continue
            kept.append(dict(item))
            if group is not None:
                first[group] = kept[-1]
        return kept
