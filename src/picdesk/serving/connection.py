"""One connection: how long it may keep a request waiting for its end, how much it may send that is no body, and what is said
where there is no request to answer."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from picdesk.serving.guard import Refusal, headers_of, refusal_body

MOST_HEAD = 256 << 10
"""Bytes of a request that are no body: an address, which the parser bounds at 64 kB, a Referer as long, and room for cookies."""
CHUNK_HEAD = len("ffffffff\r\n\r\n")
"""The most that a chunk of a body has around it, but for extensions."""


class Connection(HttpToolsProtocol):
    """Closes a connection whose first request, or any that has begun, has no whole head after `wait_s`, or more than `MOST_HEAD`
    of head, trailers and extensions of chunks, which the parser would keep without bound; the guard counts seconds and bytes of
    the body. Whoever has nothing to ask holds nothing."""

    wait_s = 30.0
    _due: asyncio.TimerHandle | None = None
    _begun = False
    _beside_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Someone connected."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes; those of no request, such as the rest of a body that was answered already, keep nothing open either."""
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > MOST_HEAD:
            self._refuse_size()
        elif self._due is None and self._is_idle():
            self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begun, self._beside_body = True, 0
        self._wait()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which the guard counts."""
        self._beside_body -= len(body)
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """A chunk of the body begins."""
        self._beside_body -= CHUNK_HEAD

    def on_headers_complete(self) -> None:
        """The head is whole."""
        super().on_headers_complete()
        self._begun = False
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request, in the form of every error."""
        self._refuse(Refusal(400, "request", msg))

    def _is_idle(self) -> bool:
        cycle: object = self.cycle  # None until a request came, whatever its type says
        return cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._stop()
        self._due = self.loop.call_later(self.wait_s, self._look)

    def _stop(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _look(self) -> None:
        self._due = None
        if self.transport.is_closing():
            return
        if not self._is_idle():  # the answer before it comes first
            self._wait()
        elif self._begun:
            self._refuse(Refusal(408, "request", "the request did not come to its end"))
        else:
            self.transport.close()

    def _refuse_size(self) -> None:
        """Say that the head is too large, where no answer is under way that this would cut into; close in any case."""
        if self.transport.is_closing():
            return
        self._stop()
        if self._begun and self._is_idle():
            self._refuse(Refusal(431, "request", f"its head is larger than {MOST_HEAD:,} bytes"))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Write a whole answer, and close."""
        body, status = refusal_body(refusal), HTTPStatus(refusal.status_code)
        fields = [*headers_of(body, refusal), (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), head, body))
        self.transport.close()
