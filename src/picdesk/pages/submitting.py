"""Which picture each article of a submission gets: the best that no other run shows, and of it the part that fits best."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.data.images import named_picture
from picdesk.data.near import alike
from picdesk.errors import ConfigError, DataError, examples
from picdesk.interfaces import PictureBytes
from picdesk.submissions.crops import cut_part, windows
from picdesk.submissions.folders import TARGET
from picdesk.submissions.other_runs import Shown, is_new
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
CROPS = ("similar", "centre")
Near = Callable[[Sequence[int], PictureBytes], NDArray[np.float32]]
"""How near each of some pictures is to the text of the query (by its number) given beside it: [pictures]."""


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures in memory."""

    data: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.data)

    def read(self, i: int) -> bytes:
        """Bytes of one."""
        return self.data[i]


@dataclass(frozen=True)
class Choice:
    """Chooses among what was found. `read` gives a picture's bytes by its id, `before` what other runs show of each article;
    with `near` parts of a picture are compared with its text, else the middle is taken."""

    read: Callable[[str], bytes]
    max_pixels: int
    before: Shown = field(default_factory=dict)
    near: Near | None = None

    def pictures(self, run: Run) -> tuple[dict[str, Image.Image], dict[str, str]]:
        """By article id: the picture at its size, and a digest of what it was cut from.

        Raises `DataError` where other runs show all that was found for an article.
        """
        shown: dict[str, Image.Image] = {}
        sources: dict[str, str] = {}
        open_ones, depth = list(range(len(run.query_ids))), 0
        while open_ones:
            spent = [run.query_ids[q] for q in open_ones if depth >= run.depth or run.index[q, depth] < 0]
            if spent:
                raise DataError(
                    f"submission.other_runs: other runs show all that was found for {len(spent)} articles, for example "
                    f"{examples(spent)}; find more: run_depth, top_k"
                )
            made = self._cut_candidates(run, open_ones, depth)
            left = []
            for q, (picture, source) in zip(open_ones, made, strict=True):
                name = run.query_ids[q]
                if is_new(picture, source, self.before.get(name, ()), alike):
                    shown[name], sources[name] = picture, source
                else:
                    left.append(q)
            open_ones, depth = left, depth + 1
        return {name: shown[name] for name in run.query_ids}, sources

    def _cut_candidates(self, run: Run, queries: Sequence[int], depth: int) -> list[tuple[Image.Image, str]]:
        """The candidate at one depth of each query, cut, and its digest."""
        names = [run.item_ids[run.index[q, depth]] for q in queries]
        data = [self.read(name) for name in names]
        opened = [named_picture(own, name, self.max_pixels) for own, name in zip(data, names, strict=True)]
        parts = [[cut_part(one, box, TARGET) for box in windows(one.size, TARGET)] for one in opened]
        best = self._best(parts, queries)
        digests = [hashlib.sha256(own).hexdigest() for own in data]
        return [(own[i], digest) for own, i, digest in zip(parts, best, digests, strict=True)]

    def _best(self, parts: Sequence[Sequence[Image.Image]], queries: Sequence[int]) -> list[int]:
        """Which part of each picture is nearest to its text; the middle one, which is the first, where nothing tells."""
        several = [(i, own) for i, own in enumerate(parts) if len(own) > 1]
        best = [0] * len(parts)
        if self.near is None or not several:
            return best
        rows = [queries[i] for i, own in several for _ in own]
        scores = self.near(rows, Pictures([png(one) for _, own in several for one in own]))
        at = 0
        for i, own in several:
            best[i] = int(scores[at : at + len(own)].argmax())
            at += len(own)
        return best


def check_crop(crop: str) -> None:
    """Raise `ConfigError` for an unknown way to cut pictures."""
    if crop not in CROPS:
        raise ConfigError(f"submission.crop={crop}: choose one of {', '.join(CROPS)}")


def png(picture: Image.Image) -> bytes:
    """A picture, encoded without loss."""
    stream = io.BytesIO()
    picture.save(stream, "png", compress_level=1)
    return stream.getvalue()
