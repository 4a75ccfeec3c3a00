"""The formats that a picture is decoded from, whoever opens it: rasters. Pillow knows others that run a program on what the file
says, such as Ghostscript on EPS."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "HEIF", "JXL")

OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
ORIENTATION = 0x0112


def open_raster(picture: bytes | Path) -> Image.Image:
    """A picture, its pixels not yet decoded. Raises `OSError` for what is of no such format that this Pillow can read."""
    Image.init()
    source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])


def as_file(image: Image.Image) -> bytes:
    """A file of the same pixels, profile and orientation: PNG, or TIFF for what PNG cannot hold. Raises `OSError`."""
    turned, content = Image.Exif(), io.BytesIO()
    turned[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    image.save(content, "PNG" if image.mode in OF_PNG else "TIFF", exif=turned)
    return content.getvalue()
