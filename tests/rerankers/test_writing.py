"""Captions that a language model writes, and what they are good for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.errors import ConfigError
from picdesk.rerankers.llm_rewriting import CaptionWriter, LlmRewriting
from tests.rerankers.helpers import context_of, plain_picture, run_over, unit, vector_of
from tests.rerankers.stub_server import serving
from tests.rerankers.test_endpoint import endpoint

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
ASK = 'Headline: {title} Topics: {tags} Write {count}. {"captions": ["..."]}'
PICTURES = [plain_picture((n, 0, n)) for n in range(3)]
VECTORS = unit(np.random.default_rng(0).normal(size=(3, 8)))


def behave(number: int, request: dict[str, Any]) -> str:
    title = request["messages"][-1]["content"].split("Headline: ")[1].split(" Topics")[0]
    return "no idea" if title == "odd" else json.dumps({"captions": [f"{title} one", f"{title} two", "extra"]})


def test_captions_are_keyed_by_id(tmp_path: Path) -> None:
    with serving(behave) as stub:
        writer = CaptionWriter(endpoint(stub, tmp_path), ASK, "sys", count=2)
        fields = [{"title": "storm", "tags": ["sea", "wind"]}, {"title": "odd"}, {"title": "cat"}]
        found = writer.write(["a7", "a3", "a1"], fields, ["p", "q", "r"])
    assert found == {"a7": ("storm one", "storm two"), "a1": ("cat one", "cat two")}
    assert writer.asker.unusable == ["a3"]
    first = stub.requests[0]["messages"][-1]["content"]
    assert "Topics: sea, wind Write 2." in " ".join(request["messages"][-1]["content"] for request in stub.requests)
    assert '{"captions"' in first


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_candidates_are_compared_with_the_captions_in_the_searched_space(tmp_path: Path, pooling: str) -> None:
    run = run_over([[2, 0], [1, 2]], 3)
    context = context_of(run, ["x", "y"], PICTURES, vectors=VECTORS, fields=[{"title": "storm"}, {"title": "odd"}])
    with serving(behave) as stub:
        writer = CaptionWriter(endpoint(stub, tmp_path), ASK, count=2)
        scores = LlmRewriting(writer, pooling=pooling).score(run, context)
    pool = np.mean if pooling == "mean" else np.max
    expected = [pool([vector_of(f"storm {n}") @ VECTORS[item] for n in ("one", "two")]) for item in (2, 0)]
    assert scores[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert np.isnan(scores[1]).all(), "a text without captions is unscored"


def test_a_file_of_captions_asks_nobody_and_goes_by_id(tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_text(json.dumps({"q1": ["second"], "q0": ["first"], "elsewhere": ["third"]}))
    run = run_over([[2], [2]], 3)
    with serving(behave) as stub:
        writer = CaptionWriter(endpoint(stub, tmp_path), ASK)
        reranker = LlmRewriting(writer, str(tmp_path / "captions.json"))
        scores = reranker.score(run, context_of(run, ["x", "y"], PICTURES, vectors=VECTORS))
    assert stub.requests == []
    assert scores[:, 0].tolist() == pytest.approx([vector_of(c) @ VECTORS[2] for c in ("first", "second")], abs=1e-6)


def test_the_other_way_round_asks_for_the_candidates_only(tmp_path: Path) -> None:
    run = run_over([[2, 0]], 3)
    context = context_of(run, ["x", "y", "z"], PICTURES[:1], "i2t", vectors=VECTORS[:1])
    with serving(behave) as stub:
        scores = LlmRewriting(CaptionWriter(endpoint(stub, tmp_path), ASK, count=1)).score(run, context)
    assert len(stub.requests) == 2
    assert scores[0].tolist() == pytest.approx([vector_of(f"{t} one") @ VECTORS[0] for t in "zx"], abs=1e-6)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with serving(behave) as stub:
        model = endpoint(stub, tmp_path)
    with pytest.raises(ConfigError, match=r"writing\.question"):
        CaptionWriter(model, "write something")
    with pytest.raises(ConfigError, match=r"writing\.count=0"):
        CaptionWriter(model, ASK, count=0)
    with pytest.raises(ConfigError, match=r"reranker\.pooling"):
        LlmRewriting(CaptionWriter(model, ASK), pooling="sum")
