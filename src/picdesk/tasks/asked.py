"""What a retrieval asks: texts of the command line or a file, or one picture."""

from __future__ import annotations

from pathlib import Path

from picdesk.assembly.schema import Settings
from picdesk.data.images import open_picture
from picdesk.errors import ConfigError, MissingFileError
from picdesk.readers.queries import Query, bare, read_queries
from picdesk.readers.subset import only


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
