"""Which columns (of a table) or keys (of JSON records) hold the text fields, and the texts that one record makes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from picdesk.collection import Fields


class TextColumns:
    """Columns of the fields caption, title, tags and any more; None for a field that there is not.

    A list in the caption column makes one text an item. Tags in one string are cut at any of `separators`.
    """

    def __init__(
        self,
        caption: str | None,
        title: str | None,
        tags: str | None,
        more: Mapping[str, str] | None = None,
        separators: str = ";|",
    ) -> None:
        named = {"caption": caption, "title": title, "tags": tags, **(more or {})}
        self.columns = {field: column for field, column in named.items() if column is not None}
        self.separators = separators

    def keys(self) -> dict[str, str | None]:
        """Config key (`caption_column`, `more_columns.author`) and the column it names."""
        usual = ("caption", "title", "tags")
        return {f"{f}_column" if f in usual else f"more_columns.{f}": column for f, column in self.columns.items()}

    def texts(self, cells: Mapping[str, Any]) -> list[Fields]:
        """Fields of the texts that one record makes; none where no column is named."""
        named = {field: self._value(field, cells.get(column)) for field, column in self.columns.items()}
        captions = named.get("caption")
        if isinstance(captions, tuple):
            return [{**named, "caption": caption} for caption in captions]
        return [named] if named else []

    def _value(self, field: str, cell: Any) -> str | tuple[str, ...]:
        if isinstance(cell, Sequence) and not isinstance(cell, str | bytes):
            return tuple(str(item).strip() for item in cell if item is not None)
        text = "" if cell is None else str(cell).strip()
        return split_tags(text, self.separators) if field == "tags" else text


def split_tags(text: str, separators: str) -> tuple[str, ...]:
    """Tags of one string, cut at any of the separators; empty ones dropped."""
    parts = re.split(f"[{re.escape(separators)}]", text) if separators else [text]
    return tuple(part.strip() for part in parts if part.strip())


def holds_nul(texts: Iterable[Fields]) -> bool:
    """Whether a NUL character stands in any field."""
    values = [value for fields in texts for value in fields.values()]
    return any("\0" in (value if isinstance(value, str) else "".join(value)) for value in values)
