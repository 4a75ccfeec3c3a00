"""Several rerankers at once, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from picdesk.errors import ConfigError
from picdesk.interfaces import Reranker
from picdesk.parts import config_part


@config_part
class Several:
    """`parts` holds the rerankers by name, `use` names those that are at work, in that order.

    Each part keeps its own weight; the search has what they leave of 1. Raises `ConfigError` for a name that is no part, an
    empty list or weights of more than 1 together.
    """

    def __init__(self, use: Sequence[str], parts: Mapping[str, Reranker]) -> None:
        check_use(use, list(parts))
        self.parts = {name: parts[name] for name in use}
        total = sum(part.weight for part in self.parts.values())
        if total > 1 + 1e-9:
            shown = ", ".join(f"{name}={part.weight:g}" for name, part in self.parts.items())
            raise ConfigError(
                f"reranker: the weights add up to {total:g} ({shown}); at most 1, as the search has the rest"
            )


def check_use(use: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ConfigError` unless `use` is a list of known names, each once."""
    names = list(use) if isinstance(use, list | tuple) else []
    if not names or any(name not in known for name in names) or len(set(names)) != len(names):
        raise ConfigError(
            f"reranker.use={use}: give names out of {', '.join(known)}, each once, as [captions,aesthetics]"
        )
