"""What is known of the items of a gallery: their titles, fields, files and bytes, looked up by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from picdesk.collection import Chosen, Collection, Fields
from picdesk.data.sources import file_of, has_pictures
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Side

Render = Callable[[Fields], str]


class Catalogue:
    """A collection read by id. Without one (a saved index whose data set is gone) items are known by their ids alone."""

    def __init__(self, collection: Collection | None, direction: Direction, render: Render | None = None) -> None:
        self.collection, self.direction, self.render = collection, direction, render

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each item stands: a picture if pictures are searched, else a text."""
        if self.collection is None:
            return {}
        ids = self.collection.picture_ids if self.direction == "t2i" else self.collection.text_ids
        return {name: i for i, name in enumerate(ids)}

    @cached_property
    def _first_text(self) -> Mapping[int, int]:
        """The first text of each picture, by position."""
        if self.collection is None:
            return {}
        pictures = self.collection.picture_of.tolist()
        return dict(zip(reversed(pictures), reversed(range(len(pictures))), strict=True))

    def __contains__(self, item: str) -> bool:
        return item in self.places

    def fields(self, item: str) -> Fields:
        """What the data set says of an item; of a picture, what its first text says."""
        place = self.places.get(item)
        if self.collection is None or place is None:
            return {}
        row = self._first_text.get(place) if self.direction == "t2i" else place
        return self.collection.texts[row] if row is not None else {}

    def title(self, item: str) -> str:
        """A short text for people: the title or caption, else what is encoded, else nothing."""
        fields = self.fields(item)
        known = fields.get("title") or fields.get("caption")
        if known:
            return str(known)
        return self.render(fields) if self.render is not None and fields else ""

    def file(self, item: str) -> str:
        """The file of a picture, as far as it is known; "" for a text."""
        place = self.places.get(item)
        known = self.collection is not None and place is not None and self.direction == "t2i"
        return file_of(self.collection, place) if known else ""  # type: ignore[arg-type]

    def read(self, item: str) -> bytes:
        """Bytes of a picture. Raises `KeyError` for one that is not in the data set."""
        if self.collection is None or self.direction != "t2i":
            raise KeyError(item)
        return self.collection.pictures.read(self.places[item])

    def has_pictures(self) -> bool:
        """Whether bytes of pictures are there to be looked at."""
        return self.collection is not None and has_pictures(self.collection)

    def side(self, ids: tuple[str, ...]) -> Side:
        """Texts, or pictures, of these items. Raises `ConfigError` where the data set does not have one of them."""
        unknown = [name for name in ids if name not in self.places]
        if self.collection is None or unknown:
            told = f"for example {unknown[0]!r}; " if unknown else ""
            raise ConfigError(
                f"index_dir: a reranker looks at what is found, and {len(unknown)} of {len(ids)} candidates are not in the data "
                f"set, {told}name it: data=..."
            )
        rows = np.array([self.places[name] for name in ids], np.int64)
        if self.direction == "t2i":
            return Side(ids, pictures=Chosen(self.collection.pictures, rows))
        fields = tuple(self.collection.texts[row] for row in rows)
        return Side(ids, None, tuple(map(self.render, fields)) if self.render else (), fields)
