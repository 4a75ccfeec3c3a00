"""Before any route: who may ask, how much, how fast; and the headers that every answer has. Plain ASGI, as it runs each time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from picdesk.serving.desk import Desk

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
)
OPEN = ("/health", "/ready")
"""What a load balancer asks, which has no token."""
FREE = ("/health", "/ready", "/metrics", "/images/", "/thumbs/", "/static/", "/items/", "/info")
"""What costs next to nothing, and is not counted against the rate of a client."""
FAILED = "the server failed to answer; its log says why"
LOCAL = ("localhost", "127.0.0.1", "::1")
CLIENTS = 10_000


class Refusal(HTTPException):
    """A request that is not let through."""

    def __init__(self, status: int, field: str, message: str, **headers: str) -> None:
        super().__init__(status, message, {name.replace("_", "-"): value for name, value in headers.items()})
        self.field = field


class Rate:
    """A bucket a client, which `rate` tokens a second fill up to twice as many (one at least); the latest 10,000 are known."""

    def __init__(self, rate: float) -> None:
        self.rate, self.most = rate, max(1.0, 2 * rate)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Take one token: 0, or the seconds until there is one."""
        if self.rate <= 0:
            return 0.0
        left, then = self._left.pop(client, (self.most, now))
        left = min(self.most, left + (now - then) * self.rate)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class Guard:
    """Wraps the application. `token` is what every client must know, `names` what it may be called; None for no such rule."""

    def __init__(self, app: App, desk: Desk, token: bytes | None, names: frozenset[str] | None) -> None:
        self.app, self.desk, self.token, self.names = app, desk, token, names
        self.rate = Rate(desk.limits.rate)
        self.most = int(desk.limits.body_mb * (1 << 20))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, told = time.perf_counter(), Told(self.desk, send)
        if scope["method"] == "HEAD":  # as GET; the server below, which knows what was asked, leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            self.check(scope)
            await self.app(scope, Patient(receive, self.most, self.desk.limits.timeout_s), told)
        except Refusal as refusal:
            await told.refuse(refusal)
        except asyncio.CancelledError:
            if not self.desk.stopping:
                raise
            self.desk.unanswered += 1
            await told.refuse(
                Refusal(503, "request", "the server had to end before this was answered", connection="close")
            )
        except Exception:
            if told.status:  # the application has answered, and its server writes down why
                raise
            log.exception("a request could not be answered")
            await told.refuse(Refusal(500, "request", FAILED, connection="close"))
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.desk.counts.requests.labels(route, str(told.status)).inc()
            self.desk.counts.seconds.labels(route).observe(time.perf_counter() - begun)

    def check(self, scope: Scope) -> None:
        """Raise `Refusal` for a request that may not be answered."""
        headers = dict(scope["headers"])
        path: str = scope["path"]
        host = headers.get(b"host", b"").decode("latin-1")
        if self.names is not None and name_of_host(host) not in self.names:
            raise Refusal(400, "Host", "this server is not called that; serve.hosts lists further names")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["method"] != "GET" and origin and host_in(origin) != host:
            raise Refusal(403, "Origin", "another site's page may not ask")
        if self.token is not None and path not in OPEN and not is_known(headers.get(b"authorization", b""), self.token):
            told = 'Bearer realm="picdesk", Basic realm="picdesk", charset="UTF-8"'
            raise Refusal(401, "Authorization", "the bearer token is missing or wrong", www_authenticate=told)
        if not path.startswith(FREE):
            wait = self.rate.take(str((scope.get("client") or ("?",))[0]), time.monotonic())
            if wait:
                raise Refusal(429, "rate", "too many questions; ask again later", retry_after=f"{wait + 1:.0f}")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most:
            raise Refusal(413, "body", f"larger than {self.most:,} bytes", connection="close")


class Patient:
    """The body of a request as it comes: no more than `most` bytes, and not longer than `seconds`."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self.receive, self.most, self.until = receive, most, asyncio.get_running_loop().time() + seconds
        self.whole = False

    async def __call__(self) -> Message:
        """The next piece. Raises `Refusal`."""
        if self.whole:  # what comes now is that the client has gone, and may take as long as it likes
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.until):
                message = await self.receive()
        except TimeoutError:
            raise Refusal(408, "body", "the request did not come to its end", connection="close") from None
        self.most -= len(message.get("body", b""))
        if self.most < 0:
            raise Refusal(413, "body", "larger than this server takes", connection="close")
        self.whole = not message.get("more_body", False)
        return message


class Told:
    """What is sent: every answer gets the headers, and its status is noted."""

    def __init__(self, desk: Desk, send: Send) -> None:
        self.desk, self._send, self.status = desk, send, 0

    async def __call__(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = add_headers(message.get("headers", ()))
            if self.desk.stopping and not any(name == b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Say why not, as every route does."""
        if self.status:
            return
        body = refusal_body(refusal)
        await self({"type": "http.response.start", "status": refusal.status_code, "headers": headers_of(body, refusal)})
        await self({"type": "http.response.body", "body": body})


def refusal_body(refusal: Refusal) -> bytes:
    """What a refusal says, in the form of every error."""
    return json.dumps({"errors": [{"field": refusal.field, "message": refusal.detail}]}).encode()


def headers_of(body: bytes, refusal: Refusal) -> Fields:
    """The headers of a refusal."""
    own = [(name.encode(), value.encode()) for name, value in (refusal.headers or {}).items()]
    return add_headers([(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *own])


def add_headers(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The headers of an answer, and those that every answer has, where it has none of its own."""
    known = list(headers)
    named = {name for name, _ in known}
    return known + [(name, value) for name, value in HEADERS if name not in named]


def is_known(given: bytes, token: bytes) -> bool:
    """Whether the client knows the token: as bearer, or as the password that a browser asks for. Compared in constant time."""
    kind, _, value = given.strip().partition(b" ")
    value = value.strip()
    if kind.lower() == b"basic":
        try:
            value = base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            value = b""
    elif kind.lower() != b"bearer":
        value = b""
    return hmac.compare_digest(value, token)


def host_in(origin: str) -> str | None:
    """The host that an Origin header names, with its port; None for one that names none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:  # brackets without an address of IPv6 in them
        return None


def name_of_host(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
