"""A system with what it searches: texts and pictures in, rows out. What a notebook and the server hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Fields
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Side
from picdesk.readers.queries import bare
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.scores import Scores
from picdesk.retrieval.system import System
from picdesk.text.given import content_of, list_from, text_from, texts_from, whole_number
from picdesk.trec.runs import Run

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

Find = Literal["pictures", "texts"]
Picture: TypeAlias = "bytes | str | Path | Image.Image"
DIRECTION_OF: dict[str, Direction] = {"pictures": "t2i", "texts": "i2t"}


@dataclass(frozen=True)
class Row:
    """One item that was found: its place in the list from 1, its score, and what is known of it."""

    id: str
    score: float
    rank: int
    title: str = ""
    path: str = ""
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Rows(Sequence[Row]):
    """What was found for one query, best first."""

    query: str
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def to_pandas(self) -> pd.DataFrame:
        """A frame with the columns id, score, rank, path, title."""
        import pandas as pd

        columns = ["id", "score", "rank", "path", "title"]
        return pd.DataFrame([{name: asdict(row)[name] for name in columns} for row in self.rows], columns=columns)


class Searcher:
    """`system` is all that answers, `dataset` what it was opened with (None for a saved index), `render` makes the text that
    is encoded out of a query's fields where the data set has no prompt.

    Galleries are built, or opened, when they are first searched. Safe for threads, which take turns."""

    def __init__(
        self,
        system: System,
        open_gallery: Callable[[Direction], Gallery],
        render: Callable[[Fields], str],
        read_dataset: Callable[[], Dataset] | None = None,
        name: str = "",
    ) -> None:
        self.system, self.name = system, name
        self._open, self._render, self._read = open_gallery, render, read_dataset
        self._galleries: dict[Direction, Gallery] = {}
        self._turn = threading.RLock()

    def __repr__(self) -> str:
        return f"<picdesk system {self.name}: {self.system.backbone.name}>"

    @property
    def dataset(self) -> Dataset:
        """The data set with its parts. Raises `ConfigError` for a saved index, which has none."""
        if self._read is None:
            raise ConfigError("a saved index holds vectors alone; load its checkpoint to have the data set")
        return self._read()

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of texts as they are given; rows of length 1."""
        given = texts_from("texts", texts)
        with self._turn:
            return self.system.encode_texts(given)

    def encode_images(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of pictures, by their files, their bytes or as Pillow has them; rows of length 1."""
        given = list_from("pictures", pictures, "pictures")
        contents = [content_of(f"pictures[{i}]", picture) for i, picture in enumerate(given)]
        with self._turn:
            return self.system.encode_images(contents, names_of(given))

    def gallery(self, find: Find = "pictures") -> Gallery:
        """What is searched. Raises `ConfigError` for another `find`."""
        if not isinstance(find, str) or find not in DIRECTION_OF:
            raise ConfigError(f"find={find}: choose one of {', '.join(DIRECTION_OF)}")
        direction = DIRECTION_OF[find]
        with self._turn:
            if direction not in self._galleries:
                self._galleries[direction] = self._open(direction)
            return self._galleries[direction]

    @property
    def open_galleries(self) -> Mapping[Direction, Gallery]:
        """The galleries that were searched, or asked for, until now."""
        return dict(self._galleries)

    def index(self, dataset: Dataset | str | Path) -> Searcher:
        """The same system over another data set, or over a folder of pictures."""
        other = dataset if isinstance(dataset, Dataset) else Dataset.from_folder(dataset)

        def open_gallery(direction: Direction) -> Gallery:
            return self.system.gallery(other, other.collection, direction)

        made = Searcher(self.system, open_gallery, self._render, lambda: other, other.collection.name)
        made._turn = self._turn  # it is the same system
        return made

    def search(
        self,
        query: str | None = None,
        *,
        picture: Picture | None = None,
        k: int = 10,
        find: Find | None = None,
        weights: Mapping[str, float] | None = None,
        share: float = 0.5,
        filter: str | None = None,  # noqa: A002
    ) -> Rows:
        """The `k` best items for a text, a picture, or both together (`share` is the picture's part of the vector).

        A text finds pictures and a picture finds texts, unless `find` says otherwise. `weights` are those of the rerankers,
        by name. A `filter` says which items may be found: `date > 2021-01-01 and credit = 'Reuters'`.
        Raises `ConfigError` for an empty query.
        """
        wanted: Find = find if find is not None else "pictures" if query is not None else "texts"
        texts = [text_from("query", query)] if query is not None else []
        pictures = [picture] if picture is not None else []
        if not texts and not pictures:
            raise ConfigError("nothing is asked: give a text, picture=FILE, or both")
        k, filter = whole_number("k", k), filter_from(filter)  # noqa: A001 - as it is called everywhere
        told = query if query is not None else "a picture"
        with self._turn:
            gallery = self.gallery(wanted)
            asks = self.asks(texts, pictures, share, gallery)
            return rows_of(self.system.search(asks, gallery, k, weights, filter), gallery, [told])[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        weights: Mapping[str, float] | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> list[Rows]:
        """Pictures for many texts at once, under one filter. Raises `ConfigError` for no text."""
        texts = texts_from("queries", queries)
        if not texts:
            raise ConfigError("queries=[]: at least one text is needed")
        k, filter = whole_number("k", k), filter_from(filter)  # noqa: A001
        with self._turn:
            gallery = self.gallery("pictures")
            asks = self.asks(texts, gallery=gallery)
            return rows_of(self.system.search(asks, gallery, k, weights, filter), gallery, texts)

    def rendering(self, gallery: Gallery | None = None) -> Callable[[Fields], str]:
        """How the fields of a query become the text that is encoded: as those of the data set do, where it has any."""
        known = gallery or self.gallery("pictures")
        return known.catalogue.render or self._render

    def asks(
        self,
        texts: Sequence[str],
        pictures: Sequence[Picture] = (),
        share: float = 0.5,
        gallery: Gallery | None = None,
    ) -> Side:
        """Queries in the shared space, their texts through the prompt of what is searched (pictures, if not given).

        Raises `ConfigError` for an empty text.
        """
        if any(not text.strip() for text in texts):
            raise ConfigError("query is empty; give a text, for example 'flood warnings in the north'")
        fields = [bare(f"q{i}", text.strip()).fields for i, text in enumerate(texts, 1)]
        contents = [content_of("picture", picture) for picture in pictures]
        render = self.rendering(gallery) if texts else self._render
        texts = [render(own) for own in fields]
        return self.system.asks(texts, contents, fields=fields, share=share, files=names_of(pictures))

    def evaluate(self, part: str = "test") -> Scores:
        """Both directions over a part of the data set: train, val, test or all."""
        with self._turn:
            return self.system.evaluate(self.dataset, self.dataset.part(part))


def rows_of(run: Run, gallery: Gallery, queries: Sequence[str]) -> list[Rows]:
    """The lists of a run as rows."""
    known, found = gallery.catalogue, []
    for q, query in enumerate(queries):
        listed = [(run.item_ids[i], float(s)) for i, s in zip(run.index[q], run.scores[q], strict=True) if i >= 0]
        rows = (
            Row(name, score, rank, known.title(name), known.file(name), known.fields(name))
            for rank, (name, score) in enumerate(listed, 1)
        )
        found.append(Rows(query, tuple(rows)))
    return found


def names_of(pictures: Sequence[Picture]) -> list[str]:
    """What each picture is called where it cannot be decoded: its file, or its place."""
    return [str(one) if isinstance(one, str | Path) else str(i) for i, one in enumerate(pictures)]


def filter_from(given: str | None) -> str | None:
    """The filter as a text, or none."""
    return None if given is None else text_from("filter", given)
