import io

import numpy as np
import pytest
from PIL import Image

from picdesk.data.images import PictureError, open_picture
from tests.data.samples import BLUE, GREEN, RED, WHITE, encoded, jpeg, near, seen_colour

HALVES = Image.new("RGB", (40, 20), RED)
HALVES.paste(BLUE, (0, 0, 20, 20))


def test_cmyk_is_not_inverted() -> None:
    assert near(seen_colour(encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)), RED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.full((10, 10), 0x4000, np.uint16)
    values[:, 5:] = 0xC000
    picture = np.asarray(open_picture(encoded(Image.fromarray(values), kind)))
    assert picture[5, 1].tolist() == [64, 64, 64]
    assert picture[5, 8].tolist() == [191, 191, 191]


def test_float_grey_of_zero_to_one() -> None:
    picture = open_picture(encoded(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"))
    assert picture.getpixel((1, 1)) == (128, 128, 128)


def test_floats_that_are_no_grey_are_refused() -> None:
    with pytest.raises(PictureError, match="grey values outside"):
        open_picture(encoded(Image.fromarray(np.full((4, 4), -3.0, np.float32)), "TIFF"))


def test_palette_with_alpha_stands_on_white() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((*GREEN, 255), (0, 0, 10, 20))
    picture = open_picture(encoded(image.quantize(8), "PNG"))
    assert picture.mode == "RGB"
    assert near(picture.getpixel((3, 10)), GREEN)  # type: ignore[arg-type]
    assert picture.getpixel((16, 10)) == WHITE


def test_palette_with_one_clear_entry_stands_on_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *BLUE])
    image.paste(0, (0, 0, 4, 8))
    picture = open_picture(encoded(image, "GIF", transparency=0))
    assert picture.getpixel((1, 4)) == WHITE
    assert picture.getpixel((6, 4)) == BLUE


@pytest.mark.parametrize(("mode", "value"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_clear_pictures_are_white(mode: str, value: tuple[int, ...]) -> None:
    assert open_picture(encoded(Image.new(mode, (5, 5), value))).getpixel((2, 2)) == WHITE


@pytest.mark.parametrize(
    ("orientation", "size", "blue_at"),
    [
        (1, (40, 20), (0.1, 0.5)),
        (2, (40, 20), (0.9, 0.5)),
        (3, (40, 20), (0.9, 0.5)),
        (4, (40, 20), (0.1, 0.5)),
        (5, (20, 40), (0.5, 0.1)),
        (6, (20, 40), (0.5, 0.1)),
        (7, (20, 40), (0.5, 0.9)),
        (8, (20, 40), (0.5, 0.9)),
    ],
)
def test_exif_turns_upright(orientation: int, size: tuple[int, int], blue_at: tuple[float, float]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(HALVES, "PNG", exif=exif))
    assert picture.size == size
    assert near(picture.getpixel((int(blue_at[0] * size[0]), int(blue_at[1] * size[1]))), BLUE)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    rest = [Image.new("RGB", (16, 16), BLUE)] * 2
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.new("RGB", (16, 16), RED), kind, save_all=True, append_images=rest, **lossless)
    assert near(seen_colour(data), RED)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr"])
def test_plain_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "YCbCr" else "PNG"
    picture = open_picture(encoded(Image.new("RGB", (9, 9), "white").convert(mode), kind))
    assert (picture.mode, picture.getpixel((4, 4))) == ("RGB", WHITE)


NOISE = Image.effect_noise((64, 64), 80).convert("RGB")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
    ],
)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_an_error_never_grey(kind: str, options: dict[str, bool], kept: float) -> None:
    whole = encoded(NOISE, kind, **options)
    with pytest.raises(PictureError) as error:
        open_picture(whole[: int(len(whole) * kept)])
    assert error.value.kind in ("truncated", "unreadable", "unknown_format")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_truncation_is_called_by_its_name(kind: str) -> None:
    whole = encoded(NOISE, kind)
    with pytest.raises(PictureError) as error:
        open_picture(whole[: len(whole) // 2])
    assert error.value.kind == "truncated"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "lfs_pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "unknown_format"),
        (b"just some words", "unknown_format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown_format"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unknown_format"),
        (b"\xff\xd8\xff" + bytes(range(256)) * 4, "unknown_format"),
        (b"\x89PNG\r\n\x1a\n", "unknown_format"),
    ],
)
def test_what_is_no_picture(data: bytes, kind: str) -> None:
    with pytest.raises(PictureError) as error:
        open_picture(data)
    assert error.value.kind == kind


def test_broken_pixels_are_an_error() -> None:
    whole = bytearray(encoded(NOISE, "PNG"))
    start = whole.index(b"IDAT") + 200
    whole[start : start + 400] = bytes(400)
    with pytest.raises(PictureError):
        open_picture(bytes(whole))


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureError, match="8000x8000 is more than 50000000 pixels") as error:
        open_picture(encoded(Image.new("1", (8000, 8000))))
    assert error.value.kind == "too_large"


def test_a_header_that_promises_far_too_much() -> None:
    small = bytearray(encoded(Image.new("L", (8, 8)), "BMP"))
    small[18:26] = (60_000).to_bytes(4, "little") * 2
    with pytest.raises(PictureError) as error:
        open_picture(bytes(small))
    assert error.value.kind == "too_large"


def test_max_pixels_counts_the_last_one() -> None:
    data = jpeg(RED, (20, 10))
    assert open_picture(data, max_pixels=200).size == (20, 10)
    with pytest.raises(PictureError):
        open_picture(data, max_pixels=199)


def test_a_smaller_scale_keeps_the_shortest_side() -> None:
    data = jpeg(GREEN, (800, 600))
    picture = open_picture(data, shortest=70)
    assert picture.size == (100, 75)
    assert near(picture.getpixel((50, 30)), GREEN)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_leaves_the_pixels() -> None:
    data = io.BytesIO()
    HALVES.save(data, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage", quality=95)
    assert open_picture(data.getvalue()).size == (40, 20)


def test_bytes_behind_the_picture_do_no_harm() -> None:
    assert near(seen_colour(jpeg(RED) + b"trailing advertisement" * 9), RED)
