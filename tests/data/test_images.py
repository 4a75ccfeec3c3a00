import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from picdesk.data import picture_formats
from picdesk.data.images import CLEAR, CMYK, CUT, DEEP, DIM, FRAMES, Noted, PictureError, changes_of, open_picture
from picdesk.data.picture_formats import ENDINGS, UNREAD, format_of
from tests.data.samples import BLUE, GREEN, RED, WHITE, encode_image, is_near, jpeg, seen_colour

HALVES = Image.new("RGB", (40, 20), RED)
HALVES.paste(BLUE, (0, 0, 20, 20))


def test_cmyk_is_not_inverted() -> None:
    assert is_near(seen_colour(encode_image(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)), RED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.full((10, 10), 0x4000, np.uint16)
    values[:, 5:] = 0xC000
    picture = np.asarray(open_picture(encode_image(Image.fromarray(values), kind)))
    assert picture[5, 1].tolist() == [64, 64, 64]
    assert picture[5, 8].tolist() == [191, 191, 191]


def test_float_grey_of_zero_to_one() -> None:
    picture = open_picture(encode_image(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"))
    assert picture.getpixel((1, 1)) == (128, 128, 128)


def test_floats_that_are_no_grey_are_refused() -> None:
    with pytest.raises(PictureError, match="grey values outside"):
        open_picture(encode_image(Image.fromarray(np.full((4, 4), -3.0, np.float32)), "TIFF"))


def test_palette_with_alpha_stands_on_white() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((*GREEN, 255), (0, 0, 10, 20))
    picture = open_picture(encode_image(image.quantize(8), "PNG"))
    assert picture.mode == "RGB"
    assert is_near(picture.getpixel((3, 10)), GREEN)  # type: ignore[arg-type]
    assert picture.getpixel((16, 10)) == WHITE


def test_palette_with_one_clear_entry_stands_on_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *BLUE])
    image.paste(0, (0, 0, 4, 8))
    picture = open_picture(encode_image(image, "GIF", transparency=0))
    assert picture.getpixel((1, 4)) == WHITE
    assert picture.getpixel((6, 4)) == BLUE


@pytest.mark.parametrize(("mode", "value"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_clear_pictures_are_white(mode: str, value: tuple[int, ...]) -> None:
    assert open_picture(encode_image(Image.new(mode, (5, 5), value))).getpixel((2, 2)) == WHITE


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
    picture = open_picture(encode_image(HALVES, "PNG", exif=exif))
    assert picture.size == size
    assert is_near(picture.getpixel((int(blue_at[0] * size[0]), int(blue_at[1] * size[1]))), BLUE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "deep"),
    [("PNG", False), ("JPEG", False), ("TIFF", False), ("WEBP", False), ("AVIF", False), ("PNG", True), ("TIFF", True)],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once_in_every_format(kind: str, deep: bool, orientation: int) -> None:
    values = np.zeros((16, 32), np.uint16 if deep else np.uint8)
    values[:8, :16] = 4095 if deep else 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": exif} if kind == "TIFF" else {"exif": exif}
    data = encode_image(Image.fromarray(values), kind, **options)
    picture = open_picture(data)
    assert picture.size == ((16, 32) if orientation > 4 else (32, 16))
    corners = {"left top": (3, 3), "right top": (-4, 3), "left low": (3, -4), "right low": (-4, -4)}
    seen = np.asarray(picture)[..., 0]
    bright = [name for name, (x, y) in corners.items() if seen[y, x] > 200]
    wanted = ["left top", "right top", "right low", "left low", "left top", "right top", "right low", "left low"]
    assert bright == [wanted[orientation - 1]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    rest = [Image.new("RGB", (16, 16), BLUE)] * 2
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encode_image(Image.new("RGB", (16, 16), RED), kind, save_all=True, append_images=rest, **lossless)
    assert is_near(seen_colour(data), RED)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr"])
def test_plain_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "YCbCr" else "PNG"
    picture = open_picture(encode_image(Image.new("RGB", (9, 9), "white").convert(mode), kind))
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
    whole = encode_image(NOISE, kind, **options)
    with pytest.raises(PictureError) as error:
        open_picture(whole[: int(len(whole) * kept)])
    assert error.value.kind in ("truncated", "unreadable", "unknown_format")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_truncation_is_called_by_its_name(kind: str) -> None:
    whole = encode_image(NOISE, kind)
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
    whole = bytearray(encode_image(NOISE, "PNG"))
    start = whole.index(b"IDAT") + 200
    whole[start : start + 400] = bytes(400)
    with pytest.raises(PictureError):
        open_picture(bytes(whole))


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureError, match="8000x8000 is more than 50000000 pixels") as error:
        open_picture(encode_image(Image.new("1", (8000, 8000))))
    assert error.value.kind == "too_large"


def test_a_picture_that_resizing_would_blow_up_is_refused_and_a_banner_is_not() -> None:
    for size, limit in (((60_000, 1), None), ((1, 8_000), None), ((200, 1), 1_000), ((19_500, 100), None)):
        with pytest.raises(PictureError, match=f"{size[0]}x{size[1]} is too long and thin: at most 190 times") as error:
            open_picture(encode_image(Image.new("RGB", size)), limit)
        assert error.value.kind == "too_large"
    for size, limit in (((190, 1), 1_000), ((1, 190), None), ((19_000, 100), None), ((1_900, 1), 500_000_000)):
        assert open_picture(encode_image(Image.new("RGB", size)), limit).size == size


def test_a_header_that_promises_far_too_much() -> None:
    small = bytearray(encode_image(Image.new("L", (8, 8)), "BMP"))
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
    assert is_near(picture.getpixel((50, 30)), GREEN)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_leaves_the_pixels() -> None:
    data = io.BytesIO()
    HALVES.save(data, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage", quality=95)
    assert open_picture(data.getvalue()).size == (40, 20)


def test_bytes_behind_the_picture_do_no_harm() -> None:
    assert is_near(seen_colour(jpeg(RED) + b"trailing advertisement" * 9), RED)


def png16(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a value, [height, width, 1 to 4 of grey, grey and alpha, RGB, RGBA], which Pillow does not write."""
    height, width, colours = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[colours]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content) for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    )


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The chunks behind the header."""
    return png[:33] + b"".join(chunks) + png[33:]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("colours", [1, 2, 3, 4])
def test_fewer_bits_than_sixteen_are_not_black(bits: int, colours: int) -> None:
    values = np.zeros((4, 6, colours), np.uint16)
    values[:, 3:] = 2**bits - 1
    values[:, :2] = 2 ** (bits - 1)
    if colours in (2, 4):
        values[..., -1] = 2**bits - 1
    picture = open_picture(png16(values))
    assert [picture.getpixel((x, 1)) for x in (0, 2, 5)] == [(128,) * 3, (0,) * 3, WHITE]
    assert changes_of(picture) == (DEEP,)


def test_an_opaque_alpha_of_sixteen_bits_beside_twelve_of_colour() -> None:
    values = np.full((3, 3, 4), 4095, np.uint16)
    values[..., 1], values[..., 3] = 0, 65535
    picture = open_picture(png16(values))
    assert picture.getpixel((1, 1)) == (255, 0, 255)
    assert changes_of(picture) == (DEEP,)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_of_twelve_bits_and_one_where_white_is_zero(compression: str | None) -> None:
    values = np.full((5, 5), 4095, np.uint16)
    values[:, :2] = 0
    assert (
        open_picture(encode_image(Image.fromarray(values), "TIFF", compression=compression)).getpixel((4, 4)) == WHITE
    )
    turned = encode_image(Image.fromarray(values), "TIFF", compression=compression, tiffinfo={262: 0})
    assert open_picture(turned).getpixel((4, 4)) == (0, 0, 0)
    assert open_picture(turned).getpixel((0, 0)) == WHITE


def test_what_a_tiff_says_of_its_largest_value_counts() -> None:
    dark = encode_image(Image.fromarray(np.full((5, 5), 2048, np.uint16)), "TIFF", tiffinfo={281: 65535})
    picture = open_picture(dark)
    assert (picture.getpixel((1, 1)), changes_of(picture)) == ((8, 8, 8), ())


def test_sixteen_full_bits_of_colour_are_as_before() -> None:
    values = np.random.default_rng(1).integers(0, 65536, (9, 9, 3)).astype(np.uint16)
    picture = open_picture(png16(values))
    assert (np.asarray(picture) == values >> 8).all()
    assert changes_of(picture) == ()
    assert open_picture(png16(np.zeros((2, 2, 3), np.uint16))).getpixel((0, 0)) == (0, 0, 0)


LONG = b"a workflow " * 200_000
CHUNKS: dict[str, Callable[[], bytes]] = {
    "zTXt": lambda: chunk(b"zTXt", b"prompt\0\0" + zlib.compress(LONG)),
    "iTXt": lambda: chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LONG)),
    "iTXt plain": lambda: chunk(b"iTXt", b"prompt\0\0\0\0\0" + LONG),
    "tEXt": lambda: chunk(b"tEXt", b"prompt\0" + LONG) * 35,
    "iCCP": lambda: chunk(b"iCCP", b"wide\0\0" + zlib.compress(LONG)),
    "a bomb": lambda: chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(40_000_000), 1)),
    "not packed": lambda: chunk(b"zTXt", b"prompt\0\0" + b"junk" * 9) + CHUNKS["zTXt"](),
}
"""Long texts in a PNG, made where they are asked for: together they are 80 MB."""


@pytest.mark.parametrize("kind", CHUNKS)
def test_large_texts_and_profiles_leave_the_pixels(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    png = encode_image(HALVES, "PNG", exif=exif)
    added = CHUNKS[kind]()
    for data in (with_chunks(png, added), png[:-12] + added + png[-12:]):
        picture = open_picture(data)
        assert (picture.size, picture.getpixel((10, 3))) == ((20, 40), BLUE)


def test_pixels_damaged_beside_large_texts_are_still_an_error() -> None:
    data = bytearray(with_chunks(encode_image(NOISE, "PNG"), CHUNKS["zTXt"]()))
    data[data.index(b"IDAT") + 300] ^= 0xFF
    with pytest.raises(PictureError):
        open_picture(bytes(data))


def test_what_was_changed_is_told() -> None:
    plain, clear = Image.new("RGB", (8, 8), RED), Image.new("RGBA", (8, 8), (9, 9, 9, 90))
    moving = encode_image(plain, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    cases: list[tuple[bytes, tuple[str, ...]]] = [
        (encode_image(plain), ()),
        (encode_image(plain, "GIF"), ()),
        (encode_image(plain.convert("RGBA")), ()),
        (encode_image(clear), (CLEAR,)),
        (encode_image(clear, "WEBP"), (CLEAR,)),
        (moving, (FRAMES,)),
        (encode_image(plain, "TIFF", save_all=True, append_images=[plain]), (FRAMES,)),
        (encode_image(plain.convert("CMYK"), "JPEG"), (CMYK,)),
    ]
    noted = Noted()
    for data, changes in cases:
        assert changes_of(noted.open(data)) == changes
    assert noted.counts == {CLEAR: 2, FRAMES: 2, CMYK: 1}
    assert [line[:2] for line in noted.lines()] == ["1 ", "2 ", "2 "]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_that_is_looked_for_can_be_decoded(ending: str) -> None:
    if ending in ("heic", "heif", "hif"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    if ending == "jxl":
        pytest.importorskip("pillow_jxl")
    if ending == "pfm":
        data = b"Pf\n2 2\n-1.0\n" + np.full((2, 2), 0.5, "<f4").tobytes()
        assert open_picture(data).getpixel((1, 1)) == (128, 128, 128)
        return
    Image.init()
    mode = {"pbm": "1", "pgm": "L"}.get(ending, "RGB")
    data = encode_image(Image.new(mode, (32, 32), "white"), Image.registered_extensions()[f".{ending}"])
    assert is_near(seen_colour(data), WHITE)
    assert not set(ENDINGS) & set(UNREAD)


@pytest.mark.parametrize(("kind", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_without_its_plugin_a_picture_names_the_extra(kind: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = {"HEIF": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "JXL": b"\xff\x0a\0\0"}
    assert format_of(heads[kind]) == kind
    picture_formats.has_plugin.cache_clear()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(picture_formats.importlib, "import_module", absent)
    with pytest.raises(
        PictureError, match=rf"a picture in {kind}, which needs a plugin: pip install 'picdesk\[formats\]'"
    ) as error:
        open_picture(heads[kind])
    assert error.value.kind == "no_plugin"
    picture_formats.has_plugin.cache_clear()
    monkeypatch.undo()


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", b"RIFF\x24\0\0\0WAVEfmt ", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "]
)
def test_films_and_sounds_are_no_pictures(head: bytes) -> None:
    assert format_of(head) is None
    with pytest.raises(PictureError, match="not a picture in a known format"):
        open_picture(head + bytes(99))


@pytest.mark.parametrize(("top", "over"), [(1.0, 1.02), (1.0, 1.9), (255.0, 262.0), (65535.0, 66000.0)])
def test_floats_a_little_outside_their_range_are_not_black(top: float, over: float) -> None:
    values = np.full((4, 4), top / 2, np.float32)
    values[0, 0], values[0, 1] = over, -0.01 * top
    picture = open_picture(encode_image(Image.fromarray(values), "TIFF"))
    assert [picture.getpixel(at) for at in ((2, 2), (0, 0), (1, 0))] == [(128,) * 3, WHITE, (0,) * 3]
    assert changes_of(picture) == (CUT,)


def test_dim_floats_are_told() -> None:
    picture = open_picture(encode_image(Image.fromarray(np.full((4, 4), 9, np.float32)), "TIFF"))
    assert (picture.getpixel((1, 1)), changes_of(picture)) == ((9, 9, 9), (DIM,))
    dark = open_picture(encode_image(Image.fromarray(np.full((4, 4), 0.01, np.float32)), "TIFF"))
    assert changes_of(dark) == ()


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("value", [300, 40_000])
def test_a_transparent_colour_of_sixteen_bits_is_white(colours: int, value: int) -> None:
    values = np.full((4, 4, colours), 20_000, np.uint16)
    values[:2] = value
    clear = chunk(b"tRNS", struct.pack(">H", value) * colours)
    picture = open_picture(with_chunks(png16(values), clear))
    assert [picture.getpixel((1, y)) for y in (1, 3)] == [WHITE, (78,) * 3]
    assert changes_of(picture) == (CLEAR,)
    other = open_picture(with_chunks(png16(values), chunk(b"tRNS", struct.pack(">H", 7) * colours)))
    assert changes_of(other) == ()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_is_white(depth: int) -> None:
    header = struct.pack(">IIBBBBB", 8 // depth, 1, depth, 0, 0, 0, 0)
    content = ((b"IHDR", header), (b"tRNS", b"\0\1"), (b"IDAT", zlib.compress(b"\0\1")), (b"IEND", b""))
    picture = open_picture(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in content))
    assert picture.getpixel((8 // depth - 1, 0)) == WHITE
    assert changes_of(picture) == (CLEAR,)


def with_wrong_checksum(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("name", [b"tEXt", b"iTXt", b"tIME"])
def test_a_wrong_checksum_beside_the_pixels_is_no_harm(name: bytes) -> None:
    png = encode_image(HALVES, "PNG")
    words = with_wrong_checksum(chunk(name, b"author\0me\0\0\0\0"))
    for damaged in (with_chunks(png, words), png[:-12] + words + png[-12:]):
        assert open_picture(damaged).tobytes() == HALVES.tobytes()


def test_a_wrong_checksum_in_what_is_shown_is_named() -> None:
    png = encode_image(HALVES, "PNG")
    with pytest.raises(PictureError, match=r"a PNG with a wrong checksum \('tRNS'\)"):
        open_picture(with_chunks(png, with_wrong_checksum(chunk(b"tRNS", bytes(6)))))
    with pytest.raises(PictureError, match=r"a PNG with a wrong checksum \('IHDR'\)"):
        open_picture(png[:32] + bytes([png[32] ^ 1]) + png[33:])
    with pytest.raises(PictureError, match="begins like a picture in JPEG and cannot be read as one"):
        open_picture(b"\xff\xd8\xff" + bytes(range(256)))
