"""Captions written for articles, keyed by id, resumable, and used for reranking."""

import json
from pathlib import Path
from typing import Any

import pytest

from picdesk.report.manifest import Manifest
from tests.doors import PROJECT, Ran, run
from tests.rerankers.stub_server import serving
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def title_of(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"]).split("headline: ")[1].split("\n")[0]


def captions_of(ran: Ran, outputs: Path) -> tuple[dict[str, list[str]], Manifest]:
    found = max(outputs.rglob("captions.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(found.read_text()), Manifest.read(found.parent / "manifest.json")


def test_captions_are_keyed_by_article_id_and_the_job_goes_on_where_it_was(capfd: Capture, tmp_path: Path) -> None:
    rows = "".join(f"n{i},Headline number {i},topic\n" for i in range(12))
    (tmp_path / "articles.csv").write_text(f"article_id,article_title,article_tags\n{rows}")
    down = {"after": 5}

    def behave(number: int, request: dict[str, Any]) -> str:
        title = title_of(request)
        if number >= down["after"]:
            return "401"
        return "hm" if title == "Headline number 3" else json.dumps({"captions": [f"{title}, seen", "another"]})

    with serving(behave) as stub:
        model = ("language_model.model=stub", f"language_model.base_url={stub.url}", "language_model.concurrency=1")
        command = ("task=write_captions", f"queries={tmp_path / 'articles.csv'}", "writing.count=2", *model)
        first = run(capfd, tmp_path / "out", "retrieve", *command)
        assert first.status == 2
        assert "refuses the question" in first.err
        assert not list((tmp_path / "out").rglob("captions.json")), "nothing half-written"
        down["after"] = 1000
        second = run(capfd, tmp_path / "out", "retrieve", *command)
        assert second.status == 0, second.err
        found, manifest = captions_of(second, tmp_path / "out")
        assert set(found) == {f"n{i}" for i in range(12)} - {"n3"}
        assert found["n7"] == ["Headline number 7, seen", "another"]
        assert manifest.counts["lm_cached"] >= 4
        assert manifest.counts["lm_calls"] + manifest.counts["lm_cached"] == 12 + 1, "n3 is asked again once"
        assert manifest.counts["lm_unparsable"] == 1
        asked = len(stub.requests)
        third = run(capfd, tmp_path / "out", "retrieve", *command)
        assert third.status == 0
        assert len(stub.requests) == asked
        assert captions_of(third, tmp_path / "out")[0] == found


def test_the_file_reranks_without_the_model(capfd: Capture, tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 40)
    data = ("data=parquet", f"data.root={folder}", "data.caption_column=caption", "split=random_70_15_15")
    tiny = (*data, "backbone._target_=tests.tiny.Tiny", "bootstrap.resamples=50")
    with serving(lambda number, request: json.dumps({"captions": [f"seen: {title_of(request)}"]})) as stub:
        model = ("language_model.model=stub", f"language_model.base_url={stub.url}")
        wrote = run(capfd, tmp_path / "out", "retrieve", "task=write_captions", *data, "part=test", *model)
        assert wrote.status == 0, wrote.err
        asked = len(stub.requests)
    found, _ = captions_of(wrote, tmp_path / "out")
    assert asked == len(found)
    file = next((tmp_path / "out").rglob("captions.json"))
    ran = run(capfd, tmp_path / "out", "evaluate", *tiny, "reranker=llm_rewriting", f"reranker.file={file}")
    alone = run(capfd, tmp_path / "out", "evaluate", *tiny)
    assert ran.status == 0, ran.err
    assert Manifest.read(ran.folder / "manifest.json").counts["lm_calls"] == 0
    assert ran.file("run.trec") != alone.file("run.trec")


def test_prompts_and_settings_are_config_files() -> None:
    assert "{title}" in (PROJECT / "conf" / "writing" / "captions.yaml").read_text()
    for name in ("endpoint", "local"):
        text = (PROJECT / "conf" / "language_model" / f"{name}.yaml").read_text()
        assert all(key in text for key in ("temperature", "top_p", "max_tokens"))
