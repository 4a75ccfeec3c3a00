"""An outside gallery: a folder of pictures or shards, asked by articles and a subset of them."""

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from picdesk.report.submission import faults
from tests.pipelines.doors import run

Capture = pytest.CaptureFixture[str]
TINY = "backbone._target_=tests.pipelines.tiny.Tiny"
ROWS = ("n7,Storm over the harbour,sea;wind,i1", "n3,A cat on a mat,cat,i2", "n5,Election night,,i9")
ARTICLES = "\n".join(["\ufeffarticle_id,article_title,article_tags,image_id", *ROWS, ""])


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picdesk.pipelines.build.ALLOWED", ("picdesk.", "torch.optim.", "pytorch_lightning.", "tests."))


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
