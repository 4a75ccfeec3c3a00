"""`evaluate.py task=tune_index` as a user calls it: table, CSV, JSON, plots, page; one line for what cannot be tuned."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
PNG = b"\x89PNG\r\n\x1a\n"


def tune_job(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    data = write_data(folder / "data", 60)
    settings = (
        "data=parquet",
        f"data.root={data}",
        "data.caption_column=caption",
        "split=all",
        "tune.timed_queries=20",
    )
    tiny = ("backbone._target_=tests.tiny.Tiny", f"paths.store={folder / 'store'}")
    return run(capfd, folder / "out", "evaluate", "task=tune_index", *settings, *tiny, *overrides)


def test_the_trade_off_is_told_in_every_form(capfd: Capture, tmp_path: Path) -> None:
    ran = tune_job(capfd, tmp_path, "index=hnsw", "index.m=4", "tune.settings=[{efSearch:1},{efSearch:512}]")
    assert ran.status == 0, ran.err
    (folder,) = (tmp_path / "out").glob("tune_index/*/*")
    rows = json.loads((folder / "tune_index.json").read_text())
    assert [(row["direction"], row["settings"]) for row in rows] == [
        (direction, settings) for direction in ("t2i", "i2t") for settings in ("", "efSearch=1", "efSearch=512")
    ]
    for exact, quick, thorough in (rows[:3], rows[3:]):
        assert exact["recall@10"] == 1.0
        assert quick["recall@10"] < thorough["recall@10"]
        assert thorough["recall@10"] > 0.98, "the graph finds all but equal vectors in the tenth place"
        assert exact["index"] == "flat"
        for k in (1, 5, 10):
            assert exact[f"hits@{k}"] == thorough[f"hits@{k}"]
    assert all(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)
    page = (folder / "index.html").read_text()
    assert page.index("<h2>Answer</h2>") < page.index("<h2>Plots</h2>") < page.index("<h2>Settings</h2>")
    assert "Text to picture: take " in page
    with (folder / "tune_index.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["p95_ms"]) for line in lines] == [row["p95_ms"] for row in rows]
    assert [line["front"] == "1" for line in lines] == [row["front"] for row in rows]
    assert all((folder / f"pareto-{direction}.png").read_bytes().startswith(PNG) for direction in ("t2i", "i2t"))
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count('<svg class="plot"') == 4
    assert "efSearch=512" in page
    assert 'src="http' not in page
    for words in ("Text to picture: 120 queries, gallery of 60", "recall@10", "hits@1", "p99 ms", "efSearch=1"):
        assert words in ran.out


def test_hits_are_those_that_evaluate_reports(capfd: Capture, tmp_path: Path) -> None:
    tune_job(capfd, tmp_path, "index=flat")
    rows = json.loads(next((tmp_path / "out").glob("tune_index/*/*/tune_index.json")).read_text())
    assert [row["direction"] for row in rows] == ["t2i", "i2t"]
    settings = ("data=parquet", f"data.root={tmp_path / 'data'}", "data.caption_column=caption", "split=all")
    tiny = ("backbone._target_=tests.tiny.Tiny", f"paths.store={tmp_path / 'store'}")
    scored = run(capfd, tmp_path / "scored", "evaluate", *settings, *tiny, "bootstrap.resamples=50")
    metrics = json.loads(scored.file("metrics.json"))
    for row in rows:
        for k in (1, 5, 10):
            np.testing.assert_allclose(row[f"hits@{k}"], metrics[row["direction"]]["metrics"][f"hits@{k}"], atol=1e-12)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("index=hnsw", "tune.settings=[{nprobe:4}]"), ("nprobe=4", "does not know it")),
        (("index=hnsw", "tune.settings=[16]"), ("tune.settings=[16]", "efSearch:16")),
        (("index=hnsw", "tune.settings=[{efSearch:many}]"), ("tune.settings", "efSearch=many", "a number")),
        (("index=hnsw", "tune.timed_queries=0"), ("tune.timed_queries=0", "at least 1")),
        (("index=factory", "index.factory=IVF7:Flat"), ("IVF7:Flat", "faiss cannot make it")),
        (("index=nmslib",), ("index=nmslib", "hnsw")),
    ],
)
def test_mistakes_are_one_line(
    capfd: Capture, tmp_path: Path, overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ran = tune_job(capfd, tmp_path, *overrides)
    one_line(ran, *words)
    assert list((tmp_path / "out").rglob("tune_index.*")) == []


def test_an_index_of_another_making_is_refused(capfd: Capture, tmp_path: Path) -> None:
    one_line(tune_job(capfd, tmp_path, "index=milvus"), "MilvusIndex cannot be tuned here", "hnsw")
    assert list(tmp_path.rglob("milvus.db*")) == []


@pytest.mark.parametrize(("part", "warned"), [("test", True), ("val", False)])
def test_a_page_over_the_test_part_says_that_it_is_not_to_choose_by(part: str, warned: bool) -> None:
    from picdesk.tasks.tune_index import choose_elsewhere

    assert bool(choose_elsewhere(part)) == warned
