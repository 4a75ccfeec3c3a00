"""Who may ask, and how much: names, origins, tokens, rates, slow bodies, headers."""

import asyncio
import base64
import math
from typing import Any

import pytest

from picdesk.errors import ConfigError, MissingFileError
from picdesk.serving.desk import Desk
from picdesk.serving.guard import Guard, Patient, Rate, Refusal, name_of_host
from picdesk.serving.process import listen, names_of
from picdesk.serving.server_settings import Limits, check, token_of
from tests.serving.conftest import client_of

TOKEN = "correct-horse-battery"


def test_every_answer_has_the_headers(desk: Desk) -> None:
    with client_of(desk) as client:
        for path in ("/", "/health", "/images/p05", "/nothing", "/static/desk.js"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "server" not in headers


def test_a_token_is_needed_everywhere_but_for_the_load_balancer(desk: Desk) -> None:
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    with client_of(desk, token=TOKEN) as client:
        for path in ("/", "/info", "/metrics", "/images/p05", "/results.csv?q=a", "/static/desk.js"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (401, "Authorization")
            assert "Bearer" in refused.headers["www-authenticate"]
            for wrong in (
                "Bearer wrong",
                f"Bearer {TOKEN}x",
                "Basic !!",
                f"Token {TOKEN}",
                "Bearer",
                "Basic " + basic[:-8],
            ):
                assert client.get(path, headers={"authorization": wrong}).status_code == 401, wrong
            for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Basic {basic}"):
                assert client.get(path, headers={"authorization": right}).status_code == 200, right
        assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        assert client.post("/reload").status_code == 401


def test_only_its_own_names_lead_to_it(desk: Desk) -> None:
    with client_of(desk, names=("localhost", "desk.example.org")) as client:
        for host, status in (
            ("localhost:8000", 200),
            ("Desk.Example.org", 200),
            ("evil.example", 400),
            ("localhost.evil.example", 400),
            ("", 400),
        ):
            assert client.get("/health", headers={"host": host}).status_code == status, host
    assert [name_of_host(host) for host in ("[::1]:80", "a:1", "A")] == ["::1", "a", "a"]


def test_another_sites_page_may_not_ask(desk: Desk) -> None:
    with client_of(desk) as client:
        for origin, status in (
            ("http://testserver", 200),
            ("http://evil.example", 403),
            ("null", 403),
            ("http://[evil", 403),
        ):
            asked = client.post("/search", json={"text": "red"}, headers={"origin": origin})
            assert asked.status_code == status, origin


def test_a_fault_of_its_own_is_told_in_the_form_of_every_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(Guard, "check", fail)
    with client_of(desk) as client:
        answer = client.get("/health")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (500, "request")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_client_has_so_many_questions_a_second() -> None:
    rate = Rate(2)
    assert [rate.take("a", 0.0) for _ in range(5)] == [0, 0, 0, 0, 0.5], "twice as many at once"
    assert rate.take("b", 0.0) == 0
    assert rate.take("a", 0.5) == 0
    assert rate.take("a", 0.5) > 0
    assert [Rate(0).take("a", 0.0) for _ in range(1000)] == [0] * 1000


def test_too_many_questions_are_told_when_to_come_again(desk: Desk) -> None:
    desk.limits.rate, before = 0.001, desk.limits.rate
    try:
        with client_of(desk) as client:
            assert client.post("/search", json={"text": "red"}).status_code == 200
            refused = client.post("/search", json={"text": "red"})
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert {client.get(path).status_code for path in ("/health", "/images/p05", "/info")} == {200}
    finally:
        desk.limits.rate = before


def test_a_body_that_never_ends_is_cut_off() -> None:
    async def silence() -> Any:
        await asyncio.sleep(60)

    async def drip() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read(receive: Any, most: int) -> int:
        patient = Patient(receive, most, 0.1)
        try:
            while True:
                await patient()
        except Refusal as refusal:
            return refusal.status_code

    assert asyncio.run(read(silence, 100)) == 408
    assert asyncio.run(read(drip, 100)) == 408
    assert asyncio.run(read(drip, 2)) == 413


def test_other_machines_need_a_token_or_a_word(tmp_path: Any) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.4", "desk.example.org"):
        with pytest.raises(ConfigError, match=r"serve\.host=.*serve\.token_file=FILE.*serve\.open=true"):
            check(Limits(host=host))
        check(Limits(host=host, open=True))
        check(Limits(host=host, token_file="any"))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("port", (70_000, -1, 80.5, True)),
        ("most", (0, 5.5)),
        *((name, (math.inf, math.nan, -1.0, 1e300)) for name in ("rate", "batch_ms", "drain_s")),
        *((name, (math.inf, math.nan, 0.0, 1e300)) for name in ("body_mb", "cache_mb", "timeout_s")),
        ("hosts", ("foo", [1, None], [""], None)),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_key(key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^serve\.{key}=\S*: .* is wanted"):
            check(Limits(**{key: value}))
    check(Limits())


def test_the_token_comes_from_a_file(tmp_path: Any) -> None:
    file = tmp_path / "token"
    with pytest.raises(MissingFileError, match="no such file"):
        token_of(Limits(token_file=str(file)))
    for bad in ("", "short\n", "two words are not good\n", "ä" * 20, b"\xaa\xff" * 20):
        file.write_bytes(bad if isinstance(bad, bytes) else bad.encode())
        with pytest.raises(ConfigError, match="16 ASCII characters or more"):
            token_of(Limits(token_file=str(file)))
    file.write_text(f"{TOKEN}\nignored\n")
    assert token_of(Limits(token_file=str(file))) == TOKEN
    assert token_of(Limits()) is None


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with listen(Limits(port=0)) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"serve\.port={port}: cannot listen there: "):
            listen(Limits(port=port))
    with pytest.raises(ConfigError, match=r"serve\.host=no\.such\.host\.invalid"):
        listen(Limits(host="no.such.host.invalid"))
    assert names_of(Limits(), 8000) == {"localhost", "127.0.0.1", "::1"}
    assert names_of(Limits(host="0.0.0.0"), 8000) is None
    assert "desk" in (names_of(Limits(host="0.0.0.0", hosts=["Desk"]), 8000) or ())
