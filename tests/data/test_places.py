import os
from pathlib import Path

import pytest

from picdesk.data.places import AbsentError, Inside, RefusedError, data_file, data_folder
from picdesk.errors import MissingFileError
from tests.data.samples import put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / "secret.jpg", b"secret")
    put(tmp_path / "root" / "sub" / "a.jpg", b"a")
    return tmp_path / "root"


def test_names_below_the_root(root: Path) -> None:
    assert Inside(root).path("sub/a.jpg") == (root / "sub" / "a.jpg").resolve()
    assert Inside(root).path("./sub//a.jpg").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no picture is named"),
        ("   ", "no picture is named"),
        ("sub/b.jpg", "no file"),
        ("sub", "not a regular file"),
        ("../secret.jpg", "climbs out"),
        ("sub/../../secret.jpg", "climbs out"),
        ("..\\secret.jpg", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("C:\\windows\\a.jpg", "absolute"),
        ("\\\\host\\share\\a.jpg", "absolute"),
        ("a.jpg\0.png", "NUL"),
        ("x" * 5000, "no file"),
    ],
)
def test_what_is_refused(root: Path, name: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        Inside(root).path(name)


def test_links_that_leave_the_root(root: Path) -> None:
    (root / "out.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "up").symlink_to(root.parent)
    (root / "stay.jpg").symlink_to(root / "sub" / "a.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "nowhere.jpg").symlink_to(root / "gone.jpg")
    inside = Inside(root)
    for name in ("out.jpg", "up/secret.jpg"):
        with pytest.raises(RefusedError, match="leaves the data folder through a link"):
            inside.path(name)
    for name in ("loop.jpg", "nowhere.jpg"):
        with pytest.raises(RefusedError, match="no file"):
            inside.path(name)
    assert inside.path("stay.jpg").read_bytes() == b"a"


def test_a_name_as_windows_or_a_web_address_writes_it_is_told(root: Path) -> None:
    for name in ("my photo.jpg", "100%.jpg"):
        put(root / name, b"b")
    inside = Inside(root)
    for name, told in {
        "sub\\a.jpg": r"no file 'sub\\\\a\.jpg' \(there is 'sub/a\.jpg', with / between folders\)$",
        "my%20photo.jpg": r"no file 'my%20photo\.jpg' \(there is 'my photo\.jpg', with no % codes\)$",
        "gone%20.jpg": r"no file 'gone%20\.jpg'$",
        "%2e%2e/secret.jpg": r"no file '%2e%2e/secret\.jpg'$",
    }.items():
        with pytest.raises(AbsentError, match=told):
            inside.picture(name)
    assert inside.picture("100%.jpg").read_bytes() == b"b"


def test_a_root_that_is_a_link_is_fine(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert Inside(root.parent / "link").path("sub/a.jpg").read_bytes() == b"a"


def test_a_folder_beside_the_root_with_a_longer_name(root: Path) -> None:
    put(root.parent / "root2" / "a.jpg", b"x")
    (root / "link.jpg").symlink_to(root.parent / "root2" / "a.jpg")
    with pytest.raises(RefusedError, match="leaves"):
        Inside(root).path("link.jpg")


def test_a_pipe_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(RefusedError, match="not a regular file"):
        Inside(root).path("pipe.jpg")


def test_missing_root_and_file(root: Path) -> None:
    with pytest.raises(MissingFileError, match=r"data=x: data\.root=.*nowhere is not a folder"):
        data_folder(str(root / "nowhere"), "x")
    with pytest.raises(MissingFileError, match=r"data=x: no file 'a\.csv' in data\.root="):
        data_file(str(root), "a.csv", "x")


def test_a_name_in_letters_of_another_case_where_nothing_else_fits(root: Path) -> None:
    for name in ("own.jpg", "one.jpg", "two.jpg", "two.JPG", "Both.jpg", "both.jpg"):
        put(root / name, name.encode())
    inside = Inside(root)
    inside.claim(["OWN.jpg", "own", "One.jpg", "ONE.jpg", "TWO.jpg", "BOTH.JPG", "SUB.jpg", "sub/A.JPG", "Both.jpg"])
    assert inside.picture("sub/A.JPG", [".jpg"]).read_bytes() == b"a"
    assert inside.picture("own", [".jpg"]).read_bytes() == b"own.jpg"
    for name, why in {
        "OWN.jpg": "'own.jpg' is that of a row that names 'own'",
        "One.jpg": "'one.jpg' is that of a row that names 'ONE.jpg'",
        "TWO.jpg": "'two.JPG', 'two.jpg' fit but for the case of letters",
        "BOTH.JPG": "'Both.jpg', 'both.jpg' fit",
        "SUB.jpg": r"no file 'SUB\.jpg'$",
    }.items():
        with pytest.raises(AbsentError, match=why):
            inside.picture(name, [".jpg"])


def test_a_file_of_its_own_takes_no_other(root: Path) -> None:
    for name in ("P.jpg", "q.jpg"):
        put(root / name, name.encode())
    inside = Inside(root)
    inside.claim(["p", "P.jpg", "Q.JPG"])
    assert inside.picture("Q.JPG").read_bytes() == b"q.jpg"
    with pytest.raises(AbsentError, match=r"'P\.jpg' is that of a row that names 'P\.jpg'"):
        inside.picture("p", [".jpg"])
