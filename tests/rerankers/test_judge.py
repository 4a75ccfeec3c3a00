"""The judge: grades by schema, unusable answers asked again once, then left unscored and listed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from picdesk.errors import ConfigError
from picdesk.interfaces import RerankContext
from picdesk.rerankers.asking import form_of, parse_answer
from picdesk.rerankers.vlm_judge import VlmJudge
from picdesk.search.fusion import WeightedSum
from picdesk.trec.runs import Run
from tests.conftest import PROJECT
from tests.rerankers.helpers import context_of, plain_picture, run_over
from tests.rerankers.stub_server import serving
from tests.rerankers.test_endpoint import endpoint

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
CONF = OmegaConf.load(PROJECT / "conf" / "reranker" / "vlm_judge.yaml")
CRITERIA = {"relevance": 3.0, "quality": 1.0}
ASK = 'Text: {text} {"relevance": 1}'


def two() -> tuple[Run, RerankContext]:
    run = run_over([[0, 1], [1, 2]], 3)
    pictures = [plain_picture((n, n, 0)) for n in (10, 120, 240)]
    return run, context_of(run, ["storm", "cat"], pictures)


def text_of(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"][-1]["text"])


def test_the_score_is_the_weighted_mean_of_the_grades(tmp_path: Path) -> None:
    run, context = two()
    with serving(
        lambda number, request: (
            '{"relevance": 5, "quality": 1}'
            if "storm" in text_of(request)
            else '```json\n{"relevance": 2, "quality": 4}\n```'
        )
    ) as stub:
        judge = VlmJudge(endpoint(stub, tmp_path), ASK, CRITERIA)
        scores = judge.score(run, context)
    assert scores.tolist() == [[4.0, 4.0], [2.5, 2.5]]
    assert len(stub.requests) == 4
    assert judge.counts["lm_calls"] == 4
    assert judge.unusable == []


def test_defect_d_an_unparsable_answer_is_asked_again_once_then_left_unscored_and_listed(tmp_path: Path) -> None:
    """System D counted it silently as 2.5."""
    run, context = two()

    def behave(number: int, request: dict[str, Any]) -> str:
        return "I cannot judge that." if "storm" in text_of(request) else '{"relevance": 4, "quality": 4}'

    with serving(behave) as stub:
        judge = VlmJudge(endpoint(stub, tmp_path), ASK, CRITERIA)
        scores = judge.score(run, context)
        assert np.isnan(scores[0]).all()
        assert scores[1].tolist() == [4.0, 4.0]
        assert len(stub.requests) == 2 * 2 + 2, "each of the two bad ones twice, no more"
        assert judge.counts["lm_unparsable"] == 2
        assert judge.unusable == ["q0 / i0", "q0 / i1"]
        fused = WeightedSum().fuse(run, [scores], [0.5])
        assert fused.index[0].tolist() == run.index[0].tolist()
        judge.score(run, context)
        assert len(stub.requests) == 6, "nor are they asked in the next job"


def test_the_second_answer_counts(tmp_path: Path) -> None:
    run, context = two()
    with serving(
        lambda number, request: (
            '{"relevance": 3, "quality": 3}' if "nothing else" in text_of(request) else '{"relevance": 3,'
        )
    ) as stub:
        judge = VlmJudge(endpoint(stub, tmp_path), ASK, CRITERIA)
        assert judge.score(run, context).tolist() == [[3.0, 3.0], [3.0, 3.0]]
        assert judge.counts["lm_unparsable"] == 0


def test_defect_d_the_judge_is_asked_whether_the_picture_fits_the_text(tmp_path: Path) -> None:
    """System D's four questions never asked it."""
    assert CONF.criteria.relevance >= 0.5
    assert "relevance: does it show what the text is about?" in CONF.question
    run, context = two()
    with serving(lambda number, request: json.dumps(dict.fromkeys(CONF.criteria, 3))) as stub:
        judge = VlmJudge(endpoint(stub, tmp_path), CONF.question, dict(CONF.criteria), CONF.system)
        assert judge.score(run, context).tolist() == pytest.approx(np.full((2, 2), 3.0))
    assert all(any(word in text_of(request) for word in ("storm", "cat")) for request in stub.requests)
    with pytest.raises(ConfigError, match="relevance must have a weight above 0"):
        VlmJudge(judge.asker.model, ASK, {"quality": 1.0})
    with pytest.raises(ConfigError, match=r"must hold \{text\}"):
        VlmJudge(judge.asker.model, "how good is it?", CRITERIA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        '{"relevance": 3}',
        '{"relevance": 6, "quality": 1}',
        '{"relevance": "3", "quality": 1}',
        '{"relevance": 3.5, "quality": 1}',
        '{"relevance": true, "quality": 1}',
        "[1, 2]",
        '{"relevance": 3, "quality": 1',
        "{" * 2000,
    ],
)
def test_answers_outside_the_schema_are_none(text: str) -> None:
    assert parse_answer(text, form_of(VlmJudge.schema(_Grades()))) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        '{"relevance": 3, "quality": 1}',
        'Sure! {"a": 1} {"relevance": 3, "quality": 1} bye',
        '{"relevance": 3, "quality": 1, "why": "x"}',
        '{"grades": {"relevance": 3, "quality": 1}}',
        '{"relevance": 3, "quality": 1} or, in short, {"quality": 1, "relevance": 3}',
    ],
)
def test_an_object_among_words_is_found(text: str) -> None:
    value = parse_answer(text, form_of(VlmJudge.schema(_Grades())))  # type: ignore[arg-type]
    assert value is not None
    assert (value["relevance"], value["quality"]) == (3, 1)


def test_a_form_that_is_said_again_before_the_answer_is_no_answer() -> None:
    """The grades of the question's own example would be taken for the model's; it is asked again for one object alone."""
    text = 'In the form {"relevance": 1, "quality": 1} my answer is {"relevance": 5, "quality": 4}'
    assert parse_answer(text, form_of(VlmJudge.schema(_Grades()))) is None  # type: ignore[arg-type]


class _Grades:
    criteria = CRITERIA
