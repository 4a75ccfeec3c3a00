"""Small pictures for a page: each distinct one is made once, embedded once and named by a short key."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import PIL.Image
import PIL.ImageOps

from picdesk.rasters import open_raster

SIDE = 176
LEAST_TO_CHOOSE = 280  # enough for somebody who has to choose a picture
QUALITY = 68
PAPER = (255, 255, 255)


@dataclass(frozen=True)
class Thumbnail:
    """A picture as the page embeds it; `uri` is empty where the picture cannot be read."""

    key: str
    width: int
    height: int
    uri: str


class Contact:
    """The contact sheet of a page: gives each picture asked for a key, and the same key to equal pictures."""

    def __init__(self, read: Callable[[str], bytes], side: int = SIDE) -> None:
        self._read = read
        self._side = side
        self._of_id: dict[str, Thumbnail] = {}
        self._of_uri: dict[str, Thumbnail] = {}

    def of(self, picture_id: str) -> Thumbnail:
        """Thumbnail of a picture; one without `uri` if its bytes are missing or no picture."""
        if picture_id not in self._of_id:
            self._of_id[picture_id] = self._make(picture_id)
        return self._of_id[picture_id]

    def thumbnails(self) -> list[Thumbnail]:
        """Every distinct thumbnail asked for so far, in the order of asking."""
        return [thumbnail for thumbnail in self._of_uri.values() if thumbnail.uri]

    def ratio(self) -> str:
        """Width over height of the tiles: that of the middle picture, between upright 4:5 and wide 16:9."""
        shapes = sorted(thumbnail.width / thumbnail.height for thumbnail in self.thumbnails())
        return f"{min(max(shapes[len(shapes) // 2], 0.8), 16 / 9):.3f}" if shapes else "1.333"

    def _make(self, picture_id: str) -> Thumbnail:
        try:
            width, height, uri = thumbnail_uri(self._read(picture_id), self._side)
        except (OSError, KeyError, ValueError, PIL.Image.DecompressionBombError):
            return Thumbnail("", 4, 3, "")
        if uri not in self._of_uri:
            self._of_uri[uri] = Thumbnail(f"p{len(self._of_uri) + 1}", width, height, uri)
        return self._of_uri[uri]


@lru_cache(maxsize=512)  # the jobs of a sweep show much the same pictures
def thumbnail_uri(encoded: bytes, side: int = SIDE) -> tuple[int, int, str]:
    """Width, height and JPEG data URI of a picture made to fit a square of `side` pixels, upright, on white.

    Raises `OSError` or `ValueError` for bytes that are no picture.
    """
    with open_raster(encoded) as opened:
        opened.draft("RGB", (2 * side, 2 * side))
        picture = PIL.ImageOps.exif_transpose(opened)
        picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
        picture = _on_white(picture)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True, progressive=False)
    return picture.width, picture.height, "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "LA", "PA"):
        return picture.convert("RGB")
    paper = PIL.Image.new("RGB", picture.size, PAPER)
    layer = picture.convert("RGBA")
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper
