import os
from pathlib import Path

import pytest

from picdesk.data.readers import Folder
from picdesk.errors import DataError
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons


def test_a_gallery_without_texts(tmp_path: Path) -> None:
    for n, name in enumerate(("b/2.JPG", "a.jpeg", "b/c/1.png", ".hidden.jpg", "b/.cache/x.jpg")):
        put(tmp_path / name, jpeg(colour(n)))
    put(tmp_path / "notes.md", "x")
    collection = Folder(root=str(tmp_path)).read()
    check_pictures(collection, {"a.jpeg": colour(1), "b/2.JPG": colour(0), "b/c/1.png": colour(2)})
    assert collection.text_ids == ()
    assert collection.notes == ("1 files are neither pictures nor their captions: 'notes.md'",)
    assert collection.take(collection.picture_of).picture_ids == () if len(collection.picture_of) else True


def test_captions_beside_their_pictures(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / f"{n}.jpg", jpeg(colour(n)))
    put(tmp_path / "0.txt", b"\xef\xbb\xbfone\r\n\r\ntwo\r\n")
    put(tmp_path / "2.txt", b"caf\xe9\n")
    put(tmp_path / "alone.txt", "x")
    collection = Folder(root=str(tmp_path)).read()
    assert pairs(collection) == {"0.jpg#0": "0.jpg", "0.jpg#1": "0.jpg", "2.jpg#0": "2.jpg"}
    assert [fields["caption"] for fields in collection.texts] == ["one", "two", "café"]
    assert "alone.txt" in collection.notes[-1]
    assert "2.txt: not UTF-8" in collection.notes[0]


def test_a_caption_ends_at_a_line_end_alone(tmp_path: Path) -> None:
    put(tmp_path / "0.jpg", jpeg(colour(0)))
    put(tmp_path / "0.txt", "one\u2028caption\u0085here\rtwo\n".encode())
    assert [fields["caption"] for fields in Folder(root=str(tmp_path)).read().texts] == [
        "one\u2028caption\u0085here",
        "two",
    ]


def test_linked_folders_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "out" / "secret.jpg", jpeg(colour(1)))
    put(tmp_path / "out" / "secret.txt", "secret")
    put(tmp_path / "root" / "a.jpg", jpeg(colour(2)))
    (tmp_path / "root" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "root" / "a.txt").symlink_to(tmp_path / "out" / "secret.txt")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    collection = Folder(root=str(tmp_path / "root")).read()
    check_pictures(collection, {"a.jpg": colour(2)})
    assert collection.texts == ()
    assert "leaves the data folder" in collection.skipped[0].reason


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data=folder: the data set is empty"):
        Folder(root=str(tmp_path)).read()


def test_captions_in_capitals_empty_ones_and_another_encoding(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jpg"):
        put(tmp_path / name, jpeg(colour(1)))
    put(tmp_path / "A.TXT", "雨".encode("gb18030") + b"\n" + "两只小猫".encode("gb18030"))
    put(tmp_path / "b.txt", "\n\n")
    collection = Folder(root=str(tmp_path), encoding="gb18030").read()
    assert [fields["caption"] for fields in collection.texts] == ["雨", "两只小猫"]
    assert reasons(collection) == ["b.txt: no caption in it"]
    assert collection.notes == ()


def test_a_name_that_is_not_utf8_is_named_and_the_rest_read(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(1)))
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")), jpeg(colour(2)))
    put(tmp_path / "a.txt", "kept\n['one', 'two']\n")
    collection = Folder(root=str(tmp_path)).read()
    assert collection.picture_ids == ("a.jpg",)
    assert [fields["caption"] for fields in collection.texts] == ["kept"]
    told = "; ".join(reasons(collection))
    assert "caf\\udce9.jpg" in told
    assert "a.txt: holds a list (['one', 'two']), which is no text" in told
    told.encode()
