"""An outside gallery: a folder of pictures or shards, asked by articles and a subset of them."""

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from picdesk.collection import Collection
from picdesk.data.near import alike
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.errors import DataError
from picdesk.interfaces import PictureBytes
from picdesk.pages.submitting import Choice, png
from picdesk.retrieval.tools import Tools
from picdesk.submissions.folders import faults
from picdesk.tasks.captioner import written_captions
from picdesk.trec.runs import Run
from tests.commands.test_mistakes import one_line
from tests.doors import run
from tests.tiny import Tiny

Capture = pytest.CaptureFixture[str]
TINY = "backbone._target_=tests.tiny.Tiny"
ROWS = ("n7,Storm over the harbour,sea;wind,i1", "n3,A cat on a mat,cat,i2", "n5,Election night,,i9")
ARTICLES = "\n".join(["\ufeffarticle_id,article_title,article_tags,image_id", *ROWS, ""])


@pytest.fixture
def articles(tmp_path: Path) -> Path:
    (tmp_path / "articles.csv").write_text(ARTICLES, encoding="utf-8")
    (tmp_path / "subset.csv").write_text("article_id\nn5\nn7\n")
    return tmp_path / "articles.csv"


def pictures() -> dict[str, bytes]:
    found = {}
    for i in range(6):
        stream = io.BytesIO()
        Image.new("RGB", (24, 16), (40 * i, 255 - 40 * i, 60)).save(stream, "jpeg")
        found[f"{i:03}.jpg"] = stream.getvalue()
    return found


def gallery(folder: Path, kind: str) -> tuple[str, ...]:
    folder.mkdir()
    if kind == "shards":
        with tarfile.open(folder / "one.tar", "w") as shard:
            for name, data in [*pictures().items(), *((f"{i:03}.txt", b"a caption") for i in range(6))]:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
        return ("data=webdataset", f"data.root={folder}")
    for name, data in pictures().items():
        (folder / name).write_bytes(data)
    if kind == "captioned folder":
        (folder / "000.txt").write_text("a caption")
    return ("data=folder", f"data.root={folder}")


@pytest.mark.parametrize("kind", ["folder", "captioned folder", "shards"])
def test_articles_ask_a_gallery_of_any_kind(capfd: Capture, tmp_path: Path, articles: Path, kind: str) -> None:
    data = gallery(tmp_path / "gallery", kind)
    asked = (f"queries={articles}", f"subset={tmp_path / 'subset.csv'}", "prompt=headline_topics", "top_k=3")
    sent = ("submission.group=desk", "submission.approach=tiny", "submission.size=LARGE")
    ran = run(capfd, tmp_path / "out", "retrieve", *data, TINY, *asked, *sent, "split=all")
    assert ran.status == 0, ran.err
    results = json.loads(ran.file("results.json"))
    assert [row["query_id"] for row in results] == ["n5", "n7"]
    rows = list(csv.DictReader(io.StringIO(ran.file("results.csv").decode())))
    assert [(row["query_id"], row["rank"]) for row in rows] == [(q, str(r)) for q in ("n5", "n7") for r in (1, 2, 3)]
    assert (
        "encoded as: News headline: Storm over the harbour. Related topics: sea, wind."
        in ran.file("index.html").decode()
    )
    assert ran.file("run.trec").startswith(b"t2i/n5 Q0 ")
    assert faults(ran.folder / "submission" / "desk", ["n5", "n7"]) == []
    assert (ran.folder / "submission" / "desk" / "RET_tiny_LARGE" / "n7_desk_tiny.png").is_file()


def test_two_runs_of_2026_show_no_picture_twice(capfd: Capture, tmp_path: Path, articles: Path) -> None:
    """The table of 2026 has no tags; pictures are cut to 460x260, and the second run takes the next best."""
    rows = ["article_id,article_url,article_title,image_id", *(f"n{i},u,Title {i},i{i}.JPG" for i in range(3))]
    (tmp_path / "articles26.csv").write_text("\n".join(rows))
    data = (*gallery(tmp_path / "gallery", "folder"), TINY, "split=all", f"queries={tmp_path / 'articles26.csv'}")
    sent = ("prompt=title", "submission.group=desk", "submission.edition=2026", f"paths.store={tmp_path / 'store'}")
    first = run(capfd, tmp_path / "one", "retrieve", *data, *sent, "submission.approach=first")
    assert first.status == 0, first.err
    made = first.folder / "submission"
    assert faults(made, ["n0", "n1", "n2"], 2026, alike) == []
    with Image.open(made / "desk_first" / "n1_desk_first.png") as picture:
        assert picture.size == (460, 260)
    again = ("submission.approach=second", f"submission.other_runs={made}")
    second = run(capfd, tmp_path / "two", "retrieve", *data, *sent, *again)
    assert second.status == 0, second.err
    (second.folder / "submission" / "desk_second").rename(made / "desk_second")
    assert faults(made, ["n0", "n1", "n2"], 2026, alike) == []
    same = run(capfd, tmp_path / "three", "retrieve", *data, *sent, "submission.approach=third", "top_k=1", again[1])
    assert same.status == 2
    assert "other runs show all that was found for 3 articles" in same.err
    wrong = run(capfd, tmp_path / "four", "retrieve", *data, *sent[:2], "submission.crop=middle")
    assert "submission.crop=middle: choose one of similar, centre" in wrong.err


def test_of_a_wide_picture_the_part_that_fits_best_is_shown() -> None:
    wide = Image.new("RGB", (2000, 260), "green")
    wide.paste((255, 0, 0), (1600, 0, 2000, 260))
    asked: list[int] = []

    def redness(rows: Sequence[int], parts: PictureBytes) -> NDArray[np.float32]:
        asked.extend(rows)
        opened = [Image.open(io.BytesIO(parts.read(i))).convert("RGB") for i in range(len(parts))]
        return np.array([np.asarray(one)[..., 0].mean() for one in opened], np.float32)

    found = Run(("n0",), ("a",), np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32), 1)
    shown, sources = Choice(lambda name: png(wide), 10**7, near=redness).pictures(found)
    assert np.asarray(shown["n0"])[..., 0].mean() > 200
    assert asked == [0] * 5
    assert set(sources) == {"n0"}
    middle, _ = Choice(lambda name: png(wide), 10**7).pictures(found)
    assert np.asarray(middle["n0"])[..., 0].max() < 10


def test_a_submission_keeps_to_the_most_pixels_of_the_config(capfd: Capture, tmp_path: Path, articles: Path) -> None:
    """What is in the store is not decoded for the search any more, only for the submission."""
    data = (*gallery(tmp_path / "gallery", "folder"), f"paths.store={tmp_path / 'store'}", TINY, "split=all")
    asked = (f"queries={articles}", "prompt=title", "top_k=3", "submission.group=desk")
    ran = [
        run(capfd, tmp_path / f"out{most}", "retrieve", *data, *asked, f"encode.max_pixels={most}")
        for most in (384, 383)
    ]
    assert [one.status for one in ran] == [0, 2], ran[0].err
    assert "picture '00" in ran[1].err
    assert "24x16 is more than 383 pixels" in ran[1].err


def test_the_picture_that_asks_keeps_to_the_most_pixels_of_the_config(capfd: Capture, tmp_path: Path) -> None:
    data = gallery(tmp_path / "gallery", "shards")
    image = f"image={tmp_path / 'asked.jpg'}"
    (tmp_path / "asked.jpg").write_bytes(pictures()["000.jpg"])
    ran = run(capfd, tmp_path / "out", "retrieve", *data, TINY, "split=all", image, "encode.max_pixels=383")
    one_line(ran, image, "24x16 is more than 383 pixels")


def test_rerankers_and_the_captioner_keep_to_the_most_pixels(tmp_path: Path) -> None:
    data = pictures()["001.jpg"]
    for most, right in ((383, False), (384, True)):
        tools = Tools(Tiny(), Encoder(Store(tmp_path), max_pixels=most))
        with nullcontext() if right else pytest.raises(DataError, match="24x16 is more than 383 pixels"):
            assert tools.decode(data).size == (24, 16)
    one = Collection("x", ("a", "b"), OnePicture(data), (), (), np.empty(0, np.int64))
    assert written_captions(one, Captioning(), 384) == {0: "24 wide", 1: "24 wide"}  # type: ignore[arg-type]
    with pytest.raises(DataError, match="picture 'a': 24x16 is more than 383 pixels; check=full leaves such"):
        written_captions(one, Captioning(), 383)  # type: ignore[arg-type]


class OnePicture:
    """The same bytes twice."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return 2

    def read(self, i: int) -> bytes:
        return self.data


class Captioning:
    """Says how wide pictures are."""

    def captions(self, pictures: list[Image.Image]) -> list[str]:
        return [f"{picture.width} wide" for picture in pictures]


def test_defect_d_unreadable_and_missing_pictures_shift_nothing(capfd: Capture, tmp_path: Path, articles: Path) -> None:
    """In system D a broken picture stayed in the list of paths and shifted all behind it; a missing one was a KeyError."""
    whole = gallery(tmp_path / "whole", "folder")
    holed = gallery(tmp_path / "holed", "folder")
    (tmp_path / "holed" / "001.jpg").write_bytes(b"broken")
    (tmp_path / "holed" / "002b.jpg").write_bytes(b"")
    asked = (
        f"queries={articles}",
        "prompt=title",
        "top_k=6",
        "split=all",
        TINY,
        "data.max_bad_fraction=0.5",
        "check=full",
    )
    ran = [run(capfd, tmp_path / f"out{n}", "retrieve", *data, *asked) for n, data in enumerate((whole, holed))]
    assert [one.status for one in ran] == [0, 0], ran[1].err
    tables = [list(csv.DictReader(io.StringIO(one.file("results.csv").decode()))) for one in ran]
    scores = [{(row["query_id"], row["item_id"]): row["score"] for row in table} for table in tables]
    assert {key[1] for key in scores[0]} - {key[1] for key in scores[1]} == {"001.jpg"}
    assert all(scores[0][key] == value for key, value in scores[1].items())


def test_mistakes_are_told_before_anything_is_encoded(capfd: Capture, tmp_path: Path, articles: Path) -> None:
    data = gallery(tmp_path / "gallery", "folder")
    for overrides, words in (
        (("query=x", "subset=s.csv"), "give queries=FILE too"),
        (("query=x", "submission.group=desk"), "give them by queries=FILE"),
        ((f"queries={articles}", "submission.group=my_desk"), "submission.group=my_desk"),
        ((f"queries={articles}", "submission.group=desk", "submission.size=HUGE"), "submission.size=HUGE"),
    ):
        ran = run(capfd, tmp_path / "out", "retrieve", *data, TINY, *overrides)
        assert ran.status == 2
        assert words in ran.err
    assert not list((tmp_path / "out").rglob("results.json"))
