"""The submission folder and its validator."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from picdesk.commands.check_submission import main
from picdesk.data.near import alike
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.submissions.crops import cut_part, windows
from picdesk.submissions.folders import TARGET, Names, faults, write_submission
from picdesk.submissions.other_runs import is_new, shown_before

ARTICLES = ["a1", "a2.b", "a3"]


def write_folder(root: Path) -> Path:
    return write_submission(
        root, Names("desk", "clip-b32"), {name: lambda: Image.new("RGB", (20, 10), "red") for name in ARTICLES}
    )


def test_folder_and_files_are_named_as_asked(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    assert folder == tmp_path / "desk" / "RET_clip-b32_SMALL"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}_desk_clip-b32.png" for name in ARTICLES)
    assert faults(tmp_path / "desk", ARTICLES) == []
    with Image.open(folder / "a1_desk_clip-b32.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (20, 10))


def test_every_fault_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
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
        Names(*names)
    with pytest.raises(DataError, match="cannot stand in a file name"):
        write_submission(tmp_path, Names("desk", "a", "LARGE"), {"../x": lambda: Image.new("RGB", (1, 1))})
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path)
    (tmp_path / "subset.csv").write_text("article_id\na1\na2.b\na3\n")
    arguments = [str(tmp_path / "desk"), "--articles", str(tmp_path / "subset.csv")]
    assert main(arguments) == 0
    assert "3 articles checked" in capsys.readouterr().out
    (folder / "a3_desk_clip-b32.png").unlink()
    assert main(arguments) == 2
    assert "1 of 3 articles have no picture" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), *arguments[1:]]) == 2


def noise(seed: int, size: tuple[int, int] = TARGET) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def run_of_2026(root: Path, approach: str, start: int, sources: dict[str, str] | None = None) -> Path:
    made = {name: (lambda i=i: noise(start + i)) for i, name in enumerate(ARTICLES)}
    return write_submission(root, Names("desk", approach, edition=2026), made, sources)


def test_two_runs_of_2026_without_an_equal_picture(tmp_path: Path) -> None:
    first = run_of_2026(tmp_path, "a", 0)
    run_of_2026(tmp_path, "b", 10)
    assert first == tmp_path / "desk_a"
    assert (first / "a1_desk_a.png").is_file()
    assert faults(tmp_path, ARTICLES, 2026, alike) == []
    (tmp_path / "subset.csv").write_text("a1\na2.b\na3\n")
    (tmp_path / "subset.csv").rename(tmp_path.parent / "subset.csv")
    assert main([str(tmp_path), "--articles", str(tmp_path.parent / "subset.csv"), "--edition", "2026"]) == 0


def test_every_fault_of_2026_is_named(tmp_path: Path) -> None:
    run_of_2026(tmp_path, "a", 0, {name: f"source {name}" for name in ARTICLES})
    other = run_of_2026(tmp_path, "b", 10, {name: f"source {name}" if name == "a3" else "x" for name in ARTICLES})
    noise(0).point(lambda level: min(level + 3, 255)).save(
        other / "a1_desk_b.png"
    )  # nearly the picture of the first run
    noise(5, (460, 261)).save(other / "a2.b_desk_b.png")
    (tmp_path / "RET_a_SMALL").mkdir()
    write_submission(tmp_path, Names("other", "a", edition=2026), {})
    (tmp_path / "other_a").mkdir(exist_ok=True)
    found = "\n".join(faults(tmp_path, ARTICLES, 2026, alike))
    for words in (
        "desk_b: shows the picture of desk_a for article a1 again",
        "desk_b: shows the picture of desk_a for article a3 again",
        "a2.b_desk_b.png: has 460x261 pixels, wanted 460x260",
        "RET_a_SMALL: not a folder named [group]_[approach]",
        "other_a: 3 of 3 articles have no picture",
        "runs of 2 groups (desk, other)",
    ):
        assert words in found
    assert len(found.splitlines()) == 6


def test_what_other_runs_show_is_not_new(tmp_path: Path) -> None:
    run_of_2026(tmp_path, "a", 0, {name: f"source {name}" for name in ARTICLES})
    before = shown_before(str(tmp_path), ["a1", "a3", "a9"])
    assert sorted(before) == ["a1", "a3"]
    assert not is_new(noise(7), "source a1", before["a1"], alike), "the same picture, cut elsewhere"
    assert not is_new(noise(0), "other", before["a1"], alike), "the same pixels"
    assert is_new(noise(7), "other", before["a1"], alike)
    with pytest.raises(MissingFileError, match=r"submission\.other_runs=.*no such folder"):
        shown_before(str(tmp_path / "none"), [])


@pytest.mark.parametrize("size", [(1000, 400), (300, 900), (460, 260), (3, 2)])
def test_parts_have_the_shape_and_lie_inside(size: tuple[int, int]) -> None:
    found = windows(size, TARGET)
    width, height = size
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert abs((right - left) * 260 - (bottom - top) * 460) <= 460
    assert found[0] == min(found, key=lambda box: abs(box[0] + box[2] - width) + abs(box[1] + box[3] - height))
    assert cut_part(Image.new("RGB", size), found[0], TARGET).size == TARGET
    assert (len(found) == 1) == (size in [(460, 260), (3, 2)])


def test_the_folder_of_one_run_is_one_line(tmp_path: Path) -> None:
    run_of_2026(tmp_path, "a", 0, {name: f"source {name}" for name in ARTICLES})
    (run,) = (path for path in tmp_path.iterdir() if path.is_dir())
    with pytest.raises(DataError, match=f"one run; give the folder above it, which holds the runs: {tmp_path}$"):
        faults(run, ARTICLES, 2026)
