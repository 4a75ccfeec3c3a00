"""A folder of pictures as they come from the wild, and worse: what each must turn into."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.samples import BLUE, GREEN, RED, WHITE, Colour, encode_image, jpeg, put

NOISE = Image.effect_noise((80, 60), 90).convert("RGB")


def cut_picture(kind: str, **options: bool) -> bytes:
    whole = encode_image(NOISE, kind, **options)
    return whole[: len(whole) // 2]


def promising(width: int) -> bytes:
    """A tiny BMP whose header promises a picture of `width` times `width`."""
    small = bytearray(encode_image(Image.new("L", (8, 8)), "BMP"))
    small[18:26] = width.to_bytes(4, "little") * 2
    return bytes(small)


def corrupt_picture() -> bytes:
    whole = bytearray(encode_image(NOISE, "PNG"))
    start = whole.index(b"IDAT") + 300
    whole[start : start + 300] = bytes(300)
    return bytes(whole)


@cache
def bad() -> dict[str, tuple[bytes, str]]:
    """Files that hold no whole picture, and what the check calls them; empty where they can be read all the same."""
    return {
        "zero.jpg": (b"", "pictures of zero bytes"),
        "lfs.jpg": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n",
            "Git LFS pointers in place of pictures",
        ),
        "words.jpg": (b"not a picture at all", "files that are no picture"),
        "page.jpg": (b"<!DOCTYPE html><title>404</title>", "files that are no picture"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n(x) show\n", "files that are no picture"),
        "vector.jpg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "files that are no picture"),
        "magic_only.jpg": (b"\xff\xd8\xff\xe0", "files that are no picture"),
        "junk_behind_magic.png": (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "files that are no picture"),
        "cut.jpg": (cut_picture("JPEG"), "pictures cut short"),
        "cut_progressive.jpg": (cut_picture("JPEG", progressive=True), "pictures cut short"),
        "cut.png": (cut_picture("PNG"), "pictures cut short"),
        "cut.bmp": (cut_picture("BMP"), "pictures cut short"),
        "cut.gif": (cut_picture("GIF"), ""),
        "cut.webp": (cut_picture("WEBP"), ""),
        "cut.tif": (cut_picture("TIFF"), ""),
        "corrupted.png": (corrupt_picture(), "pictures that cannot be decoded"),
        "bomb.png": (encode_image(Image.new("1", (9000, 9000))), "pictures with too many pixels"),
        "wide.png": (encode_image(Image.new("RGB", (60_000, 1))), "pictures with too many pixels"),
        "bomb.gif": (encode_image(Image.new("P", (8000, 8000)), "GIF"), "pictures with too many pixels"),
        "promise.bmp": (promising(60_000), "pictures with too many pixels"),
    }


def good() -> dict[str, tuple[bytes, Colour]]:
    """Odd but sound pictures, with the colour in their middle."""
    grey = np.full((30, 30), 0x8080, np.uint16)
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("RGB", (20, 20), BLUE)] * 2
    plain = Image.new("RGB", (20, 20), RED)
    return {
        "cmyk.jpg": (encode_image(plain.convert("CMYK"), "JPEG", quality=95), RED),
        "deep.png": (encode_image(Image.fromarray(grey)), (128, 128, 128)),
        "deep.tif": (encode_image(Image.fromarray(grey), "TIFF"), (128, 128, 128)),
        "palette_clear.png": (encode_image(clear.quantize(4)), WHITE),
        "grey_alpha.png": (encode_image(Image.new("LA", (20, 20), (0, 0))), WHITE),
        "turned.jpg": (encode_image(Image.new("RGB", (40, 20), GREEN), "JPEG", exif=exif, quality=95), GREEN),
        "moving.gif": (encode_image(plain, "GIF", save_all=True, append_images=frames), RED),
        "moving.webp": (encode_image(plain, "WEBP", save_all=True, append_images=frames, lossless=True), RED),
        "one_pixel.png": (encode_image(Image.new("RGB", (1, 1), BLUE)), BLUE),
        "WRONG_ENDING.JPG": (encode_image(Image.new("RGB", (20, 20), GREEN)), GREEN),
        "trailing.jpg": (jpeg(BLUE, (20, 20)) + b"x" * 99, BLUE),
        "übergroß & spaced.jpg": (jpeg(RED, (20, 20)), RED),
        "line\nbreak.jpg": (jpeg(GREEN, (20, 20)), GREEN),
    }


def make(root: Path, secret: Path) -> None:
    """All of them below `root`, and links that lead to `secret` outside."""
    for name, (data, _) in {**bad(), **good()}.items():
        put(root / name, data)
    os.mkfifo(root / "pipe.jpg")
    (root / "folder.jpg").mkdir()
    (root / "outside.jpg").symlink_to(secret)
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "dangling.jpg").symlink_to(root / "gone.jpg")
    (root / "linked").symlink_to(secret.parent)
