"""A query out of several texts and pictures, added up by their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from picdesk.backbones.two_tower import TwoTower
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.interfaces import Embeddings
from picdesk.readers.queries import Query, bare
from picdesk.retrieval.catalogue import Render
from picdesk.retrieval.features import head
from picdesk.retrieval.system import PicturesInMemory

LEAST, MOST = 1e-4, 1e4
WEIGHTS = "a weight lies between 0.0001 and 10,000, or is such a number below 0"
"""Beyond that nothing is left of the others, and in float32 nothing of the sum."""


@dataclass(frozen=True)
class Piece:
    """A text, the bytes of a picture, or the vector of one that cannot be encoded here, and its weight; `name` is what a person
    reads."""

    weight: float
    name: str
    text: str = ""
    picture: bytes = b""
    vector: NDArray[np.float32] | None = field(default=None, compare=False)


def is_weight(weight: float) -> bool:
    """Whether a piece can have this weight."""
    return LEAST <= abs(weight) <= MOST


def as_query(pieces: Sequence[Piece]) -> Query:
    """The whole as one query, named by its pieces: `a dog + 2 x dog.jpg - 0.5 x night`."""
    parts = []
    for number, one in enumerate(pieces):
        sign = "- " if one.weight < 0 else "+ " if number else ""
        size = "" if abs(one.weight) == 1 else f"{abs(one.weight):g} x "
        parts.append(f"{sign}{size}{one.name}")
    return bare("q1", " ".join(parts))


def vector_of(backbone: TwoTower, encoder: Encoder, render: Render, pieces: Sequence[Piece]) -> Embeddings:
    """The sum [1, dim] of the pieces' vectors by their weights, of length 1; `render` writes each text as one that asks.

    Raises `ConfigError` where nothing is left.
    """
    whole = np.zeros(backbone.dim, np.float32)
    for one in pieces:
        if one.vector is not None:
            whole += one.weight * one.vector
        else:
            whole += one.weight * (of_picture if one.picture else of_text)(backbone, encoder, render, one)
    length = float(np.linalg.norm(whole))
    if length < 1e-6:
        raise ConfigError("also: the texts and pictures cancel each other out; change a weight")
    return Embeddings(("q1",), (whole / length)[None].astype(np.float32))


def of_text(backbone: TwoTower, encoder: Encoder, render: Render, one: Piece) -> NDArray[np.float32]:
    """The vector of a text."""
    said = render(bare("q1", one.text).fields)
    asks = backbone.facing("t2i")
    return np.asarray(head(asks, "text", encoder.texts(asks, [said]))[0])


def of_picture(backbone: TwoTower, encoder: Encoder, render: Render, one: Piece) -> NDArray[np.float32]:
    """The vector of a picture."""
    asks = backbone.facing("i2t")
    return np.asarray(head(asks, "image", encoder.pictures(asks, PicturesInMemory((one.picture,)), open_picture))[0])
