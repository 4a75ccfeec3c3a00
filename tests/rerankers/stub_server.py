"""A local server that speaks the OpenAI protocol, and misbehaves on request."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behave = Callable[[int, dict[str, Any]], str]


class Stub:
    """`behave(number, request)` says what request `number` (from 0) gets: a kind of trouble, or the text of the answer."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""


def answer(text: str) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def handler_of(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with stub.lock:
                number = len(stub.requests)
                stub.requests.append(request)
                stub.keys.append(self.headers.get("authorization", ""))
                stub.at_once += 1
                stub.most_at_once = max(stub.most_at_once, stub.at_once)
            try:
                kind = self.work(stub.behave(number, request))
            finally:
                with stub.lock:
                    stub.at_once -= 1  # before the answer goes out: whoever has it may ask again at once
            with suppress(OSError):  # the client has gone
                self.reply(kind)

        def work(self, kind: str) -> str:
            if kind == "hang":
                time.sleep(1.5)
                return "too late"
            if kind == "slow":
                time.sleep(0.2)
                return "slow but sure"
            return kind

        def reply(self, kind: str) -> None:
            if kind in ("429", "500", "401", "404"):
                self.send(
                    int(kind),
                    b'{"error": {"message": "no", "type": "x"}}',
                    {"retry-after": "7"} if kind == "429" else {},
                )
            elif kind == "rubbish":
                self.send(200, b"<html>a proxy's page</html>", {"content-type": "text/html"})
            elif kind == "not json":
                self.send(200, b"certainly!")
            elif kind == "no choices":
                self.send(200, b'{"id": "1", "object": "chat.completion", "choices": []}')
            elif kind == "half":
                data = json.dumps(answer("x" * 500)).encode()
                self.send(200, data[:200], length=len(data))
                self.close_connection = True
            else:
                self.send(200, json.dumps(answer(kind)).encode())

        def send(
            self, status: int, data: bytes, headers: dict[str, str] | None = None, length: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | (headers or {})).items():
                self.send_header(name, value)
            self.send_header("content-length", str(length or len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def serving(behave: Behave) -> Iterator[Stub]:
    """A stub at work; its address is `url`."""
    stub = Stub(behave)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(stub))
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
