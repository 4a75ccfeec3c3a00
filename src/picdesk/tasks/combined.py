"""What a retrieval asks: texts of the command line or a file, one picture, or several of both, added up by their weights.

`query=TEXT` and `image=FILE` have weight 1; `also=[...]` adds more, as `TEXT`, `image:FILE`, or either with a weight and a colon
before it: `also=['-0.5:night','2:image:dog.jpg']`; a weight below 0 takes away. `find=pictures` (or texts) says what is looked
for; a picture alone finds texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from picdesk.assembly.schema import Settings
from picdesk.data.images import open_picture
from picdesk.errors import ConfigError, MissingFileError
from picdesk.readers.queries import Query, bare, read_queries
from picdesk.readers.subset import only
from picdesk.retrieval.pieces import Piece

WEIGHTED = re.compile(r"([+-]?\d+(?:\.\d+)?):(.+)", re.DOTALL)
PICTURE = "image:"
FOUND = ("pictures", "texts")


def read_texts(settings: Settings) -> list[Query]:
    """The queries of the command line."""
    if settings.queries:
        return only(read_queries(settings.queries), settings.subset)
    text = str(settings.query).strip()
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


def pieces_of(settings: Settings) -> list[Piece]:
    """All that the command line puts together; empty where it asks a text, a picture or a file of queries in the usual way."""
    if settings.find is not None and settings.find not in FOUND:
        raise ConfigError(f"find={settings.find}: choose one of {', '.join(FOUND)}")
    if settings.queries:
        if settings.also or settings.find:
            raise ConfigError("queries=FILE is asked text by text; also= and find= are for query= and image=")
        return []
    told = [settings.query] if settings.query else []
    told += [f"{PICTURE}{settings.image}"] if settings.image else []
    plain = len(told) == 1 and not settings.also
    if plain and (settings.find is None or (settings.find == "texts") == bool(settings.image)):
        return []
    pieces = [piece(one, 1.0, settings) for one in told] + [weighted(str(one), settings) for one in settings.also]
    if pieces and not any(one.weight > 0 for one in pieces):
        raise ConfigError("also: one text or picture at least must have a weight above 0")
    return pieces


def weighted(told: str, settings: Settings) -> Piece:
    """One entry of `also`."""
    found = WEIGHTED.fullmatch(told)
    weight = float(found[1]) if found else 1.0
    if weight == 0:
        raise ConfigError(f"also={told}: a weight of 0 takes no part; leave it out")
    return piece(found[2] if found else told, weight, settings)


def piece(told: str, weight: float, settings: Settings) -> Piece:
    """A text, or a picture that is read here."""
    if told.startswith(PICTURE):
        file = told.removeprefix(PICTURE)
        return Piece(weight, file, picture=read_picture(file, settings.encode.max_pixels))
    if not told.strip():
        raise ConfigError("also: an empty text; give a text, or image:FILE")
    return Piece(weight, told.strip(), text=told.strip())


def finds_pictures(settings: Settings, pieces: Sequence[Piece]) -> bool:
    """What is looked for: as `find` says, else pictures where a text is among the pieces."""
    return bool(settings.find == "pictures" or (settings.find is None and any(one.text for one in pieces)))
