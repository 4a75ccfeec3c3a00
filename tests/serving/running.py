"""A server in a process of its own, and clients that load it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """The process, its port, what it says, and the seconds from the command until it was ready."""

    process: "subprocess.Popen[str]"
    port: int
    said: list[str] = field(default_factory=list)
    ready_s: float = 0.0

    def ask(
        self, method: str = "GET", path: str = "/ready", body: Any = None, timeout: float = 60
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def search(self, text: str, **more: Any) -> dict[str, Any]:
        status, body = self.ask("POST", "/search", {"text": text, **more})
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)["answers"][0]
        return found

    def signal(self, signum: int) -> None:
        os.kill(self.process.pid, signum)


@contextmanager
def running(overrides: Sequence[str], cwd: Path = PROJECT, env: dict[str, str] | None = None) -> Iterator[Running]:
    """`serve.py` with these overrides, once it is ready; killed at the end if it still lives."""
    port = free_port()
    command = [sys.executable, str(PROJECT / "serve.py"), *overrides, f"serve.port={port}", "logger=none"]
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
    )
    server = Running(process, port)
    reader = threading.Thread(target=lambda: server.said.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        while True:
            try:
                if server.ask()[0] == 200:
                    break
            except OSError:
                pass
            assert process.poll() is None, "".join(server.said)
            assert time.monotonic() - begun < 240, "".join(server.said)
            time.sleep(0.05)
        server.ready_s = time.monotonic() - begun
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
        if process.stdout:
            process.stdout.close()


@dataclass
class Load:
    """What clients met: `whole` answers by status, and what went wrong once a request was begun."""

    whole: list[tuple[int, bytes]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    refused: int = 0


def load(server: Running, stop: threading.Event, clients: int, body_of: Any) -> tuple[list[threading.Thread], Load]:
    """Clients that ask one question after another over connections that are kept, until `stop`, or nobody listens any more."""
    met = Load()

    def work(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                connection.connect() if connection.sock is None else None
            except ConnectionRefusedError:
                met.refused += 1
                return
            try:
                connection.request(
                    "POST", "/search", json.dumps(body_of(number, turn)), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                met.whole.append((answer.status, answer.read()))
            except (OSError, http.client.HTTPException) as error:
                met.broken.append(f"{type(error).__name__}: {error}")
                connection.close()
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    return threads, met
