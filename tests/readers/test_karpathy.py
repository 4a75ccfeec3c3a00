import json
from pathlib import Path
from typing import Any

import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.readers.karpathy import Karpathy
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons

SPLITS = ("train", "restval", "val", "test", "train")


def coco(root: Path, captions: tuple[int, ...] = (5, 5, 5, 6, 5), **options: Any) -> Karpathy:
    images = []
    for n, split in enumerate(SPLITS):
        put(root / "img" / "val2014" / f"C{n}.jpg", jpeg(colour(n)))
        sentences = [
            {"tokens": [], "raw": f" text {n}.{k}", "imgid": n, "sentid": 10 * n + k} for k in range(captions[n])
        ]
        images.append(
            {"filepath": "val2014", "filename": f"C{n}.jpg", "imgid": n, "split": split, "sentences": sentences}
        )
    put(root / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    return Karpathy(root=str(root), file="dataset_coco.json", folder="img", **options)


def test_its_own_splits_and_restval_to_train(tmp_path: Path) -> None:
    collection = coco(tmp_path).read()
    check_pictures(collection, {f"val2014/C{n}.jpg": colour(n) for n in range(5)})
    assert collection.official == ("train", "train", "val", "test", "train")
    assert pairs(collection)["val2014/C3.jpg#5"] == "val2014/C3.jpg"
    assert collection.texts[5] == {"caption": "text 1.0"}
    assert collection.notes == ("pictures by number of captions: 4 with 5, 1 with 6",)


def test_restval_dropped_and_captions_cut(tmp_path: Path) -> None:
    collection = coco(tmp_path, restval="drop", max_captions=5).read()
    check_pictures(collection, {f"val2014/C{n}.jpg": colour(n) for n in (0, 2, 3, 4)})
    assert len(collection.texts) == 20
    assert collection.notes == ("dataset_coco.json: 1 restval pictures left out (data.restval=drop)",)


def test_the_flickr_form_has_no_filepath(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(7)))
    image = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "x"}]}
    bad = [{"filename": "gone.jpg", "split": "test", "sentences": []}, {"filename": "a.jpg"}, 7]
    put(tmp_path / "d.json", json.dumps({"images": [bad[0], image, *bad[1:]]}))
    collection = Karpathy(root=str(tmp_path), file="d.json").read()
    check_pictures(collection, {"a.jpg": colour(7)})
    assert reasons(collection) == [
        "d.json image 0: no file 'gone.jpg'",
        "d.json image 2: not an object with sentences",
        "d.json image 3: not an object with sentences",
    ]


def test_paths_in_the_file_stay_inside(tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg", jpeg(colour(1)))
    put(tmp_path / "root" / "a.jpg", jpeg(colour(2)))
    places = [("..", "secret.jpg"), ("", str(tmp_path / "secret.jpg")), (str(tmp_path), "secret.jpg"), ("", "a.jpg")]
    images = [{"filepath": a, "filename": b, "split": "test", "sentences": []} for a, b in places]
    put(tmp_path / "root" / "d.json", json.dumps({"images": images}))
    collection = Karpathy(root=str(tmp_path / "root"), file="d.json").read()
    check_pictures(collection, {"a.jpg": colour(2)})
    assert len(collection.skipped) == 3


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for content, message in (("{", "not JSON"), ("[]", "not in Karpathy's form")):
        put(tmp_path / "d.json", content)
        with pytest.raises(DataError, match=message):
            Karpathy(root=str(tmp_path), file="d.json").read()
    with pytest.raises(ConfigError, match=r"data\.restval=test: train or drop"):
        Karpathy(root=str(tmp_path), file="d.json", restval="test")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"data\.max_captions=0"):
        Karpathy(root=str(tmp_path), file="d.json", max_captions=0)


def test_sentences_that_are_no_text_are_listed_and_the_others_kept(tmp_path: Path) -> None:
    put(tmp_path / "a.JPG", jpeg(colour(7)))
    sentences = [{"raw": "x"}, {"raw": 5}, {"tokens": ["y"]}, "z", {"raw": "\ud800"}, {"raw": "last"}]
    images = [{"filename": "a.jpg", "split": "test", "sentences": sentences}, {"filename": ["b"], "sentences": []}]
    put(tmp_path / "d.json", json.dumps({"images": images}))
    collection = Karpathy(root=str(tmp_path), file="d.json").read()
    assert pairs(collection) == {"a.jpg#0": "a.jpg", "a.jpg#5": "a.jpg"}
    assert [line.removeprefix("d.json image ") for line in reasons(collection)] == [
        "0, sentence 1: raw holds the number 5, which is no text",
        "0, sentence 2: not an object with 'raw'",
        "0, sentence 3: not an object with 'raw'",
        "0, sentence 4: raw holds half of a character (a lone surrogate such as \\ud800) in the text",
        "1: filename holds a list (['b']), which is no name",
    ]
    put(tmp_path / "d.json", '{"images": [' + "1" * 5000 + "]}")
    with pytest.raises(DataError, match=r"d\.json: not JSON that can be read"):
        Karpathy(root=str(tmp_path), file="d.json").read()


def test_names_are_tried_with_the_usual_endings(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(colour(7)))
    images = [{"filename": "a", "split": "test", "sentences": [{"raw": "x"}]}]
    put(tmp_path / "d.json", json.dumps({"images": images}))
    assert Karpathy(root=str(tmp_path), file="d.json").read().picture_ids == ("a",)
