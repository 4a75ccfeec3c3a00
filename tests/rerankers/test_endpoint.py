"""The OpenAI-compatible route, against a local server with every kind of trouble."""

from pathlib import Path
from typing import Any

import pytest

from picdesk import network
from picdesk.errors import ConfigError, NoAnswerError, UserError
from picdesk.language_models import Question
from picdesk.rerankers.asking import Asker
from picdesk.rerankers.endpoint import Endpoint
from tests.rerankers.helpers import plain_picture
from tests.rerankers.stub_server import Stub, serving

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def endpoint(stub: Stub, folder: Path, waits: list[float] | None = None, **settings: Any) -> Endpoint:
    sleep = (waits if waits is not None else []).append
    given = {"model": "stub", "base_url": stub.url, "timeout_s": 5.0, "retries": 2} | settings
    return Endpoint(str(folder / "answers"), sleep=sleep, **given)


def test_question_settings_and_key_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    with serving(lambda number, request: "yes") as stub:
        model = endpoint(stub, tmp_path, temperature=0.3, max_tokens=9, structured=True)
        got = model.ask(Question("is it?", "be brief", (plain_picture((1, 2, 3)),), {"type": "object"}))
    assert (got.text, got.tokens_in, got.tokens_out) == ("yes", 11, 7)
    request = stub.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"], request["seed"]) == ("stub", 0.3, 9, 0)
    assert request["messages"][0] == {"role": "system", "content": "be brief"}
    picture, text = request["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text["text"] == "is it?"
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert stub.keys == ["Bearer secret-1"]
    assert "secret-1" not in str(vars(model))


def test_address_model_and_key_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda number, request: "yes") as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        monkeypatch.setenv("OPENAI_MODEL", "from-outside")
        assert Endpoint(str(tmp_path)).ask(Question("?")).text == "yes"
    assert stub.requests[0]["model"] == "from-outside"


@pytest.mark.parametrize("trouble", ["429", "500", "rubbish", "not json", "no choices", "half"])
def test_trouble_that_may_pass_is_asked_again_with_longer_waits(tmp_path: Path, trouble: str) -> None:
    waits: list[float] = []
    with serving(lambda number, request: trouble if number < 2 else "at last") as stub:
        assert endpoint(stub, tmp_path, waits).ask(Question("?")).text == "at last"
    assert len(stub.requests) == 3
    assert waits == ([7.0, 7.0] if trouble == "429" else [1.0, 2.0]), "429 says how long"


def test_a_server_that_hangs_is_left_after_the_time_out(tmp_path: Path) -> None:
    with serving(lambda number, request: "hang" if number == 0 else "awake") as stub:
        assert endpoint(stub, tmp_path, timeout_s=0.2).ask(Question("?")).text == "awake"
    assert len(stub.requests) == 2


def test_a_slow_server_is_waited_for(tmp_path: Path) -> None:
    with serving(lambda number, request: "slow") as stub:
        assert endpoint(stub, tmp_path).ask(Question("?")).text == "slow but sure"
    assert len(stub.requests) == 1


@pytest.mark.parametrize("trouble", ["401", "404"])
def test_trouble_that_lasts_is_told_at_once(tmp_path: Path, trouble: str) -> None:
    with serving(lambda number, request: trouble) as stub, pytest.raises(UserError, match="refuses the question"):
        endpoint(stub, tmp_path).ask(Question("?"))
    assert len(stub.requests) == 1


def test_no_answer_after_all_attempts(tmp_path: Path) -> None:
    with serving(lambda number, request: "500") as stub, pytest.raises(NoAnswerError, match="after 3 attempts"):
        endpoint(stub, tmp_path).ask(Question("?"))
    assert len(stub.requests) == 3


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"language_model\.base_url is missing"):
        Endpoint(str(tmp_path), model="m").ask(Question("?"))
    with pytest.raises(ConfigError, match=r"language_model\.model is missing"):
        Endpoint(str(tmp_path), base_url="http://127.0.0.1:9/v1").ask(Question("?"))
    with pytest.raises(ConfigError, match="concurrency=0"):
        Endpoint(str(tmp_path), concurrency=0)


def test_every_question_is_asked_once_ever(tmp_path: Path) -> None:
    questions = [Question("a", name="a"), Question("b", name="b"), Question("a", name="a again")]
    with serving(lambda number, request: "re: " + request["messages"][0]["content"]) as stub:
        first = Asker(endpoint(stub, tmp_path), "test")
        assert first.texts(questions) == ["re: a", "re: b", "re: a"]
        assert len(stub.requests) == 2
        assert first.counts["lm_calls"] == 2
        assert (first.counts["lm_tokens_in"], first.counts["lm_tokens_out"]) == (22, 14)
        second = Asker(endpoint(stub, tmp_path), "test")
        assert second.texts(questions) == ["re: a", "re: b", "re: a"]
        assert (second.counts["lm_calls"], second.counts["lm_cached"]) == (0, 2)
        Asker(endpoint(stub, tmp_path, temperature=0.5), "test").texts(questions)
        Asker(endpoint(stub, tmp_path, model="other"), "test").texts(questions)
        assert len(stub.requests) == 6, "other settings and another model are other answers"
    assert all(path.suffix == ".json" for path in (tmp_path / "answers").rglob("*") if path.is_file())


def test_pictures_are_told_apart_by_content(tmp_path: Path) -> None:
    with serving(lambda number, request: f"answer {number}") as stub:
        asker = Asker(endpoint(stub, tmp_path, concurrency=1), "test")
        texts = asker.texts([Question("a", pictures=(plain_picture((n, 0, 0)),)) for n in (1, 2, 1)])
    assert texts == ["answer 0", "answer 1", "answer 0"]


def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    with serving(lambda number, request: "slow") as stub:
        Asker(endpoint(stub, tmp_path, concurrency=3), "test").texts([Question(str(n)) for n in range(9)])
    assert 2 <= stub.most_at_once <= 3


def test_one_question_without_an_answer_does_not_stop_the_others(tmp_path: Path) -> None:
    def behave(number: int, request: dict[str, Any]) -> str:
        return "500" if request["messages"][0]["content"] == "bad" else "good"

    with serving(behave) as stub:
        asker = Asker(endpoint(stub, tmp_path, concurrency=1), "test")
        assert asker.texts([Question("x"), Question("bad"), Question("y")]) == ["good", None, "good"]
        assert asker.counts["lm_failed"] == 1
        assert asker.texts([Question("bad")]) == [None], "a failure is not kept: it is asked again the next time"


def test_a_server_that_never_answers_stops_the_job(tmp_path: Path) -> None:
    with serving(lambda number, request: "500") as stub, pytest.raises(UserError, match="5 questions"):
        Asker(endpoint(stub, tmp_path, retries=0, concurrency=1), "test").texts([Question(str(n)) for n in range(50)])
    assert len(stub.requests) < 20


def test_a_server_that_stops_answering_stops_the_job_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    questions = [Question(str(n)) for n in range(50)]
    with serving(lambda number, request: "fine" if number < 7 else "500") as stub:
        model = endpoint(stub, tmp_path, retries=0, concurrency=1)
        with pytest.raises(UserError, match=r"5 questions in a row, no answer .*; 7 answers are kept"):
            Asker(model, "test").texts(questions)
        assert len(stub.requests) < 20
    with serving(lambda number, request: "fine") as stub:
        asker = Asker(endpoint(stub, tmp_path, retries=0, concurrency=1), "test")
        assert asker.texts(questions) == ["fine"] * 50
    assert asker.counts["lm_cached"] == 7


def test_a_broken_kept_answer_is_asked_anew(tmp_path: Path) -> None:
    with serving(lambda number, request: "fine") as stub:
        Asker(endpoint(stub, tmp_path), "test").texts([Question("a")])
        (kept,) = (tmp_path / "answers").rglob("*.json")
        kept.write_text('{"answer": ')
        assert Asker(endpoint(stub, tmp_path), "test").texts([Question("a")]) == ["fine"]
    assert len(stub.requests) == 2


def test_no_key_goes_out_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    model = Endpoint(str(tmp_path), model="x", base_url="http://192.0.2.1/v1", retries=0)
    with pytest.raises(ConfigError, match=r"http://192\.0\.2\.1: OPENAI_API_KEY would be sent in clear"):
        model.ask(Question("?"))


def test_a_job_without_network_asks_nobody(tmp_path: Path) -> None:
    with (
        serving(lambda number, request: "yes") as stub,
        network.no_network(),
        pytest.raises(ConfigError, match=r"language_model\.base_url=.*network=true"),
    ):
        endpoint(stub, tmp_path).ask(Question("?"))
    assert not stub.requests


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"top_p": 1.5}, "top_p=1.5: a fraction is between 0 and 1"),
        ({"top_p": float("nan")}, "top_p=nan: a fraction is between 0 and 1"),
        ({"temperature": -1.0}, "temperature=-1.0: 0 or more is needed"),
    ],
)
def test_sampling_out_of_range_is_told(tmp_path: Path, given: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^language_model\.{told}$"):
        Endpoint(str(tmp_path), model="stub", **given)  # type: ignore[arg-type]
