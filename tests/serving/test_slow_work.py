"""Work that does not come to its end: who waits for it is told so in time, and the server ends in spite of it."""

import base64
import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from picdesk.retrieval.system import System
from picdesk.serving import process
from picdesk.serving.app import application
from picdesk.serving.desk import Desk
from picdesk.serving.process import listen
from picdesk.serving.served import Served
from picdesk.serving.server_settings import Limits
from tests.serving.conftest import client_of, desk_over, tiny


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Files of pictures, and pictures that are sent, take until the event is set."""
    go_on = threading.Event()

    def wait(*given: object) -> bytes:
        go_on.wait(30)
        return b""

    monkeypatch.setattr(Served, "read", wait)
    monkeypatch.setattr(Served, "look_at", wait)
    yield go_on
    go_on.set()


def test_what_waits_for_a_file_is_told_in_time(tmp_path: Path, stuck: threading.Event) -> None:
    own = ("serve.rate=0", "serve.timeout_s=0.3")
    with desk_over(tmp_path, *tiny(tmp_path), *own) as desk, client_of(desk) as client:
        sent = {"picture": ("a.png", b"any")}
        asked: dict[tuple[str, str], dict[str, Any]] = {
            ("GET", "/images/p05"): {},
            ("GET", "/thumbs/small/p05"): {},
            ("POST", "/search/image"): {"files": sent},
            ("POST", "/search/combined"): {"json": {"pieces": [{"item": "p05"}]}},
            ("GET", "/?like=p05"): {},
            ("GET", "/results.json?like=p05"): {},
        }
        begun = time.monotonic()
        with ThreadPoolExecutor(len(asked)) as askers:
            answers = {one: askers.submit(client.request, *one, **given) for one, given in asked.items()}
        assert time.monotonic() - begun < 5
        for one, answer in answers.items():
            assert answer.result().status_code == 503, one
            assert answer.result().json()["errors"] == [{"field": "request", "message": "no answer within 0.3 s"}]
        stuck.set()
        assert client.get("/images/p05").status_code == 415, "and the threads work on"


def test_pictures_are_found_while_the_texts_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the first question for texts begins, and which may take hours."""
    go_on, plain = threading.Event(), System.gallery

    def gallery(self: System, dataset: Any, part: Any, direction: Any, coming: Any = None) -> Any:
        if direction == "i2t":
            go_on.wait(30)
        return plain(self, dataset, part, direction, coming)

    monkeypatch.setattr(System, "gallery", gallery)
    with desk_over(tmp_path, *tiny(tmp_path), "serve.rate=0", "serve.timeout_s=0.5") as desk, client_of(desk) as client:
        paths = ("/results.json?q=red&find=texts", "/?q=red&find=texts", "/results.json?like=p05")
        own = client.get("/images/p05").content
        with ThreadPoolExecutor(4) as askers:
            answers = {path: askers.submit(client.get, path) for path in paths}
            page = askers.submit(client.post, "/", files={"picture": ("a.png", own)}).result()
        for path, early in answers.items():
            assert (early.result().status_code, "texts are being encoded" in early.result().text) == (503, True), path
        assert (page.status_code, "texts are being encoded" in page.text) == (200, True)
        assert ("Pictures found" in page.text, "Texts found" in page.text) == (True, False)
        for path in ("/results.json?q=fresh&top_k=3", "/?q=another", "/info", "/health"):
            assert client.get(path).status_code == 200, path
        go_on.set()
        opening = desk.now.opening("texts")
        assert opening is None or len(opening.result(30)) == 80
        found = client.post("/search", json={"text": "red", "find": "texts", "top_k": 80}).json()["answers"][0][
            "results"
        ]
        assert (len(found), desk.now.opening("texts")) == (80, None)
        assert desk.now.opened.searcher.system.encoder.counts.encoded["text"] == 0, (
            "encoded once, by the model beside it"
        )


def test_the_pieces_of_a_request_have_its_time_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk_over(tmp_path, *tiny(tmp_path), "serve.rate=0", "serve.timeout_s=0.5") as desk, client_of(desk) as client:
        monkeypatch.setattr(Served, "look_at", lambda *given: time.sleep(0.2))
        pieces = [{"picture": base64.b64encode(b"any").decode()}] * 6
        answer = client.post("/search/combined", json={"pieces": pieces})
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (503, "no answer within 0.5 s")


def ended(desk: Desk, monkeypatch: pytest.MonkeyPatch, path: str) -> tuple[list[tuple[int, bytes]], float]:
    """What a client was told that asked for `path`, and how long the server then took to end."""
    made: list[process.Server] = []

    class Caught(process.Server):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(process, "Server", Caught)
    listening = listen(Limits(port=0))
    port, told = listening.getsockname()[1], list[tuple[int, bytes]]()
    server = threading.Thread(target=process.run, args=(desk, application(desk), listening))

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        told.append((answer.status, answer.read()))
        connection.close()

    client = threading.Thread(target=ask)
    server.start()
    while not (made and made[0].started):
        time.sleep(0.01)
    client.start()
    while not made[0].server_state.tasks and not told:
        time.sleep(0.01)
    begun = time.monotonic()
    made[0].should_exit = True
    server.join(30)
    took = time.monotonic() - begun
    client.join(30)
    return told, took


def test_the_end_does_not_wait_for_what_has_no_end(
    tmp_path: Path, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with desk_over(tmp_path, *tiny(tmp_path), "serve.rate=0", "serve.drain_s=0.3") as desk:
        told, took = ended(desk, monkeypatch, "/images/p05")
    assert took < 3
    assert [status for status, _ in told] == [503]
    assert "had to end before this was answered" in json.loads(told[0][1])["errors"][0]["message"]
    assert caplog.messages[-1] == "picdesk: ended at serve.drain_s=0.3, 1 requests without an answer"
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_the_end_says_that_all_was_answered_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with desk_over(tmp_path, *tiny(tmp_path), "serve.rate=0") as desk:
        told, _ = ended(desk, monkeypatch, "/results.json?q=red")
    assert [status for status, _ in told] == [200]
    assert caplog.messages[-1] == "picdesk: ended, every question answered"


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    from picdesk.data.sources import PictureFiles
    from picdesk.errors import DataError

    os.mkfifo(tmp_path / "a.png")
    read: list[str] = []

    def work() -> None:
        try:
            PictureFiles((tmp_path / "a.png",)).read(0)
        except DataError as error:
            read.append(str(error))

    reader = threading.Thread(target=work, daemon=True)
    reader.start()
    reader.join(5)
    assert read == ["picture a.png: is no regular file any more"]
