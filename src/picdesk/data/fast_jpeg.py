"""The pixels of ordinary JPEGs by simplejpeg: those of Pillow to the bit, in less time.

Both are libjpeg-turbo, which Pillow feeds piece by piece and whose rows it copies. Each brings a build of its own, so what
simplejpeg gives is compared once in each process before it is believed. It is asked only for what Pillow has opened, and what it
refuses or warns of is left to Pillow, which says what is wrong with a file, or reads it all the same. A warning of lost pixels
is passed on.
"""

import io
import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

log = logging.getLogger(__name__)
Decoder = Callable[[bytes], NDArray[np.uint8]]
FRAMES = (0xC0, 0xC2)  # baseline and progressive, in Huffman codes
WITHOUT_PIXELS = (*range(0xE0, 0xF0), 0xFE, 0xDB, 0xC4, 0xDD)  # APP0 to APP15, a comment, tables, the restart interval
SCAN = 0xDA
LARGEST = 1 << 28  # pixels; of more, the bytes are too many to be counted in 31 bits
YCBCR = b"\1\2\3"  # the numbers of the components where no marker tells the colours; "RGB" there stands for just these
DAMAGE = re.compile(r"Premature end|Inconsistent progression|Corrupt JPEG data: (?!bad ICC|\d{1,2} extraneous)")
"""Warnings of pixels that are lost; a few bytes too many before a marker are padding, and cost none."""
TRIED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("RGB", {"subsampling": "4:2:0"}),
    ("RGB", {"subsampling": "4:2:0", "progressive": True}),
    ("RGB", {"subsampling": "4:2:2", "restart_marker_blocks": 2}),
    ("RGB", {"subsampling": "4:4:4", "quality": 95}),
    ("L", {}),
)


class DamagedError(Exception):
    """Data of a JPEG in which pixels are lost. Pillow may read it all the same, with grey or with wrong blocks in their place."""


def decode_jpeg(image: Image.Image, data: bytes) -> Image.Image | None:
    """The picture in RGB, as a new one, where `image`, just opened from `data`, is an ordinary JPEG; None: Pillow shall load it.

    Ordinary is baseline or progressive, in grey or YCbCr, with nothing but well-formed segments before its first scan. None also
    where the decoder refuses it, is not installed or does not give Pillow's pixels here. Raises `DamagedError` where it warns of
    lost pixels.
    """
    if not is_ordinary(image, data) or (decode := trusted_decoder()) is None:
        return None
    return _picture(image, decode, data)


def is_ordinary(image: Image.Image, data: bytes) -> bool:
    """Whether a picture that Pillow has opened is a JPEG of the kind whose pixels are asked of another decoder."""
    if image.format != "JPEG" or image.mode not in ("RGB", "L") or image.info.get("adobe_transform", 1) != 1:
        return False
    if image.width * image.height > LARGEST:
        return False
    frame = _frame_of(data)
    if frame is None or frame[:1] != b"\x08":
        return False
    return image.mode == "L" or "jfif" in image.info or "adobe_transform" in image.info or frame[6::3] == YCBCR


def _frame_of(data: bytes) -> bytes | None:
    """The content of the frame's header; None for other kinds of frames, several, or anything odd before the first scan."""
    at, frame = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SCAN:
            return frame
        if length < 2 or (marker not in WITHOUT_PIXELS and (marker not in FRAMES or frame is not None)):
            return None
        if marker in FRAMES:
            frame = data[at + 4 : at + 2 + length]
        at += 2 + length
    return None


def _picture(image: Image.Image, decode: Decoder, data: bytes) -> Image.Image | None:
    try:
        pixels = decode(data)
    except (ValueError, RuntimeError) as error:  # an error of libjpeg or a warning; no decoder could be made
        if DAMAGE.match(str(error)):
            raise DamagedError(str(error)) from None
        return None
    if pixels.shape != (image.height, image.width, 4):
        return None
    # Pillow keeps RGB in four bytes as well. `Image.frombuffer` takes memory as it is, but none as RGB; `fromarray` copies it, at
    # a third to half of what decoding costs. So this is what `frombuffer` does; `trusted_decoder` has tried it.
    mapped = Image.core.map_buffer(pixels, image.size, "raw", 0, ("RGB", 0, 1))  # type: ignore[attr-defined]
    picture = image._new(mapped)
    picture.readonly = 1
    return picture


@cache
def trusted_decoder() -> Decoder | None:
    """Bytes to uint8 [height, width, 4], other threads going on meanwhile; None where it is missing or differs from Pillow."""
    try:
        import simplejpeg
    except ImportError:
        log.debug("JPEGs are decoded by Pillow: simplejpeg, which takes less time, is not installed")
        return None

    def decode(data: bytes) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGBX", strict=True)
        return pixels

    if not all(_agrees(decode, data) for data in _samples()):
        log.debug("JPEGs are decoded by Pillow: simplejpeg does not give the same pixels here")
        return None
    return decode


def _agrees(decode: Decoder, data: bytes) -> bool:
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    try:
        picture = _picture(image, decode, data)
    except (
        DamagedError,
        AttributeError,
        TypeError,
    ):  # the latter of a Pillow that keeps pixels otherwise, or under other names
        return False
    return picture is not None and picture.mode == "RGB" and picture.tobytes() == image.convert("RGB").tobytes()


def _samples() -> list[bytes]:
    """Small JPEGs of noise, in which each step of a decoder has something to do, of sides that fill no block."""
    values = np.random.default_rng(0).integers(0, 256, (37, 75, 3), np.uint8)
    noise = Image.fromarray(values).resize((149, 75), Image.Resampling.BICUBIC)
    made = []
    for mode, options in TRIED:
        stream = io.BytesIO()
        noise.convert(mode).save(stream, "JPEG", **options)
        made.append(stream.getvalue())
    return made
