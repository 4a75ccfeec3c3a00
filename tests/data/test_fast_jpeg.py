"""Pixels of another decoder are Pillow's, and what it does not take for whole is Pillow's to judge."""

import builtins
import io
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from picdesk.data import fast_jpeg
from picdesk.data.fast_jpeg import decode_jpeg, is_ordinary, trusted_decoder
from picdesk.data.images import DAMAGED, PictureError, changes_of, open_picture
from tests.data.samples import encode_image

Outcome = tuple[Any, ...]
SIZES = [(1, 1), (1, 17), (3, 2), (8, 8), (15, 16), (17, 33), (33, 17), (65, 64)]
OPTIONS: list[dict[str, Any]] = [
    *({"subsampling": kind, "quality": quality} for kind in ("4:4:4", "4:2:2", "4:2:0") for quality in (1, 50, 100)),
    {"progressive": True},
    {"progressive": True, "subsampling": "4:4:4", "restart_marker_blocks": 1},
    {"optimize": True, "restart_marker_blocks": 3},
    {"icc_profile": bytes(range(256)) * 300, "comment": b"words"},
]
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8))


def jpeg(size: tuple[int, int] = (33, 17), mode: str = "RGB", **options: Any) -> bytes:
    return encode_image(noise(size).convert(mode), "JPEG", **options)


def without_jfif(data: bytes) -> bytes:
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + data[4 + int.from_bytes(data[4:6]) :]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def outcome(data: bytes) -> Outcome:
    try:
        picture = open_picture(data)
    except PictureError as error:
        return error.kind, str(error)
    info = picture.info | {
        "changes": tuple(kind for kind in changes_of(picture) if kind != DAMAGED)
    }  # no word of Pillow's
    return picture.mode, picture.size, picture.tobytes(), repr(sorted(info.items()))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the decoder gave pixels of."""
    trusted, told = trusted_decoder(), []
    assert trusted is not None, "the locked simplejpeg gives Pillow's pixels"

    def decode(data: bytes) -> NDArray[np.uint8]:
        pixels = trusted(data)
        told.append(data)
        return pixels

    monkeypatch.setattr(fast_jpeg, "trusted_decoder", lambda: decode)
    return told


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Outcome]:
    def look(data: bytes) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(fast_jpeg, "trusted_decoder", lambda: None)
            return outcome(data)

    return look


def ordinary() -> Iterator[bytes]:
    for size in SIZES:
        yield from (jpeg(size, **options) for options in OPTIONS)
        yield from (jpeg(size, "L", progressive=progressive) for progressive in (False, True))
        pixels = np.asarray(noise(size))
        yield from (simplejpeg.encode_jpeg(pixels, colorsubsampling=kind) for kind in ("440", "411", "Gray"))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield jpeg(exif=exif)
    plain = jpeg()
    yield without_jfif(plain)
    yield plain[:2] + ADOBE + b"\1" + without_jfif(plain)[2:]
    yield plain + b"behind the end"


def test_ordinary_pictures_have_the_same_pixels(taken: list[bytes], by_pillow: Callable[[bytes], Outcome]) -> None:
    every = list(ordinary())
    assert len(every) > 120
    for data in every:
        assert outcome(data) == by_pillow(data)
    assert taken == every


def odd() -> dict[str, bytes]:
    plain = jpeg()
    table = plain.index(b"\xff\xc4")
    frame = plain.index(b"\xff\xc0")
    return {
        "CMYK": jpeg(mode="CMYK"),
        "RGB, as Pillow marks it": (marked := jpeg(keep_rgb=True)),
        "RGB by the numbers of its components": marked[:2] + marked[4 + int.from_bytes(marked[4:6]) :],
        "RGB by Adobe's marker": plain[:2] + ADOBE + b"\0" + without_jfif(plain)[2:],
        "an unknown transform": plain[:2] + ADOBE + b"\2" + without_jfif(plain)[2:],
        "a fill byte": plain[:table] + b"\xff" + plain[table:],
        "bytes between segments": plain[:table] + b"\0\0" + plain[table:],
        "arithmetic coding": plain[: frame + 1] + b"\xc9" + plain[frame + 2 :],
        "conditions of arithmetic coding": plain[:table] + b"\xff\xcc\x00\x04\x00\x10" + plain[table:],
        "extended": plain[: frame + 1] + b"\xc1" + plain[frame + 2 :],
        "lossless": plain[: frame + 1] + b"\xc3" + plain[frame + 2 :],
        "two frames": plain[:frame] + plain[frame : frame + 19] + plain[frame:],
        "a PNG": encode_image(noise((9, 9)), "PNG"),
    }


@pytest.mark.parametrize("kind", odd())
def test_odd_pictures_are_not_asked_of_it(kind: str, taken: list[bytes], by_pillow: Callable[[bytes], Outcome]) -> None:
    data = odd()[kind]
    assert outcome(data) == by_pillow(data)
    assert not taken
    assert not is_ordinary(opened(data), data)


def test_a_picture_of_several_frames_is_not_asked_of_it(taken: list[bytes]) -> None:
    data = encode_image(noise((20, 10)), "MPO", save_all=True, append_images=[noise((20, 10))])
    assert open_picture(data).size == (20, 10)
    assert not taken


def test_twelve_bits_are_refused_as_before(taken: list[bytes], by_pillow: Callable[[bytes], Outcome]) -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    assert outcome(bytes(data)) == by_pillow(bytes(data))
    assert not taken


def test_a_smaller_scale_is_pillows(taken: list[bytes]) -> None:
    data = jpeg((64, 64))
    assert open_picture(data, shortest=16).size == (16, 16)
    assert not taken
    assert open_picture(data, shortest=40).size == (64, 64)
    assert taken == [data]


def test_too_large_is_told_before_anything_is_decoded(taken: list[bytes]) -> None:
    with pytest.raises(PictureError, match="33x17 is more than 560 pixels"):
        open_picture(jpeg(), max_pixels=560)
    assert not taken


def test_huge_pictures_are_pillows(monkeypatch: pytest.MonkeyPatch, taken: list[bytes]) -> None:
    data = jpeg()
    monkeypatch.setattr(fast_jpeg, "LARGEST", 33 * 17)
    assert open_picture(data).size == (33, 17)
    assert taken == [data]
    monkeypatch.setattr(fast_jpeg, "LARGEST", 33 * 17 - 1)
    assert open_picture(data).size == (33, 17)
    assert taken == [data]


def damaged(data: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(12):
        yield data[: chance.randrange(1, len(data))]
    yield data[:-2]
    yield data[:-1]
    for _ in range(25):
        flipped = bytearray(data)
        flipped[chance.randrange(2, len(data))] = chance.choice([0, 0xFF, chance.randrange(256)])
        yield bytes(flipped)
    for _ in range(8):
        at = chance.randrange(2, len(data))
        yield data[:at] + chance.choice([b"\xff", b"\xff\xd9", b"\xff\xd0", b"\0\0\0"]) + data[at:]
        yield data[:at] + data[at + chance.randrange(1, 40) :]
        yield data[:at] + b"\xff\xd9"


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_what_is_cut_or_damaged_is_refused_or_read_as_before(
    options: dict[str, Any], taken: list[bytes], by_pillow: Callable[[bytes], Outcome]
) -> None:
    chance = random.Random(OPTIONS.index(options))
    outcomes = []
    for data in damaged(jpeg((48, 40), **options), chance):
        found = outcome(data)
        assert found == by_pillow(data)
        outcomes.append(found[0])
    assert {"truncated", "RGB"} <= set(outcomes)


def test_a_warning_is_not_taken_for_whole(taken: list[bytes]) -> None:
    data = jpeg((48, 40), progressive=False)
    cut = data[: len(data) // 2] + b"\xff\xd9"
    picture = open_picture(cut)
    assert picture.size == (48, 40)  # grey below, as Pillow has it
    assert changes_of(picture) == (DAMAGED,)
    assert not taken


def test_lost_pixels_are_told_and_padding_is_not() -> None:
    """A stretch of zeros in the middle, as a disk leaves it; and bytes between the pixels and the last marker."""
    data = jpeg((480, 400), progressive=False, quality=90)
    middle = len(data) // 2
    zeros = data[:middle] + b"\0" * 4000 + data[middle + 4000 :]
    assert changes_of(open_picture(zeros)) == (DAMAGED,)
    for padding in (b"\0", b"\0" * 16):
        padded = data[:-2] + padding + data[-2:]
        assert changes_of(open_picture(padded)) == ()
        assert open_picture(padded).tobytes() == open_picture(data).tobytes()


def test_pixels_of_another_shape_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_jpeg, "trusted_decoder", lambda: lambda data: np.zeros((17, 32, 4), np.uint8))
    data = jpeg()
    assert decode_jpeg(opened(data), data) is None
    assert open_picture(data).size == (33, 17)


def wrong_pixels(data: bytes, *_: Any, **__: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(opened(data).convert("RGBX")).copy()
    pixels[-1, -1, 2] ^= 1
    return pixels


def refuses(*_: Any, **__: Any) -> NDArray[np.uint8]:
    raise ValueError("built for nothing")


def three_bytes(data: bytes, *_: Any, **__: Any) -> NDArray[np.uint8]:
    return np.asarray(opened(data).convert("RGB"))


@pytest.mark.parametrize("broken", [wrong_pixels, refuses, three_bytes])
def test_a_decoder_of_other_pixels_is_not_trusted(
    broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(simplejpeg, "decode_jpeg", broken)
    with caplog.at_level(logging.DEBUG, "picdesk"):
        assert trusted_decoder.__wrapped__() is None
    assert [record.message for record in caplog.records] == [
        "JPEGs are decoded by Pillow: simplejpeg does not give the same pixels here"
    ]


def test_a_pillow_that_keeps_pixels_otherwise_decodes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.core, "map_buffer", None)
    assert trusted_decoder.__wrapped__() is None


def test_the_picture_is_one_of_its_own(taken: list[bytes]) -> None:
    data = jpeg()
    one, other = open_picture(data), open_picture(data)
    before = other.tobytes()
    one.paste((1, 2, 3), (0, 0, 33, 17))
    assert one.getpixel((5, 5)) == (1, 2, 3)
    assert other.tobytes() == before == open_picture(data).tobytes()
    assert one.convert("RGBX").getpixel((5, 5)) == (1, 2, 3, 255)
    assert np.asarray(other).tobytes() == before
    assert len(taken) == 3


def test_each_kind_of_coding_is_tried() -> None:
    kinds = {(opened(data).mode, "progressive" in opened(data).info) for data in fast_jpeg._samples()}
    assert kinds == {("RGB", False), ("RGB", True), ("L", False)}
    samplings = {opened(data).layer[0][1:3] for data in fast_jpeg._samples()}  # type: ignore[attr-defined]
    assert samplings == {(2, 2), (2, 1), (1, 1)}


def test_without_it_pillow_decodes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "simplejpeg":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with caplog.at_level(logging.DEBUG, "picdesk"):
        assert trusted_decoder.__wrapped__() is None
    assert "is not installed" in caplog.text


def test_memory_that_runs_out_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(data: bytes) -> NDArray[np.uint8]:
        raise MemoryError

    monkeypatch.setattr(fast_jpeg, "trusted_decoder", lambda: no_room)
    with pytest.raises(Exception, match="memory"):
        open_picture(jpeg())


def test_threads_decode_side_by_side(taken: list[bytes], by_pillow: Callable[[bytes], Outcome]) -> None:
    every = [*ordinary()][:60] + [data[: len(data) * 2 // 3] for data in [*ordinary()][:60]]
    expected = [by_pillow(data) for data in every]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(outcome, every)) == expected


def test_pythons_lock_is_free_while_it_decodes() -> None:
    """While one thread decodes a large picture, another goes on."""
    decode = trusted_decoder()
    assert decode is not None
    data = jpeg((2500, 2500))
    done, counts = threading.Event(), [0]

    def tick() -> None:
        while not done.is_set():
            counts[0] += 1
            time.sleep(0.001)

    other = threading.Thread(target=tick)
    other.start()
    before = counts[0]
    decode(data)
    during = counts[0] - before
    done.set()
    other.join()
    assert during >= 3
