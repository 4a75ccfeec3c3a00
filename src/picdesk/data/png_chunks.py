"""What a PNG says that Pillow does not apply, or refuses whole: a transparent colour, a wrong checksum beside the pixels."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.data.picture_depth import both_bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WITHOUT_PIXELS = (
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"tIME",
    b"pHYs",
    b"bKGD",
    b"sPLT",
    b"hIST",
)  # nothing that is shown hangs on these
DEPTH_AT = 24  # of the header, which comes first: bits a value


def chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each whole chunk, with its length and its checksum."""
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if end > len(png):
            return
        yield png[at + 4 : at + 8], at, end
        at = end


def damaged_chunks(png: bytes) -> list[bytes]:
    """Names of the chunks whose checksum is wrong; none for what is no PNG."""
    return [name for name, at, end in chunks(png) if _is_damaged(png, at, end)] if png.startswith(SIGNATURE) else []


def without_damaged_words(png: bytes) -> bytes:
    """The PNG without texts and the like whose checksum is wrong, as no pixel hangs on them."""
    kept, last = [png[: len(SIGNATURE)]], len(SIGNATURE)
    for name, at, end in chunks(png):
        kept += [] if name in WITHOUT_PIXELS and _is_damaged(png, at, end) else [png[at:end]]
        last = end
    return b"".join(kept) + png[last:]


def _is_damaged(png: bytes, at: int, end: int) -> bool:
    return zlib.crc32(png[at + 4 : end - 4]) != int.from_bytes(png[end - 4 : end], "big")


def clear_pixels(image: Image.Image, png: bytes) -> NDArray[np.bool_] | None:
    """Which pixels [height, width] of a loaded PNG have its transparent colour, where Pillow does not look: 2, 4 and 16 bits.

    None where there is no such colour, or Pillow applies it.
    """
    colour: Any = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(colour, int | tuple):
        return None
    seen: NDArray[Any] = np.asarray(image)
    clear: NDArray[np.bool_]
    depth = png[DEPTH_AT]
    if image.mode.startswith("I"):
        clear = seen == colour
        return clear
    if image.mode == "L" and depth in (2, 4):
        clear = seen == colour * (255 // (2**depth - 1))
        return clear
    values = both_bytes(seen, png) if image.mode == "RGB" and depth == 16 else None
    if values is None:
        return None
    clear = (values == np.array(colour)).all(axis=-1)
    return clear
