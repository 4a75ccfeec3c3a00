"""CIRR's and FashionIQ's own files, small: what is read, what is left out with its reason, what is no such file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from picdesk.errors import DataError, MissingFileError, UserError
from picdesk.readers import Cirr, FashionIq
from tests.mutations import mutations

NAMES = [f"dev-{i}-{i % 4}-img{i % 2}" for i in range(8)]


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade * 30 % 256, 255 - shade * 25, shade * 7)).save(path)


def cirr(root: Path, change: Mapping[str, Any] | None = None) -> Path:
    """Eight pictures in the folder dev/, and four questions over the first six, which are one set."""
    for i, name in enumerate(NAMES):
        picture(root / "dev" / f"{name}.png", i)
    write(root / "image_splits" / "split.rc2.val.json", {name: f"./dev/{name}.png" for name in NAMES})
    asked = [
        {
            "pairid": 100 + i,
            "reference": NAMES[i],
            "target_hard": NAMES[i + 1],
            "target_soft": {NAMES[i + 1]: 1.0},
            "caption": f"make it shade {i + 1}",
            "img_set": {"id": 7, "members": NAMES[:6], "reference_rank": i, "target_rank": i + 1},
        }
        for i in range(4)
    ]
    asked[1] |= change or {}
    write(root / "captions" / "cap.rc2.val.json", asked)
    return root


def fashion(root: Path) -> Path:
    """Five dresses, one of them a JPEG, and three questions."""
    names = [f"B00{i}" for i in range(5)]
    for i, name in enumerate(names):
        picture(root / "images" / f"{name}.{'jpg' if i == 2 else 'png'}", i)
    write(root / "image_splits" / "split.dress.val.json", [*names, "B00gone"])
    asked = [
        {"target": names[i + 1], "candidate": names[i], "captions": [f"is {i}.", "has longer sleeves"]}
        for i in range(3)
    ]
    write(root / "captions" / "cap.dress.val.json", [*asked, asked[0] | {"candidate": "B00gone"}])
    return root


def test_cirr(tmp_path: Path) -> None:
    found = Cirr(str(cirr(tmp_path))).read()
    assert found.picture_ids == tuple(NAMES)
    assert set(found.official) == {"val"}
    assert found.text_ids == ("100", "101", "102", "103")
    assert found.picture_of.tolist() == [1, 2, 3, 4]
    few = tuple(name for name in NAMES[:6] if name != NAMES[2])
    assert found.texts[2] == {
        "caption": "make it shade 3",
        "reference": NAMES[2],
        "excluded": NAMES[2],
        "among": few,
    }
    assert found.skipped == ()
    assert found.pictures.read(3) == (tmp_path / "dev" / f"{NAMES[3]}.png").read_bytes()


def test_fashion_iq(tmp_path: Path) -> None:
    found = FashionIq(str(fashion(tmp_path)), "dress").read()
    assert found.picture_ids == tuple(f"B00{i}" for i in range(5))
    assert found.texts[1] == {"caption": "is 1 and has longer sleeves", "reference": "B001"}
    assert (found.text_ids[1], found.picture_of.tolist()) == ("dress-val-1", [1, 2, 3])
    assert [one.reason for one in found.skipped] == [
        "no picture 'B00gone'",
        "it asks with picture 'B00gone', which is not there",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"caption": 5}, "holds the number 5, which is no text"),
        ({"caption": ["a"]}, "which is no text"),
        ({"reference": None}, "it has no reference"),
        ({"target_hard": "dev-nothing"}, "it wants picture 'dev-nothing', which is not there"),
        ({"img_set": {"members": 3}}, "img_set.members holds the number 3, and a list of names is needed"),
        ({"pairid": 100}, "text id '100' stands already; the first one was kept"),
    ],
)
def test_a_question_that_cannot_be_asked_is_left_out(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    found = Cirr(str(cirr(tmp_path, change))).read()
    assert len(found.text_ids) == 3
    [left] = found.skipped
    assert left.item == "captions/cap.rc2.val.json question 1"
    assert reason in left.reason


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    cirr(tmp_path)
    with pytest.raises(MissingFileError, match=r"cap\.rc2\.train|split\.rc2\.train"):
        Cirr(str(tmp_path), splits=["train"]).read()
    write(tmp_path / "captions" / "cap.rc2.val.json", [{"pairid": 1, "reference": NAMES[0], "caption": "x"}])
    with pytest.raises(DataError, match="no target_hard; test1 is scored by CIRR's own server"):
        Cirr(str(tmp_path)).read()
    write(tmp_path / "captions" / "cap.rc2.val.json", {"a": 1})
    with pytest.raises(DataError, match="a list of questions is needed, and it holds a record"):
        Cirr(str(tmp_path)).read()
    write(tmp_path / "image_splits" / "split.rc2.val.json", NAMES)
    with pytest.raises(DataError, match="a table of names and files, not a list"):
        Cirr(str(tmp_path)).read()
    with pytest.raises(UserError, match=r"data\.category=hat: choose one of dress, shirt, toptee"):
        FashionIq(str(tmp_path), "hat")
    with pytest.raises(UserError, match=r"data\.splits='val': a list"):
        Cirr(str(tmp_path), splits="val")


@pytest.mark.parametrize("form", ["cirr", "fashion_iq"])
def test_whatever_is_damaged_is_read_or_told(tmp_path: Path, form: str) -> None:
    root = cirr(tmp_path) if form == "cirr" else fashion(tmp_path)
    told = 0
    for path in (*(root / "captions").iterdir(), *(root / "image_splits").iterdir()):
        content = path.read_bytes()
        for _, damaged in mutations(content, 60):
            path.write_bytes(damaged)
            try:
                (Cirr(str(root)) if form == "cirr" else FashionIq(str(root), "dress")).read()
            except UserError:
                told += 1
        path.write_bytes(content)
    assert told > 20


def test_a_picture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    root = cirr(tmp_path / "data")
    picture(tmp_path / "secret.png", 1)
    write(root / "image_splits" / "split.rc2.val.json", dict.fromkeys(NAMES, "./../secret.png"))
    with pytest.raises(DataError, match="the data set is empty"):
        Cirr(str(root)).read()
