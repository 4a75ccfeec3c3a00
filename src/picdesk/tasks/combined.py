"""What a retrieval asks: texts of the command line or a file, one picture, or several of both, added up by their weights.

`query=TEXT` and `image=FILE` have weight 1; `also=[...]` adds more, as `TEXT`, `image:FILE`, or either with a weight and a colon
before it: `also=['-0.5:night','2:image:dog.jpg']`; a weight below 0 takes away. `find=pictures` (or texts) says what is looked
for; a picture alone finds texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk.data.images import open_picture
from picdesk.errors import ConfigError, MissingFileError
from picdesk.readers.queries import Query, bare, only, read_queries
from picdesk.retrieval.pieces import WEIGHTS, Piece, is_weight

WEIGHTED = re.compile(r"([+-]?\d+(?:\.\d+)?):(.+)", re.DOTALL)
PICTURE = "image:"
FOUND = ("pictures", "texts")


@dataclass(kw_only=True)
class Question:
    """What the command line asks: a text, a picture's file, more of either, a file of texts (`subset`: some of them)."""

    query: str | None = None
    image: str | None = None
    also: list[Any] = field(default_factory=list)
    find: str | None = None
    queries: str | None = None
    subset: str | None = None


def read_texts(question: Question) -> list[Query]:
    """The queries of the command line."""
    if question.queries:
        return only(read_queries(question.queries), question.subset)
    text = str(question.query).strip()
    if not text:
        raise ConfigError("query is empty; give a text, for example query='flood warnings in the north'")
    return [bare("q1", text)]


def read_picture(file: str, max_pixels: int) -> bytes:
    """Bytes of the picture that is asked about, which must be one, of at most `max_pixels` pixels."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"image={file}: no such file")
    data = path.read_bytes()
    try:
        open_picture(data, max_pixels)
    except ValueError as error:
        raise ConfigError(f"image={file}: {error}") from None
    return data


def pieces_of(question: Question, max_pixels: int) -> list[Piece]:
    """All that the command line puts together; empty where it asks a text, a picture or a file of queries in the usual way."""
    if question.find is not None and question.find not in FOUND:
        raise ConfigError(f"find={question.find}: choose one of {', '.join(FOUND)}")
    if question.queries:
        if question.also or question.find:
            raise ConfigError("queries=FILE is asked text by text; also= and find= are for query= and image=")
        return []
    told = [question.query] if question.query else []
    told += [f"{PICTURE}{question.image}"] if question.image else []
    plain = len(told) == 1 and not question.also
    if plain and (question.find is None or (question.find == "texts") == bool(question.image)):
        return []
    pieces = [piece(one, 1.0, max_pixels) for one in told] + [
        parse_piece(str(one), max_pixels) for one in question.also
    ]
    if pieces and not any(one.weight > 0 for one in pieces):
        raise ConfigError("also: one text or picture at least must have a weight above 0")
    return pieces


def parse_piece(told: str, max_pixels: int) -> Piece:
    """One entry of `also`."""
    found = WEIGHTED.fullmatch(told)
    weight = float(found[1]) if found else 1.0
    if weight == 0:
        raise ConfigError(f"also={told}: a weight of 0 takes no part; leave it out")
    if not is_weight(weight):
        raise ConfigError(f"also={told}: {WEIGHTS}")
    return piece(found[2] if found else told, weight, max_pixels)


def piece(told: str, weight: float, max_pixels: int) -> Piece:
    """A text, or a picture that is read here."""
    if told.startswith(PICTURE):
        file = told.removeprefix(PICTURE)
        return Piece(weight, file, picture=read_picture(file, max_pixels))
    if not told.strip():
        raise ConfigError("also: an empty text; give a text, or image:FILE")
    return Piece(weight, told.strip(), text=told.strip())


def finds_pictures(question: Question, pieces: Sequence[Piece]) -> bool:
    """What is looked for: as `find` says, else pictures where a text is among the pieces."""
    return bool(question.find == "pictures" or (question.find is None and any(one.text for one in pieces)))
