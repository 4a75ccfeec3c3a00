"""Pictures as a browser shows them: the file as it is, with its right type, and smaller ones that are made once."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from picdesk.data.images import open_picture
from picdesk.data.picture_formats import format_of
from picdesk.errors import DataError
from picdesk.serving.bounded_memory import Kept
from picdesk.serving.questions import AskError
from picdesk.serving.served import Served

SIDES = {"small": 560, "large": 1600}
"""The longer side in pixels: of a tile (280 px wide on a screen with two dots a pixel), and opened large."""
QUALITY = 82
TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "DIB": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "JXL": "image/jxl",
    "JPEG2000": "image/jp2",
    "ICO": "image/x-icon",
    "PPM": "image/x-portable-pixmap",
}


@dataclass(frozen=True)
class Shown:
    """Bytes for a browser, their type, and a tag over their content."""

    content: bytes
    kind: str
    tag: str


def original(served: Served, name: str) -> Shown:
    """A picture as it is stored. Raises `AskError` (404) for an unknown id, (415) for what is no picture."""
    content = served.read(name)
    kind = TYPES.get(format_of(content[:64]) or "")
    if kind is None:
        raise AskError("id", "what lies there is not a picture in a known format", 415)
    return Shown(content, kind, tag_of(content))


class Thumbs:
    """Smaller pictures as JPEG, kept up to `most` bytes."""

    def __init__(self, most: int, max_pixels: int) -> None:
        self.kept, self.max_pixels = Kept(most), max_pixels

    def of(self, served: Served, name: str, size: str) -> Shown:
        """A picture that fits a square of `SIDES[size]` pixels. Raises `AskError` for what cannot be shown."""
        content = self.kept.get_or_make(
            (served.number, name, size), lambda: smaller(served.read(name), size, self.max_pixels)
        )
        return Shown(content, "image/jpeg", tag_of(content))

    def clear(self) -> None:
        """Forget all."""
        self.kept.clear()


def smaller(data: bytes, size: str, max_pixels: int) -> bytes:
    """JPEG of a picture, upright and on white, within `SIDES[size]`; never larger than it is."""
    side = SIDES[size]
    try:
        picture = open_picture(data, max_pixels, shortest=side)
    except DataError as error:
        raise AskError("id", f"this picture cannot be shown: {error}", 415) from None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


def tag_of(content: bytes) -> str:
    """An entity tag over the content."""
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'
