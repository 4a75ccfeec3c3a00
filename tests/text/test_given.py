"""What somebody gives in Python is taken for what it is, or refused in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from picdesk.data.images import open_picture
from picdesk.errors import ConfigError, MissingFileError
from picdesk.text.given import content_of, list_from, number_from, path_from, text_from, texts_from, whole_number


def test_what_is_meant_is_taken(tmp_path: Path) -> None:
    assert whole_number("k", np.int64(3)) == 3
    assert whole_number("seed", 0, 0) == 0
    assert number_from("share", np.float32(0.5), "a number", 0, 1) == 0.5
    assert text_from("query", np.str_("a")) == "a"
    assert texts_from("texts", (text for text in ("a", "b"))) == ["a", "b"]
    assert list_from("ids", np.array([1, 2]), "ids") == [1, 2]
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    assert content_of("picture", file) == content_of("picture", str(file)) == content_of("picture", bytearray(b"abc"))


@pytest.mark.parametrize(
    ("take", "told"),
    [
        (lambda: whole_number("k", True), "k=True: a whole number, 1 or more"),
        (lambda: whole_number("k", 1.0), "k=1.0: a whole number"),
        (lambda: number_from("share", float("inf"), "a number"), "share=inf: a number"),
        (lambda: number_from("share", "0.5", "a number"), "share='0.5': a number"),
        (lambda: number_from("share", 10**400, "a number"), "a number"),
        (lambda: texts_from("texts", b"ab"), "texts=b'ab': a list of texts"),
        (lambda: texts_from("texts", {"a": 1}), "texts={'a': 1}: a list of texts"),
        (lambda: text_from("query", np.zeros((2, 2))), "query=array([[0., 0.], [0., 0.]]): a text is needed"),
        (lambda: path_from("file", b"a"), "file=b'a': the name of a file or a folder"),
        (lambda: content_of("picture", "a\0b"), "picture='a\\x00b': cannot be read"),
    ],
)
def test_anything_else_is_refused(take: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        take()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(MissingFileError, match="picture=/nowhere/a: no such file"):
        content_of("picture", "/nowhere/a")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_picture_that_is_open_is_its_file(tmp_path: Path, mode: str) -> None:
    noise = Image.effect_noise((40, 30), 90)
    bands = [noise.rotate(90 * i, expand=False) for i in range(len(Image.new(mode, (1, 1)).getbands()))]
    turned = Image.Exif()
    turned[0x0112] = 6
    file = tmp_path / "a.jpg"
    Image.merge(mode, bands).save(file, exif=turned)
    ours, theirs = (open_picture(content_of("picture", one)) for one in (Image.open(file), file))
    assert ours.size == (30, 40)
    assert ours.tobytes() == theirs.tobytes()
