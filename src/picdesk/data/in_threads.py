"""Looking at many pictures by several threads, in order."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Seen = TypeVar("Seen")
AT_ONCE = 32
"""Pictures that a thread is given at a time: of those that are remembered, handing them over one by one is what takes long."""


def look_at_all(count: int, look: Callable[[int], Seen], workers: int | None = None) -> list[Seen]:
    """`look(i)` for i from 0 to `count` - 1, by so many threads (default: one a core, at most 8)."""

    def look_at_some(some: range) -> list[Seen]:
        return [look(i) for i in some]

    parts = [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        return [one for part in pool.map(look_at_some, parts) for one in part]
