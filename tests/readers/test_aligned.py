"""Lists of pictures and files of captions that belong together line by line."""

import gzip
from pathlib import Path

import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.readers.aligned import Aligned
from tests.data.samples import colour, jpeg, pairs, put, reasons


def lines(root: Path) -> None:
    for n in range(3):
        put(root / "pics" / f"{n}.jpg", jpeg(colour(n)))
    put(root / "train.txt", "0.jpg\n1.jpg\n")
    put(root / "test.txt", "2.jpg\n")
    for number in (1, 2):
        put(root / f"train.{number}.gz", gzip.compress(f"zero {number}\none {number}\n".encode()))
        put(root / f"test.{number}.gz", gzip.compress(f"two {number}".encode()))


def test_each_line_is_a_caption_of_the_picture_in_that_line(tmp_path: Path) -> None:
    lines(tmp_path)
    found = Aligned(
        root=str(tmp_path),
        pictures={"train": "train.txt", "test": "test.txt"},
        captions={split: [f"{split}.1.gz", f"{split}.2.gz"] for split in ("train", "test")},
        folder="pics",
    ).read()
    assert found.official == ("train", "train", "test")
    assert [fields["caption"] for fields in found.texts] == ["zero 1", "zero 2", "one 1", "one 2", "two 1", "two 2"]
    assert pairs(found)["2.jpg#1"] == "2.jpg"


def test_files_of_other_lengths_are_refused_not_cut(tmp_path: Path) -> None:
    lines(tmp_path)
    put(tmp_path / "short.txt", "zero\n")
    with pytest.raises(DataError, match=r"train\.txt has 2 lines and short\.txt 1; line by line"):
        Aligned(root=str(tmp_path), pictures="train.txt", captions="short.txt", folder="pics").read()
    with pytest.raises(ConfigError, match=r"data\.pictures names the splits 'train'"):
        Aligned(root=str(tmp_path), pictures={"train": "train.txt"}, captions={"val": "short.txt"})


def test_a_line_without_its_picture_shifts_none(tmp_path: Path) -> None:
    lines(tmp_path)
    put(tmp_path / "list.txt", "0.JPG\n\ngone.jpg\n2\n")
    put(tmp_path / "said.txt", "zero\r\nnobody\r\nlost\r\ntwo\r\n")
    found = Aligned(root=str(tmp_path), pictures="list.txt", captions="said.txt", folder="pics").read()
    assert [fields["caption"] for fields in found.texts] == ["zero", "two"]
    assert reasons(found) == ["list.txt line 2: no picture is named", "list.txt line 3: no file 'gone.jpg'"]
