import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from picdesk.data.checks import check_collection
from picdesk.data.facts import PictureFacts
from picdesk.data.images import CLEAR, DEEP, FRAMES
from picdesk.errors import DataError
from picdesk.readers.folder import Folder
from tests.data.samples import BLUE, RED, check_pictures, colour, encode_image, jpeg, pairs, put, reasons


def test_a_gallery_without_texts(tmp_path: Path) -> None:
    for n, name in enumerate(("b/2.JPG", "a.jpeg", "b/c/1.png", ".hidden.jpg", "b/.cache/x.jpg")):
        put(tmp_path / name, jpeg(colour(n)))
    put(tmp_path / "notes.md", "x")
    collection = Folder(root=str(tmp_path)).read()
    check_pictures(collection, {"a.jpeg": colour(1), "b/2.JPG": colour(0), "b/c/1.png": colour(2)})
    assert collection.text_ids == ()
    assert collection.notes == (
        "2 hidden files and folders were not looked at: '.hidden.jpg', 'b/.cache'",
        "1 files are neither pictures nor their captions: 'notes.md'",
    )
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


def test_captions_go_by_the_very_name_first(tmp_path: Path) -> None:
    """Names that differ by case alone, or as ß and ss do, are names of different pictures."""
    for n, name in enumerate(("A", "a", "strasse", "straße", "Ab", "aB", "one", "two")):
        put(tmp_path / f"{name}.jpg", jpeg(colour(n)))
    for name in ("A.txt", "a.txt", "strasse.txt", "straße.txt", "aB.txt", "ONE.TXT", "two.TXT"):
        put(tmp_path / name, f"of {name}")
    collection = Folder(root=str(tmp_path)).read()
    told = {name: str(fields["caption"]) for name, fields in zip(pairs(collection), collection.texts, strict=True)}
    own = {f"{name}.jpg#0": f"of {name}.txt" for name in ("A", "a", "strasse", "straße", "aB")}
    assert told == own | {"one.jpg#0": "of ONE.TXT", "two.jpg#0": "of two.TXT"}


def test_a_caption_file_that_fits_two_pictures_is_listed(tmp_path: Path) -> None:
    for n, name in enumerate(("A.jpg", "a.jpg", "b.jpg")):
        put(tmp_path / name, jpeg(colour(n)))
    for name in ("A.txt", "B.txt", "B.TXT", "c.jpg", "c.png", "C.txt"):
        put(tmp_path / name, jpeg(colour(7)) if "txt" not in name.lower() else "words")
    collection = Folder(root=str(tmp_path)).read()
    assert pairs(collection) == {"A.jpg#0": "A.jpg", "b.jpg#0": "b.jpg"}
    assert reasons(collection) == [
        "C.txt: fits 'c.jpg', 'c.png' but for the case of letters; name it as its picture is named"
    ]
    assert "'B.TXT'" in collection.notes[-1]


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


def test_a_file_and_its_links_are_one_picture(tmp_path: Path) -> None:
    """With the captions beside each of them, a file of captions counted once."""
    put(tmp_path / "base.jpg", jpeg(colour(0)))
    for link in ("base.jpeg", "in.jpg"):
        (tmp_path / link).symlink_to(tmp_path / "base.jpg")
    put(tmp_path / "other.jpg", jpeg(colour(0)))
    for name in ("base.txt", "in.txt", "other.txt"):
        put(tmp_path / name, f"of {name}")
    collection = Folder(root=str(tmp_path)).read()
    assert collection.picture_ids == ("base.jpeg", "other.jpg")
    assert [fields["caption"] for fields in collection.texts] == ["of base.txt", "of in.txt", "of other.txt"]
    assert collection.notes == (
        "2 names mean a picture that has an earlier name, under which it is there once: "
        "'base.jpg -> base.jpeg', 'in.jpg -> base.jpeg'",
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data=folder: the data set is empty"):
        Folder(root=str(tmp_path)).read()


def test_a_name_that_is_not_utf8_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(1)))
    put(tmp_path / os.fsdecode(b"caf\xe9.jpg"), jpeg(colour(2)))
    put(tmp_path / os.fsdecode(b"d\xffr") / "b.jpg", jpeg(colour(3)))
    put(tmp_path / os.fsdecode(b"not\xfe.md"), "x")
    put(tmp_path / "ünïcode.jpg", jpeg(colour(4)))
    collection = Folder(root=str(tmp_path)).read()
    check_pictures(collection, {"a.jpg": colour(1), "ünïcode.jpg": colour(4)})
    assert sorted(skipped.item for skipped in collection.skipped) == [r"caf\xe9.jpg", r"d\xffr/b.jpg"]
    report = check_collection(collection, {}, max_bad_fraction=1)
    shown = io.StringIO()
    Console(file=shown, width=200).print(report.table())
    for text in (*reasons(collection), *collection.notes, shown.getvalue(), json.dumps(report.to_json())):
        assert text.encode()
    with pytest.raises(DataError, match=r"is above data\.max_bad_fraction"):
        check_collection(collection, {}, max_bad_fraction=0.01)


def test_endings_in_any_letters_and_captions_behind_the_whole_name(tmp_path: Path) -> None:
    for n, name in enumerate(("A.JPG", "b.JfIf", "c.jpe", "d.jpg")):
        put(tmp_path / name, jpeg(colour(n)))
    for name, text in {"A.TXT": "a", "b.txt": "b", "B.TXT": "b too", "c.jpe.txt": "c", "d.Txt": "\n \n"}.items():
        put(tmp_path / name, text)
    collection = Folder(root=str(tmp_path)).read()
    assert pairs(collection) == {"A.JPG#0": "A.JPG", "b.JfIf#0": "b.JfIf", "c.jpe#0": "c.jpe"}
    assert collection.picture_ids == ("A.JPG", "b.JfIf", "c.jpe", "d.jpg")
    assert reasons(collection) == ["d.Txt: no caption in it"]
    assert "1 files are neither pictures nor their captions: " in collection.notes[-1]


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(1)))
    for name in ("__MACOSX/._a.jpg", ".cache/b.jpg", ".c.jpg", "scan.TGA", "logo.svg", "logo2.svg", "readme", "x.mp4"):
        put(tmp_path / name, "x")
    put(tmp_path / "far" / "b.jpg", jpeg(colour(2)))
    (tmp_path / "near").symlink_to(tmp_path / "far")
    collection = Folder(root=str(tmp_path)).read()
    assert collection.picture_ids == ("a.jpg", "far/b.jpg")
    assert collection.notes == (
        "3 hidden files and folders were not looked at: '.c.jpg', '.cache', '__MACOSX'",
        "1 linked folders were not followed: 'near'",
        "pictures in formats that are not read: 2 .svg, 1 .tga: 'logo.svg', 'logo2.svg', 'scan.TGA'",
        "2 files are neither pictures nor their captions: 'readme', 'x.mp4'",
    )


def test_folders_and_captions_that_cannot_be_read_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        put(tmp_path / f"{n}.jpg", jpeg(colour(n)))
    put(tmp_path / "0.txt", "half".encode("utf-16"))
    (tmp_path / "1.txt").mkdir()
    put(tmp_path / "2.txt", b"PK\x03\x04" + bytes(99))
    put(tmp_path / "closed" / "x.jpg", jpeg(colour(9)))
    scan = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    collection = Folder(root=str(tmp_path)).read()
    check_pictures(collection, {f"{n}.jpg": colour(n) for n in range(3)})
    told = reasons(collection)
    assert "closed: a folder that cannot be read (Permission denied)" in told
    assert any(line.startswith("2.txt: ") for line in told)
    assert [fields["caption"] for fields in collection.texts] == ["half"]


def test_a_picture_that_needs_a_plugin_is_counted_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(1)))
    put(tmp_path / "b.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    monkeypatch.setattr("picdesk.data.images.has_plugin", lambda name: False)
    collection = Folder(root=str(tmp_path)).read()
    for level in ("quick", "full"):
        report = check_collection(collection, {}, max_bad_fraction=1, level=level)  # type: ignore[arg-type]
        assert report.count("pictures that need a plugin") == 1
        with pytest.raises(DataError, match=r"b\.HEIC: a picture in HEIF, which needs a plugin: pip install 'picdesk"):
            report.require(0.1)


def test_what_decoding_changes_is_listed_by_the_full_check(tmp_path: Path) -> None:
    plain = Image.new("RGB", (8, 8), RED)
    put(tmp_path / "a.gif", encode_image(plain, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]))
    put(tmp_path / "b.png", encode_image(Image.new("RGBA", (8, 8), (0, 0, 0, 9))))
    put(tmp_path / "c.png", encode_image(Image.fromarray(np.full((8, 8), 4000, np.uint16))))
    put(tmp_path / "d.png", encode_image(plain))
    collection = Folder(root=str(tmp_path)).read()
    facts = PictureFacts(tmp_path / "facts.json", settled_s=0)
    for decoded in (4, 4):  # the second time from memory
        report = check_collection(collection, {}, facts=facts)
        assert {kind: report.count(kind) for kind in (FRAMES, CLEAR, DEEP)} == {FRAMES: 1, CLEAR: 1, DEEP: 1}
        assert facts.decoded == decoded
    again = PictureFacts(tmp_path / "facts.json", settled_s=0)
    assert check_collection(collection, {}, facts=again).count(DEEP) == 1
    assert again.decoded == 0


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
    assert "a.txt: line 2 holds a list (['one', 'two']), which is no text" in told
    told.encode()
