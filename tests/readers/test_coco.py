"""COCO's own caption files."""

import json
from pathlib import Path
from typing import Any

import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.readers.coco import Coco
from picdesk.readers.karpathy import Karpathy
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons

IMAGES = [{"id": 40 + n, "file_name": f"{n:012}.jpg", "license": 1} for n in range(3)]
SAID = [{"id": k, "image_id": 40 + k % 3, "caption": f" {k} said\n"} for k in range(7)]


def coco(root: Path, images: list[Any], annotations: list[Any], file: str = "c.json", folder: str = "pics") -> None:
    for n in range(3):
        put(root / folder / f"{n:012}.jpg", jpeg(colour(n)))
    put(root / file, json.dumps({"info": {}, "images": images, "annotations": annotations, "licenses": []}))


def test_captions_go_to_their_picture_in_the_order_of_the_file(tmp_path: Path) -> None:
    coco(tmp_path, IMAGES, SAID)
    found = Coco(root=str(tmp_path), file="c.json", folder="pics").read()
    names = [image["file_name"] for image in IMAGES]
    check_pictures(found, {str(name): colour(n) for n, name in enumerate(names)})
    assert pairs(found)[f"{names[0]}#2"] == names[0]
    assert [fields["caption"] for fields in found.texts] == [f"{k} said" for k in range(7)]
    assert found.notes == ("pictures by number of captions: 2 with 2, 1 with 3",)
    cut = Coco(root=str(tmp_path), file="c.json", folder="pics", max_captions=2).read()
    assert [fields["caption"] for fields in cut.texts] == [f"{k} said" for k in range(6)]


def test_a_file_and_a_folder_for_each_split(tmp_path: Path) -> None:
    coco(tmp_path, IMAGES[:2], SAID[:2], "train.json", "train")
    coco(tmp_path, IMAGES[2:], SAID[2:3], "val.json", "val")
    files = {"train": "train.json", "val": "val.json"}
    found = Coco(root=str(tmp_path), file=files, folder={"train": "train", "val": "val"}).read()
    assert found.official == ("train", "train", "val")
    with pytest.raises(ConfigError, match=r"data\.folder names no folder for 'val'"):
        Coco(root=str(tmp_path), file=files, folder={"train": "train"})


def test_what_belongs_to_nothing_is_listed(tmp_path: Path) -> None:
    odd = [{"id": 41, "file_name": "again.jpg"}, {"id": 77, "file_name": "gone.jpg"}, "x", {"id": 78}]
    said: list[Any] = [
        {"image_id": 40, "caption": "kept"},
        {"image_id": 5, "caption": "nobody's"},
        {"image_id": 77, "caption": "of one that is gone"},
        {"image_id": 40, "caption": ["a list"]},
        {"image_id": 40},
        None,
    ]
    coco(tmp_path, IMAGES + odd, said)
    found = Coco(root=str(tmp_path), file="c.json", folder="pics").read()
    assert [fields["caption"] for fields in found.texts] == ["kept"]
    assert [line.removeprefix("c.json ") for line in reasons(found)] == [
        "image 3: image id 41 stands already",
        "image 4: no file 'gone.jpg'",
        "image 5: not an object with 'id'",
        "image 6: not an object with 'file_name'",
        "annotation 1: no image has the id 5",
        "annotation 2: its picture was left out (c.json image 4)",
        "annotation 3: caption holds a list (['a list']), which is no text",
        "annotation 4: not an object with 'caption'",
        "annotation 5: not an object with 'image_id'",
    ]
    assert found.notes == ("pictures by number of captions: 2 with 0, 1 with 1",)


def test_files_of_another_form_are_told_apart(tmp_path: Path) -> None:
    coco(tmp_path, IMAGES, [{"image_id": 40, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(DataError, match=r"hold no `caption`; COCO's captions are in captions_\*\.json"):
        Coco(root=str(tmp_path), file="c.json").read()
    coco(tmp_path, IMAGES, SAID)
    with pytest.raises(DataError, match=r"not in Karpathy's form: it has COCO's form.*data=coco"):
        Karpathy(root=str(tmp_path), file="c.json").read()
    put(tmp_path / "k.json", json.dumps({"images": [{"filename": "a.jpg", "sentences": [{"raw": "x"}]}]}))
    with pytest.raises(DataError, match=r"not in COCO's form.*read it by data=karpathy"):
        Coco(root=str(tmp_path), file="k.json").read()
    with pytest.raises(ConfigError, match=r"data\.max_captions=0"):
        Coco(root=str(tmp_path), file="c.json", max_captions=0)
