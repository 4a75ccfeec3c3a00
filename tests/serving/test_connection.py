"""Requests that do not come to their end, and what is no request, over a real socket."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import product
from urllib.parse import urlsplit

import pytest

from picdesk.serving.connection import MOST_HEAD
from tests.serving.conftest import desk_over, tiny
from tests.serving.threads import serving_in_a_thread

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("connections")
    with (
        desk_over(folder, *tiny(folder), "serve.rate=0", "serve.timeout_s=0.5") as desk,
        serving_in_a_thread(desk) as address,
    ):
        yield urlsplit(address).port or 0


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    connection.settimeout(5)
    came = b""
    while more := connection.recv(65536):
        came += more
    return came


def answer(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    came = b""
    while not came.endswith(b"}"):
        came += connection.recv(65536)
    return came


def test_half_a_request_is_not_waited_for_whatever_came_before_it(port: int) -> None:
    halves = [b"GET /he", b"GET /health HTTP/1.1\r\nHost: local", HEALTH + b"G"]
    with ExitStack() as open_ones:
        asked = []
        for before, rest in product((b"", HEALTH), halves):
            connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            if before:
                connection.sendall(before)
                assert b" 200 " in answer(connection)
            connection.sendall(rest)
            asked.append((connection, time.monotonic()))
        for connection, begun in asked:  # they wait at the same time
            came = until_closed(connection)
            assert time.monotonic() - begun < 4
            head, _, body = came[came.index(b"HTTP/1.1 408") :].partition(b"\r\n\r\n")
            assert json.loads(body)["errors"][0]["field"] == "request"
            assert b"x-content-type-options: nosniff" in head


def test_the_rest_of_a_body_that_was_answered_keeps_nothing_open(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 100\r\n\r\n"))
        assert b" 200 " in answer(connection)
        connection.sendall(b"x")
        assert until_closed(connection) == b""


def test_a_connection_that_is_kept_may_be_silent_for_longer_than_a_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for silent_s in (0.7, 0):
            connection.sendall(HEALTH)
            assert b" 200 " in answer(connection)
            time.sleep(silent_s)


def test_what_is_no_request_is_told_in_the_form_of_every_error(port: int) -> None:
    for garbage in (b"\x16\x03\x01\x00\x00hello\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(garbage)
            head, _, body = until_closed(connection).partition(b"\r\n\r\n")
            assert (head.split()[1], json.loads(body)["errors"][0]["field"]) == (b"400", "request")
            assert b"content-type: application/json" in head
            assert b"content-security-policy: " in head


CHUNKED = (
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def sent_until_closed(connection: socket.socket, piece: bytes, most: int) -> int:
    """Bytes that a server takes in of the same piece again and again until it closes."""
    sent = 0
    with suppress(OSError):
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    return sent


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * 65536),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X: a\r\n" * 8192),
        (HEALTH + HEALTH[:-2] + b"X: ", b"a" * 65536),
        (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"a" * 65536),
        (CHUNKED + b"2;", b"a" * 65536),
    ],
)
def test_what_is_no_body_has_a_bound(port: int, start: bytes, piece: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(start)
        assert sent_until_closed(connection, piece, 64 << 20) < 48 << 20


def test_a_head_that_is_too_large_is_told(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        time.sleep(0.1)  # what comes in one piece with the start is not counted
        connection.sendall(b"a" * (MOST_HEAD + 1))  # all of it read, as an answer would be lost with what is not
        head, _, body = until_closed(connection).partition(b"\r\n\r\n")
        assert b" 431 " in head
        assert json.loads(body) == {
            "errors": [{"field": "request", "message": "its head is larger than 262,144 bytes"}]
        }


def test_a_body_in_many_small_chunks_is_no_head(port: int) -> None:
    text = json.dumps({"text": "a", "filter": " " * 100_000}).encode()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(CHUNKED + b"".join(b"1\r\n%c\r\n" % letter for letter in text) + b"0\r\n\r\n")
        assert b" 422 " in answer(connection)
