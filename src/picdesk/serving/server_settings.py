"""What a server is told of itself: where it listens, who may ask, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError, MissingFileError

OWN = ("127.0.0.1", "::1", "localhost")
LEAST_TOKEN = 16
BOUNDS = {
    "port": (0, 65_535),
    **{"most": (1, 100_000), "texts": (1, 100_000), "characters": (1, 10_000_000), "fold": (0, 1_000_000_000)},
    **{"body_mb": (0.001, 4_096), "cache_mb": (0.001, 1_000_000), "rate": (0, 1_000_000)},
    **{"timeout_s": (0.001, 86_400), "drain_s": (0, 3_600), "batch_ms": (0, 10_000)},
}
"""The least and the most that each number may be."""


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


def check(limits: Limits) -> None:
    """Raise `ConfigError` for a limit that is none, and for other machines without a token."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(limits, name)
        whole = isinstance(getattr(Limits, name), int)
        if isinstance(value, bool) or (whole and not isinstance(value, int)) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"serve.{name}={value}: {kind} from {least} to {most:,} is wanted")
    if not isinstance(limits.hosts, list) or not all(isinstance(name, str) and name.strip() for name in limits.hosts):
        told = "a list of names is wanted, such as [desk.example.org]"
        raise ConfigError(f"serve.hosts={as_typed(limits.hosts)}: {told}")
    if limits.host not in OWN and limits.token_file is None and not limits.open:
        raise ConfigError(
            f"serve.host={limits.host}: other machines could ask, and nobody would be asked who they are; give "
            "serve.token_file=FILE with a token, or say serve.open=true where a proxy asks, or nothing is secret"
        )


def as_typed(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, list):
        return f"[{','.join(map(as_typed, value))}]"
    return "null" if value is None else str(value)


def token_of(limits: Limits) -> str | None:
    """The first line of `serve.token_file`; None where none is asked for. Raises `UserError` for none that is worth its name."""
    if limits.token_file is None:
        return None
    path = Path(limits.token_file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"serve.token_file={limits.token_file}: no such file")
    try:
        token = path.read_bytes().partition(b"\n")[0].strip().decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"serve.token_file={limits.token_file}: cannot be read ({error.strerror or error})") from None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"serve.token_file={limits.token_file}: its first line must be a token of {LEAST_TOKEN} ASCII characters or more "
            "without blanks, for example the output of: openssl rand -hex 24"
        )
    return token
