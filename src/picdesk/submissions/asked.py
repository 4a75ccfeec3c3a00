"""The submission that a retrieval is asked to leave."""

from __future__ import annotations

from dataclasses import dataclass

from picdesk.parts import config_part
from picdesk.submissions.folders import Names


@config_part
@dataclass(kw_only=True)
class Submission:
    """A MediaEval submission folder, written where `group` is given; `size` is the gallery (LARGE or SMALL) in edition 2025.

    In edition 2026 pictures are cut to 460x260 by `crop` (similar, centre); `other_runs` is a folder with the runs that were
    made before, whose picture of an article is not taken again.
    """

    group: str | None = None
    approach: str = "picdesk"
    size: str = "SMALL"
    edition: int = 2025
    crop: str = "similar"
    other_runs: str | None = None

    @property
    def names(self) -> Names:
        """What it is named by. Raises `ConfigError` for names that would not come out of a file name whole."""
        return Names(str(self.group), self.approach, self.size, self.edition)
