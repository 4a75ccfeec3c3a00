"""A machine without a network."""

import socket
from typing import Any

import pytest


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to reach another machine fails, and is noted."""
    tried: list[str] = []

    def refuse(*args: Any, **_: Any) -> None:
        tried.append(str(args))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried
