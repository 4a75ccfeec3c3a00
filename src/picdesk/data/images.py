"""Picture bytes to an RGB picture with the right colours, or an error; never a blank."""

import io
import logging
import threading
import warnings
import zlib
from collections import Counter
from typing import Literal

from PIL import Image, UnidentifiedImageError

from picdesk.data.fast_jpeg import DamagedError, decode_jpeg
from picdesk.data.picture_depth import DepthError, deep_colours, from_grey
from picdesk.data.picture_formats import EXTRA, PLUGINS, format_of, has_plugin
from picdesk.data.png_chunks import WITHOUT_PIXELS, clear_pixels, damaged_chunks, without_damaged_words
from picdesk.errors import DataError, broken_picture
from picdesk.files import LFS_POINTER
from picdesk.process import machine
from picdesk.rasters import open_raster

MAX_PIXELS = 50_000_000
FINE = 512
"""What backbones bring a picture's shorter side to, before they cut the middle out, and some more (448 at most)."""
CUT_SHORT = ("truncated", "broken data stream", "unexpected end", "not enough image data", "incomplete")
Kind = Literal["empty", "lfs_pointer", "unknown_format", "no_plugin", "too_large", "truncated", "unreadable"]
MAX_WORDS = 1 << 20  # bytes of one text or profile of a PNG, unpacked
WORDS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
FRAMES = "pictures whose first frame is used"
CLEAR = "clear pictures, shown on white"
DEEP = "16-bit pictures that fill fewer bits"
CUT = "pictures of floats, cut at the ends of their range"
DIM = "pictures of floats that fill less than a tenth of their range"
CMYK = "CMYK pictures, turned to RGB"
DAMAGED = "JPEGs with damaged data"
ORIENTATION = 0x0112
TURNED_BY_DECODER = ("TIFF", "HEIF", "JXL")  # their plugins look at the orientation; turned again they would be wrong
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

    Values of 16 bits are taken by the bits that they fill: see `picture_depth`. `changes_of` tells what was changed.
    `shortest` lets a JPEG be decoded at a smaller scale (1/2, 1/4, 1/8) as long as neither side falls below it.
    Raises `PictureError` for bytes that are no picture, a broken or truncated one, more than `max_pixels` pixels
    (None: 50 million), and one so long and thin that resizing makes that many of it.
    """
    check_head(data)
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        return _open(data, max_pixels, shortest)
    except PictureError:
        raise
    except UnidentifiedImageError:
        told = f"begins like a picture in {format_of(data[:64])} and cannot be read as one: damaged or cut short"
        raise PictureError("unknown_format", told) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError("too_large", f"more than {max_pixels} pixels") from None
    except Exception as error:  # broken bytes make decoders raise nearly everything: SyntaxError, KeyError, ...
        machine.refuse(error)
        text = f"cannot be decoded ({' '.join(str(error).split())[:200] or type(error).__name__})"
        cut = any(words in text.lower() for words in CUT_SHORT)
        raise PictureError("truncated" if cut else "unreadable", text) from None


def changes_of(picture: Image.Image) -> tuple[str, ...]:
    """What `open_picture` changed of the picture it gave, or found damaged in it, by kind, beyond turning it upright and its
    colours to RGB."""
    changes: tuple[str, ...] = picture.info.get("changes", ())
    return changes


class Noted:
    """Opens pictures, and counts what was changed of them for a few lines at the end. Safe for threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def open(self, data: bytes, max_pixels: int | None = None, shortest: int | None = None) -> Image.Image:
        """As `open_picture`."""
        picture = open_picture(data, max_pixels, shortest)
        with self._counting:
            self.counts.update(changes_of(picture))
        return picture

    def lines(self) -> list[str]:
        """A line a kind of change: how many pictures it befell."""
        return [f"{count:,} {kind} (which: task=check)" for kind, count in sorted(self.counts.items())]


def _open(data: bytes, max_pixels: int, shortest: int | None) -> Image.Image:
    try:
        return _decode(data, max_pixels, shortest)
    except (ValueError, SyntaxError, UnidentifiedImageError) as error:  # of a PNG whose pixels may be good
        if isinstance(error, PictureError):
            raise
        if "MAX_TEXT" in str(error):  # what is written into it is larger than Pillow takes
            return _decode(without_large_words(data), max_pixels, shortest)
        damaged = damaged_chunks(data)
        if not damaged:
            raise
        if set(damaged) <= set(WITHOUT_PIXELS):
            return _decode(without_damaged_words(data), max_pixels, shortest)
        names = ", ".join(dict.fromkeys(name.decode("latin-1") for name in damaged))
        raise PictureError("unreadable", f"a PNG with a wrong checksum ({names!r})") from None


def _decode(data: bytes, max_pixels: int, shortest: int | None) -> Image.Image:
    image = open_raster(data)
    _check_size(image, max_pixels)
    # Only `verify` looks at the checksums of a PNG, and a picture that was verified cannot be loaded any more.
    if image.format == "PNG":
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
    whole = image.size
    if shortest is not None:
        image.draft(None, (shortest, shortest))
    turn = None if image.format in TURNED_BY_DECODER else _turn(image)
    found: list[str] = []
    try:
        fast = decode_jpeg(image, data) if image.size == whole else None
    except DamagedError:  # Pillow refuses it, or reads what there is
        fast, found = None, [DAMAGED]
    rgb, changes = _to_rgb(image, data) if fast is None else (fast, [])
    changes += found
    if _several(image):
        changes.append(FRAMES)
    upright = rgb.transpose(turn) if turn is not None else rgb
    upright.info["changes"] = tuple(changes)
    return upright


def without_large_words(png: bytes) -> bytes:
    """A PNG without the texts and colour profiles that are larger than 1 MB, unpacked; nothing is unpacked beyond that."""
    kept, at, room = [png[:8]], 8, 16 * MAX_WORDS
    while at + 12 <= len(png):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 12 + length
        size = _unpacked_size(kind, png[at + 8 : end - 4]) if kind in WORDS else 0
        if size <= min(MAX_WORDS - 1, room):
            kept.append(png[at:end])
            room -= size
        at = end
    return b"".join(kept) + png[at:]


def _unpacked_size(kind: bytes, content: bytes) -> int:
    """Bytes of a text or profile, at most a little more than `MAX_WORDS`; the packed ones follow a NUL and a byte or more."""
    if kind == b"tEXt":
        return len(content)
    _, _, rest = content.partition(b"\0")
    packed = rest[1:]
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return len(content)
        packed = rest[2:].split(b"\0", 2)[-1]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_WORDS + 1))
    except zlib.error:
        return len(content)


def check_head(data: bytes) -> None:
    """Raise `PictureError` for what the first bytes show: nothing at all, a Git LFS pointer, a page of HTML."""
    if not data:
        raise PictureError("empty", "the file is empty")
    if data.startswith(LFS_POINTER):
        raise PictureError("lfs_pointer", "a Git LFS pointer stands in place of the picture; run `git lfs pull`")
    if data.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or data.lstrip()[:5].lower() == b"<html":
        raise PictureError("unknown_format", "a web page stands in place of the picture")
    kind = format_of(data[:64])
    if kind is None:
        raise PictureError("unknown_format", "not a picture in a known format")
    if kind in PLUGINS and not has_plugin(kind):
        raise PictureError("no_plugin", f"a picture in {kind}, which needs a plugin: {EXTRA}")


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError("too_large", f"{width}x{height} is more than {max_pixels} pixels")
    if width < 1 or height < 1:
        raise PictureError("unreadable", f"a picture of {width}x{height} pixels")
    _check_shape(width, height, max(max_pixels, MAX_PIXELS))


def _check_shape(width: int, height: int, most: int) -> None:
    """Raise `PictureError` for a long and thin picture, of which resizing would make more than `most` pixels: 60,000 x 1 fill
    250 bytes, and would be 4 billion. Not under 50 million, as a low limit of what is decoded says nothing of shapes."""
    shorter, longer = sorted((width, height))
    if shorter < FINE and FINE * FINE * longer > most * shorter:
        told = f"at most {most // FINE**2} times as long as wide, or resizing makes more than {most} pixels of it"
        raise PictureError("too_large", f"{width}x{height} is too long and thin: {told}")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright by its EXIF orientation; an EXIF block that cannot be read turns nothing."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken metadata raises as freely as broken pixels do; the pixels are still good
        return None


def _several(image: Image.Image) -> bool:
    """Whether there are more frames or pages. A JPEG's second picture (a depth or brightness map) is no frame."""
    if image.format in ("JPEG", "MPO"):
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame; the first is good
        return True


def _to_rgb(image: Image.Image, data: bytes) -> tuple[Image.Image, list[str]]:
    """The picture, loaded, in RGB, as a new one, and the kinds of what was changed."""
    image.load()
    clear = clear_pixels(image, data)
    if clear is None:
        return _without_colour(image, data)
    del image.info["transparency"]
    rgb, changes = _without_colour(image, data)
    rgb.paste("white", mask=Image.fromarray(clear))
    return rgb, [*changes, CLEAR] if clear.any() else changes


def _without_colour(image: Image.Image, data: bytes) -> tuple[Image.Image, list[str]]:
    """As `_to_rgb`, for a picture in which no colour stands for nothing, or Pillow knows it."""
    if image.mode.startswith("I") or image.mode == "F":
        try:
            grey = from_grey(image)
        except DepthError as error:
            raise PictureError("unreadable", str(error)) from None
        kinds = {DEEP: grey.bits < 16, CUT: grey.cut, DIM: grey.dim}
        return grey.picture, [kind for kind, found in kinds.items() if found]
    deep = deep_colours(image, data)
    seen = image if deep is None else deep[0]
    changes = [] if deep is None else [DEEP]
    if seen.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in seen.info:
        rgb, clear = _on_white(seen)
        return rgb, [*changes, CLEAR] if clear else changes
    return seen.copy() if seen.mode == "RGB" else seen.convert("RGB"), [
        *changes,
        CMYK,
    ] if seen.mode == "CMYK" else changes


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture on white, and whether any of the white can be seen."""
    if image.mode == "La":
        image = image.convert("LA")
    seen = image.convert("RGBA")
    lowest, _ = seen.getchannel("A").getextrema()
    white = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(white, seen).convert("RGB"), isinstance(lowest, int | float) and lowest < 255
