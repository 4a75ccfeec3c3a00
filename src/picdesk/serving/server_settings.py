"""What a server is told of itself: where it listens, who may ask, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Limits:
    """Where a server listens, who may ask, and how much.

    `host` other than this machine's own needs `token_file` (a file whose first line every client must know) or `open`. `hosts`
    are further names it may be called by. Of one request: at most `texts` texts of `characters` each, `most` items listed, a body
    of `body_mb`, `timeout_s` from its first byte to its last. `rate` is how many searches a second one client may ask (0: any).
    Questions that wait are encoded together, at most `batch_ms` after the first. `cache_mb` are for answers, and as many for
    small pictures. `examples` is a file of queries that the page shows; up to `fold` pictures are compared after the start, so
    that near-duplicates can be folded into one (0: none). Answers to a stop are finished for `drain_s`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: str | None = None
    open: bool = False
    hosts: list[Any] = field(default_factory=list)
    most: int = 200
    texts: int = 64
    characters: int = 5000
    body_mb: float = 20.0
    rate: float = 50.0
    timeout_s: float = 30.0
    batch_ms: float = 2.0
    cache_mb: float = 64.0
    examples: str | None = None
    fold: int = 20_000
    drain_s: float = 8.0
