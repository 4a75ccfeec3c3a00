"""The submission folder and its validator."""

from pathlib import Path

import pytest
from PIL import Image

from picdesk.commands.check_submission import main
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.report.submission import faults, write_submission

ARTICLES = ["a1", "a2.b", "a3"]


def written(root: Path) -> Path:
    return write_submission(
        root, "desk", "clip-b32", "SMALL", {name: lambda: Image.new("RGB", (20, 10), "red") for name in ARTICLES}
    )


def test_folder_and_files_are_named_as_asked(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert folder == tmp_path / "desk" / "RET_clip-b32_SMALL"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}_desk_clip-b32.png" for name in ARTICLES)
    assert faults(tmp_path / "desk", ARTICLES) == []
    with Image.open(folder / "a1_desk_clip-b32.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (20, 10))


def test_every_fault_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "a3_desk_clip-b32.png").unlink()
    (folder / "a1_desk_clip-b32.png").write_bytes(b"no picture")
    Image.new("RGB", (3, 3)).save(folder / "a2.b_desk_clip-b32.png", "jpeg")
    (folder / "a1_desk_other.png").write_bytes(b"")
    Image.new("RGB", (3, 3)).save(folder / "a9_desk_clip-b32.png")
    (tmp_path / "desk" / "RET_clip-b32_MIDDLE").mkdir()
    (tmp_path / "desk" / "notes.txt").write_text("x")
    found = "\n".join(faults(tmp_path / "desk", ARTICLES))
    for words in (
        "a1_desk_clip-b32.png: not a picture that can be opened",
        "a2.b_desk_clip-b32.png: holds a JPEG, not a PNG",
        "a1_desk_other.png: the name must be [article_id]_desk_clip-b32.png",
        "a9 is none of the articles",
        "1 of 3 articles have no picture: 'a3'",
        "RET_clip-b32_MIDDLE: not a folder named",
        "notes.txt: not a folder named",
    ):
        assert words in found
    assert len(found.splitlines()) == 7


def test_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    assert len(faults(tmp_path / "desk", ARTICLES)) == 1
    with pytest.raises(MissingFileError):
        faults(tmp_path / "none", ARTICLES)


@pytest.mark.parametrize(
    "names",
    [
        ("my_desk", "a", "SMALL"),
        ("desk", "a b", "SMALL"),
        ("desk", "a", "MIDDLE"),
        ("", "a", "LARGE"),
        ("..", "a", "LARGE"),
    ],
)
def test_names_that_would_break_a_file_name_are_refused(tmp_path: Path, names: tuple[str, str, str]) -> None:
    with pytest.raises(ConfigError, match=r"submission\."):
        write_submission(tmp_path, *names, {})
    with pytest.raises(DataError, match="cannot stand in a file name"):
        write_submission(tmp_path, "desk", "a", "LARGE", {"../x": lambda: Image.new("RGB", (1, 1))})
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path)
    (tmp_path / "subset.csv").write_text("article_id\na1\na2.b\na3\n")
    arguments = [str(tmp_path / "desk"), "--articles", str(tmp_path / "subset.csv")]
    assert main(arguments) == 0
    assert "3 articles checked" in capsys.readouterr().out
    (folder / "a3_desk_clip-b32.png").unlink()
    assert main(arguments) == 2
    assert "1 of 3 articles have no picture" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), *arguments[1:]]) == 2
