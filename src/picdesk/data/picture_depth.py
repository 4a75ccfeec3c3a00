"""Pictures of 16 bits and more a value, brought to 8: by the bits that their values fill, so that none comes out black."""

import io
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
FLOAT_TOPS, OVERSHOOT, UNDERSHOOT, DIM = (1.0, 255.0, 65535.0), 2, 0.25, 0.1
AS_STORED = ("PNG", "TIFF")  # the decoders of the other formats bring fewer bits to 16 themselves
MAX_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 281, 262, 0  # tags of TIFF 6.0
LOW = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


class DepthError(Exception):
    """Values that no rule here knows as grey; the text says which."""


def bits_of(values: NDArray[Any], image: Image.Image) -> int:
    """How many bits the values fill: 8, 10, 12, 14 or 16, the fewest that hold the brightest one.

    A 12-bit camera whose values were stored in a 16-bit file as they were would otherwise come out at a sixteenth of its
    brightness. What a TIFF says of its largest value goes before what is found.
    """
    if image.format not in AS_STORED:
        return 16
    said = image.tag_v2.get(MAX_SAMPLE) if hasattr(image, "tag_v2") else None
    found = int(values.max(initial=0))
    most = max(found, *(int(value) for value in np.ravel(said))) if said is not None else found
    return next((bits for bits in DEPTHS if most < 2**bits), 16)


class Grey(NamedTuple):
    """A grey picture in RGB: the bits that it fills (16 for floats); of floats whether some were cut, whether all are dim."""

    picture: Image.Image
    bits: int
    cut: bool = False
    dim: bool = False


def from_grey(image: Image.Image) -> Grey:
    """A grey picture of 16 or 32 bits, or of floats, as RGB.

    Pillow's own conversion clips at 255, which whitens everything. Floats go from 0 to 1, to 255 or to 65,535, whichever they
    need; what a filter left a little outside is cut. Raises `DepthError` for values outside 0 to 65,535.
    """
    values = np.asarray(image).astype(np.float64)
    floats = image.mode == "F"
    most = float(values.max()) if np.isfinite(values).all() else np.inf
    bits = 16 if floats else bits_of(values, image)
    top = next((top for top in FLOAT_TOPS if most <= OVERSHOOT * top), 0.0) if floats else 2.0**bits - 1
    lowest = -UNDERSHOOT * top if floats else 0
    if not top or most > (OVERSHOOT if floats else 1) * 65535 or values.min() < lowest:
        raise DepthError(f"grey values outside 0 to 65535 in mode {image.mode}")
    inside = values.clip(0, top) if floats else values
    grey = np.floor(inside * (255 / top) + 0.5).astype(np.uint8)
    if hasattr(image, "tag_v2") and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey  # which Pillow does for 8 bits alone
    dim = floats and top > 1 and most < DIM * top
    return Grey(Image.fromarray(grey).convert("RGB"), bits, bool((inside != values).any()), dim)


def deep_colours(image: Image.Image, data: bytes) -> tuple[Image.Image, int] | None:
    """A picture of 16 bits a colour that fills fewer, as its mode with 8 bits, and the bits that it fills; else None.

    `image` is loaded, by its high bytes, as Pillow reads such pictures; only where these are all small, the low ones are read.
    """
    if image.mode not in ("RGB", "RGBA") or image.format not in AS_STORED:
        return None
    high = np.asarray(image)
    if high[..., :3].max(initial=0) >= 64 or not _is_deep(data):
        return None
    values = both_bytes(high, data)
    if values is None:
        return None
    colours, alpha = values[..., :3], values[..., 3:]
    bits, of_alpha = bits_of(colours, image), bits_of(alpha, image)
    if bits == 16:
        return None
    parts = [_eight(colours, bits), _eight(alpha, of_alpha)] if alpha.size else [_eight(colours, bits)]
    return Image.fromarray(np.concatenate(parts, axis=-1)), bits


def _is_deep(data: bytes) -> bool:
    return any("16" in raw for tile in Image.open(io.BytesIO(data), formats=AS_STORED).tile for raw in _raw_modes(tile))


def _raw_modes(tile: Any) -> list[str]:
    return [tile.args] if isinstance(tile.args, str) else [arg for arg in tile.args or () if isinstance(arg, str)][:1]


def both_bytes(high: NDArray[np.uint8], data: bytes) -> NDArray[np.uint16] | None:
    """Values of 16 bits [height, width, colours]: the decoder is asked again, for the byte that it leaves out."""
    low = Image.open(io.BytesIO(data), formats=AS_STORED)
    if any(
        raw == "LA;16B" for tile in low.tile for raw in _raw_modes(tile)
    ):  # four bytes: grey, alpha, each high and low
        low.tile = [tile._replace(args="RGBA") for tile in low.tile]
        low.load()
        pairs = np.asarray(low).astype(np.uint16)
        grey, alpha = (pairs[..., at] * 256 + pairs[..., at + 1] for at in (0, 2))
        return np.stack([grey, grey, grey, alpha], axis=-1)
    swapped = []
    for tile in low.tile:
        raw = _raw_modes(tile)[0]
        if raw[-3:] not in LOW:
            return None
        other = raw[:-3] + LOW[raw[-3:]]
        swapped.append(tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other))
    low.tile = swapped
    low.load()
    both: NDArray[np.uint16] = high.astype(np.uint16) * 256 + np.asarray(low)
    return both


def _eight(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    eight: NDArray[np.uint8] = np.floor(values * (255 / (2.0**bits - 1)) + 0.5).astype(np.uint8)
    return eight
