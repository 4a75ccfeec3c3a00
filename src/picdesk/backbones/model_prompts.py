"""What a model wants put before its texts: one thing before those that ask, another before those that are found.

Models trained for search tell the two apart ("query: ...", "passage: ..."). From text to picture a text asks and a picture is
found; from picture to text it is the other way round, so a text gets another prompt, and another vector, in each direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Modality

Role = Literal["query", "document"]


@dataclass(frozen=True)
class Prompts:
    """What is put before a text that asks (`query`) or is found (`document`), and told with a picture that does; "" nothing."""

    query: str = ""
    document: str = ""
    query_picture: str = ""
    document_picture: str = ""

    def of(self, modality: Modality, direction: Direction) -> str:
        """The prompt of one side in one direction."""
        role = role_of(modality, direction)
        return str(getattr(self, role if modality == "text" else f"{role}_picture"))

    @property
    def differ(self) -> bool:
        """Whether a text or a picture has another prompt when it asks than when it is found."""
        return self.query != self.document or self.query_picture != self.document_picture


TEXT_PROMPTS = ("query", "document")
ALL_PROMPTS = tuple(field.name for field in fields(Prompts))


def role_of(modality: Modality, direction: Direction) -> Role:
    """Whether that side asks or is found."""
    return "query" if (modality == "text") == (direction == "t2i") else "document"


def read_prompts(given: Mapping[str, str | None] | None, known: tuple[str, ...], own: Prompts | None = None) -> Prompts:
    """Prompts out of a config; null means the model's `own`. Raises `ConfigError` for what is none of the `known` names."""
    own = own or Prompts()
    for name, value in (given or {}).items():
        if name not in known:
            raise ConfigError(f"backbone.prompts.{name}: choose out of {', '.join(known)}")
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"backbone.prompts.{name}={value}: a text is needed, or null for the model's own")
    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    return Prompts(**{name: chosen.get(name, getattr(own, name)) for name in ALL_PROMPTS})
