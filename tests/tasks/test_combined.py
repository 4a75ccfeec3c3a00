"""Queries out of several texts and pictures, over a data set and over a saved index."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.doors import Ran, run
from tests.tasks.test_saved_index import over, pictures_as_files

Capture = pytest.CaptureFixture[str]


def ask(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    return run(
        capfd, folder / "out", "retrieve", "top_k=40", "run_depth=40", f"paths.store={folder / 'store'}", *overrides
    )


def scores(ran: Ran) -> dict[str, float]:
    assert ran.status == 0, ran.err + ran.out
    return {item["id"]: item["score"] for item in json.loads(ran.file("results.json"))[0]["results"]}


def test_the_score_is_that_of_the_weighted_sum(capfd: Capture, tmp_path: Path) -> None:
    pictures_as_files(tmp_path / "asked", 2)
    file, data = tmp_path / "asked" / "new1.png", over(tmp_path)
    text, other = (scores(ask(capfd, tmp_path, f"query={said}", *data)) for said in ("red picture 7", "blue picture 2"))
    seen = scores(ask(capfd, tmp_path, f"image={file}", "find=pictures", *data))
    both = scores(ask(capfd, tmp_path, "query=red picture 7", f"image={file}", "also=['-0.5:blue picture 2']", *data))
    assert set(both) == set(text) == set(seen)
    plain = np.array([text[name] + seen[name] - 0.5 * other[name] for name in both])
    found = np.array(list(both.values()))
    ratio = plain / found
    assert ratio == pytest.approx(ratio[0], rel=1e-3), "the sum's direction, at length 1"
    assert list(found) == sorted(found, reverse=True)


def test_a_picture_finds_itself_first_and_a_saved_index_answers_alike(capfd: Capture, tmp_path: Path) -> None:
    pictures_as_files(tmp_path / "asked", 1)
    asked = (f"image={tmp_path / 'asked' / 'new0.png'}", "find=pictures", "also=['0.25:red']")
    made = scores(ask(capfd, tmp_path, *asked, *over(tmp_path), f"save_index={tmp_path / 'index'}"))
    again = scores(ask(capfd, tmp_path, *asked, f"index_dir={tmp_path / 'index'}"))
    assert again == made
    texts = ask(capfd, tmp_path, "query=red picture 7", "also=['blue']", "find=texts", *over(tmp_path))
    assert len(scores(texts)) == 40
    assert b"red picture 7 + blue" in texts.file("index.html")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("query=a", "also=['0:b']"), "also=0:b: a weight of 0 takes no part"),
        (("query=a", f"also=['{'9' * 45}:b']"), "9:b: a weight lies between 0.0001 and 10,000"),
        (("query=a", f"also=['-{'9' * 400}:b']"), "9:b: a weight lies between 0.0001 and 10,000"),
        (("query=a", "also=['0.00001:b']"), "also=0.00001:b: a weight lies between 0.0001 and 10,000"),
        (("query=a", "also=['-1:a']"), "cancel each other out"),
        (("also=['-1:a']",), "must have a weight above 0"),
        (("query=a", "find=videos"), "find=videos: choose one of pictures, texts"),
        (("query=a", "also=['image:none.png']"), "image=none.png: no such file"),
        (("query=a", "also=['b']", "reranker=captions"), "is asked of the vectors alone"),
    ],
)
def test_what_cannot_be_put_together_is_told(
    capfd: Capture, tmp_path: Path, overrides: tuple[str, ...], told: str
) -> None:
    ran = ask(capfd, tmp_path, *over(tmp_path), *overrides)
    assert ran.status == 2
    assert told in ran.err
