"""Thirty hostile pictures and a hostile CSV: each named, nothing outside opened, good rows keep their own pictures."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picdesk.data.checks import check_collection, clean_collection
from picdesk.readers.folder import Folder
from picdesk.readers.tables import Csv
from tests.data import hostile
from tests.data.samples import check_pictures, colour, is_near, jpeg, pairs, put, reasons, seen_colour

OPENED: list[str] = []
WATCH: list[bool] = []
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event == "open" and WATCH else None)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Names of all files that are opened while the test runs."""
    OPENED.clear()
    WATCH.append(True)
    yield OPENED
    WATCH.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    secret = put(tmp_path / "outside" / "secret.jpg", jpeg(colour(99)))
    (tmp_path / "root").mkdir()
    hostile.make(tmp_path / "root", secret)
    return tmp_path / "root"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_folder_of_hostile_pictures(root: Path, opened: list[str]) -> None:
    assert len(hostile.bad()) + len(hostile.good()) + 5 >= 30
    collection = Folder(root=str(root)).read()
    splits = {"test": collection.picture_of[:0]}
    report = check_collection(collection, splits, max_bad_fraction=1)
    kept, _ = clean_collection(collection, splits, report)

    assert set(kept.picture_ids) == set(hostile.good())
    for i, name in enumerate(kept.picture_ids):
        assert is_near(seen_colour(kept.pictures.read(i)), hostile.good()[name][1]), name
    named = {item.split(":")[0]: finding.kind for finding in report.findings for item in finding.items}
    for name, (_, kind) in hostile.bad().items():
        assert named[name] == kind or (
            not kind and named[name] in ("pictures cut short", "pictures that cannot be decoded")
        ), name
    told = "\n".join(reasons(collection))
    for name, reason in (
        ("pipe", "regular"),
        ("outside", "leaves the data folder"),
        ("loop", "no file"),
        ("dangling", "no file"),
    ):
        assert f"{name}.jpg: " in told
        assert reason in next(line for line in told.split("\n") if line.startswith(f"{name}.jpg"))
    assert opened, "the hook saw nothing"
    assert not [name for name in opened if "secret.jpg" in name or "/outside" in name]
    assert not [name for name in opened if name.endswith(("pipe.jpg", "loop.jpg", "dangling.jpg"))]


ROWS = [
    (b"1", b"0.jpg", b"plain"),
    (b"2", b"../outside/secret.jpg", b"climbs"),
    (b"3", b"1.jpg", b"caf\xe9 in Latin-1"),
    (b"4", b"%ABSOLUTE%", b"absolute"),
    (b"5", b"2.jpg", b'"two\r\nlines, ""quoted"""'),
    (b"5", b"3.jpg", b"the id of another"),
    (b"6", b"a\x00b.jpg", b"NUL in the name"),
    (b"7", b"4.jpg", b"NUL \x00 in the text"),
    (b"8", b"out.jpg", b"a link that leaves"),
    (b"9", b"up/secret.jpg", b"a linked folder"),
    (b"10", b"C:\\secret.jpg", b"a drive"),
    (b"11", b"..\\secret.jpg", b"climbs backwards"),
    (b"12", b"gone.jpg", b"missing"),
    (b"13", b"", b"no name"),
    (b"14", b"5.jpg", b"\xc3\xbcber UTF-8"),
    (b"15", b"6.jpg"),
    (b"16", b"7.jpg", b"last"),
]


def write_csv(tmp_path: Path) -> Path:
    secret = put(tmp_path / "outside" / "secret.jpg", jpeg(colour(99)))
    root = tmp_path / "root"
    for n in range(8):
        put(root / f"{n}.jpg", jpeg(colour(n)))
    (root / "out.jpg").symlink_to(secret)
    (root / "up").symlink_to(secret.parent)
    lines = b"".join(b",".join(row) + b"\r\n" for row in ROWS)
    put(root / "t.csv", b"\xef\xbb\xbfid,image,caption\r\n" + lines.replace(b"%ABSOLUTE%", str(secret).encode()))
    return root


def test_a_hostile_csv(tmp_path: Path, opened: list[str]) -> None:
    root = write_csv(tmp_path)
    opened.clear()
    collection = Csv(root=str(root), file="t.csv", text_id_column="id").read()
    check_pictures(collection, {f"{n}.jpg": colour(n) for n in (0, 1, 2, 5, 7)})
    assert pairs(collection) == {"1": "0.jpg", "3": "1.jpg", "5": "2.jpg", "14": "5.jpg", "16": "7.jpg"}
    captions: list[Any] = [fields["caption"] for fields in collection.texts]
    assert captions == ["plain", "café in Latin-1", 'two\r\nlines, "quoted"', "über UTF-8", "last"]
    assert not [name for name in opened if "secret" in name]

    told = reasons(collection)
    wanted = {
        "line 3": "climbs out of the data folder",
        "line 5": "is an absolute path",
        "line 8": "text id '5' stands already",
        "line 9": "holds a NUL character",
        "line 10": "a NUL character in the text",
        "line 11": "leaves the data folder through a link",
        "line 12": "leaves the data folder through a link",
        "line 13": "is an absolute path",
        "line 14": "climbs out of the data folder",
        "line 15": "no file 'gone.jpg'",
        "line 16": "no picture is named",
        "line 18": "2 cells for 3 columns",
    }
    for line, reason in wanted.items():
        assert any(entry.startswith(f"t.csv {line}: ") and reason in entry for entry in told), (line, told)
    assert len(told) == len(wanted)
    (note,) = collection.notes
    for odd in (
        "byte order mark",
        "CRLF",
        "not UTF-8 in 1 lines, which were read as Latin-1: 4",
        "1 rows with a line break",
    ):
        assert odd in note
    report = check_collection(collection, {}, max_bad_fraction=1)
    assert report.count("rows left out by the reader") == len(wanted)
