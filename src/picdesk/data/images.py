"""Picture bytes to an RGB picture with the right colours, or an error; never a blank."""

import io
import logging
import warnings
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from picdesk import machine
from picdesk.errors import DataError, broken_picture

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
CUT_SHORT = ("truncated", "broken data stream", "unexpected end", "not enough image data", "incomplete")
Kind = Literal["empty", "lfs_pointer", "unknown_format", "too_large", "truncated", "unreadable"]
MAGIC = (  # JPEG, PNG, GIF, WebP, BMP, TIFF, PNM, JPEG 2000, ICO; AVIF is told by its `ftyp`
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"RIFF",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
    b"Pf",
    b"PF",
    b"\xffO\xffQ",
    b"\0\0\0\x0cjP",
    b"\0\0\1\0",
)
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

logging.getLogger("PIL").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning, r"PIL\.")  # broken metadata; the pixels may be good


class PictureError(DataError):
    """Bytes that cannot become a picture; `kind` says in one word why."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def named_picture(
    data: bytes, name: str | int, max_pixels: int | None = None, shortest: int | None = None
) -> Image.Image:
    """As `open_picture`; the `DataError` names the picture, by id or position, and says what leaves it out."""
    try:
        return open_picture(data, max_pixels, shortest)
    except PictureError as error:
        raise broken_picture(name, error) from None


def open_picture(data: bytes, max_pixels: int | None = None, shortest: int | None = None) -> Image.Image:
    """Decode to RGB: CMYK, 16-bit and palette converted, transparency on white, EXIF turned upright, first frame.

    `shortest` lets a JPEG be decoded at a smaller scale (1/2, 1/4, 1/8) as long as neither side falls below it.
    Raises `PictureError` for bytes that are no picture, a broken or truncated one, or more than `max_pixels` pixels
    (None: 50 million).
    """
    check_head(data)
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        _check_size(image, max_pixels)
        # Only `verify` looks at the checksums of a PNG, and a picture that was verified cannot be loaded any more.
        if image.format == "PNG":
            Image.open(io.BytesIO(data), formats=["PNG"]).verify()
        if shortest is not None:
            image.draft(None, (shortest, shortest))
        turn = _turn(image)
        image.load()
        upright = image.transpose(turn) if turn is not None else image
        return _to_rgb(upright)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("unknown_format", "not a picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError("too_large", f"more than {max_pixels} pixels") from None
    except Exception as error:  # broken bytes make decoders raise nearly everything: SyntaxError, KeyError, ...
        machine.refuse(error)
        text = f"cannot be decoded ({str(error) or type(error).__name__})"
        cut = any(words in text.lower() for words in CUT_SHORT)
        raise PictureError("truncated" if cut else "unreadable", text) from None


def check_head(data: bytes) -> None:
    """Raise `PictureError` for what the first bytes show: nothing at all, a Git LFS pointer, a page of HTML."""
    if not data:
        raise PictureError("empty", "the file is empty")
    if data.startswith(b"version https://git-lfs"):
        raise PictureError("lfs_pointer", "a Git LFS pointer stands in place of the picture; run `git lfs pull`")
    if data.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or data.lstrip()[:5].lower() == b"<html":
        raise PictureError("unknown_format", "a web page stands in place of the picture")
    if not data.startswith(MAGIC) and data[4:8] != b"ftyp":
        raise PictureError("unknown_format", "not a picture in a known format")


def _formats() -> list[str]:
    """Raster formats this Pillow can read. EPS and the like, which run other programs, are not among them."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError("too_large", f"{width}x{height} is more than {max_pixels} pixels")
    if width < 1 or height < 1:
        raise PictureError("unreadable", f"a picture of {width}x{height} pixels")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright by its EXIF orientation; an EXIF block that cannot be read turns nothing."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken metadata raises as freely as broken pixels do; the pixels are still good
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if type(image) is Image.Image else image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit and 32-bit integer or float grey to 8 bits. Pillow's own conversion clips at 255, which whitens everything."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise PictureError("unreadable", f"grey values outside 0 to 65535 in mode {image.mode}")
    top = 65535.0 if image.mode != "F" or values.max() > 255 else 255.0 if values.max() > 1 else 1.0
    if image.mode == "I" and values.max() <= 255:
        top = 255.0
    grey = np.floor(values * (255 / top) + 0.5).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
