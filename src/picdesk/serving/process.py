"""The process: where it listens, what it answers to signals, and its end without a request left half-way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import uvicorn

from picdesk.assembly.opening import Source
from picdesk.errors import ConfigError, UserError
from picdesk.process import stops
from picdesk.serving.app import application
from picdesk.serving.connection import Connection
from picdesk.serving.desk import Desk
from picdesk.serving.guard import LOCAL, App
from picdesk.serving.served import Served
from picdesk.serving.server_settings import OWN, Limits, check, token_of

log = logging.getLogger(__name__)
SWITCH_S = 0.0001
"""How long a thread of Python may go on while another wants to. A pass through a tower asks for its turn at each of some hundred
operators; at Python's 5 ms eight texts took 76 ms each beside a busy thread, and 5.7 at this."""
QUIET_S = 2.0
"""After so long without a question connections are closed: one that is closed while a question is on its way loses it."""

CLOSING_S = 0.5
"""How long those may take to hear it who are told that there is no answer, and threads to end."""


def serve(source: Source, limits: Limits) -> None:
    """Open what is served, listen, answer until TERM or INT. Raises `UserError` for what cannot be opened, or be listened to."""
    check(limits)
    token = token_of(limits)
    listening = listen(limits)  # first, as a port that is taken is told at once
    desk = Desk(source.settings, limits, lambda: Served(source.open()))
    desk.prepare()
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    items = f"{len(desk.now.gallery(desk.now.first_find)):,} {desk.now.first_find}"
    log.info("picdesk: http://%s:%d (%s, %s)", shown, port, items, desk.now.fingerprint)
    run(desk, application(desk, token, names_of(limits, port)), listening)


def listen(limits: Limits) -> socket.socket:
    """A socket that listens. Raises `ConfigError` for an address that this machine does not have, or a port that is taken."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            limits.host, limits.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, proto)
        with contextlib.ExitStack() as unless_bound:
            unless_bound.callback(made.close)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            unless_bound.pop_all()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"serve.host={limits.host}, serve.port={limits.port}: cannot listen there: {why}") from None
    return made


def names_of(limits: Limits, port: int) -> frozenset[str] | None:
    """The names that a client may call the server by: against pages elsewhere that have their own name lead here (DNS rebinding).
    None, for any, where a token or a proxy says who may ask."""
    if limits.host not in OWN and not limits.hosts:
        return None
    return frozenset((*LOCAL, limits.host, *(name.lower() for name in limits.hosts)))


class Server(uvicorn.Server):
    """Ends gently: first no new connections, then the last answer of each connection, with `Connection: close`; then the end."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Through the event loop: TERM and INT end, a second one at once; HUP reloads."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.end)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            yield
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(signum)

    def end(self) -> None:
        """Asked once, gently; asked again, now."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    def reload(self) -> None:
        """In a thread; what goes wrong is told in the log, and nothing changes."""

        def work() -> None:
            try:
                self.desk.reload()
            except UserError as error:
                log.warning("reload refused, and nothing has changed: %s", error)
            except Exception:
                log.exception("reload failed, and nothing has changed")

        threading.Thread(target=work, name="reload", daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let every connection have the answer that it waits for, and one more to close it, before it is closed.

        Clients are told to close from when nobody listens any more on, as one who came again before that could be left in the
        system's queue, which ends with a reset.
        """
        for _ in range(2):  # a turn of the loop to see who is in that queue by now, and one to let them in
            await asyncio.sleep(0)
        self.desk.stopping = True
        for server in self.servers:
            server.close()
        for sock in sockets or ():  # else the system would go on to accept, and nobody would answer
            sock.close()
        loop, state = asyncio.get_running_loop(), self.server_state
        until, seen, busy = loop.time() + self.desk.limits.drain_s, -1, loop.time()
        while state.connections and loop.time() < until and not self.force_exit:
            if state.tasks or state.total_requests != seen:
                seen, busy = state.total_requests, loop.time()
            elif loop.time() - busy > QUIET_S:  # whoever is still connected asks nothing
                break
            await asyncio.sleep(0.02)
        await self.give_up(state.tasks)
        self.force_exit = True  # what is open now has nothing more to say, or nobody who listens
        await super().shutdown(sockets)

    async def give_up(self, left: set[asyncio.Task[None]]) -> None:
        """Have those who still wait told that there is no answer, and close all connections."""
        for task in list(left):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = time.monotonic() + CLOSING_S
        while (self.server_state.connections or left) and time.monotonic() < until:
            await asyncio.sleep(0.02)


def config_of(desk: Desk, app: App) -> uvicorn.Config:
    """How connections are treated."""
    return uvicorn.Config(
        app,
        http=type("Waiting", (Connection,), {"wait_s": desk.limits.timeout_s}),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_keep_alive=65,  # longer than the usual proxy's, so that the proxy closes first
        backlog=1024,
    )


def run(desk: Desk, app: App, listening: socket.socket) -> None:
    """Answer on a socket until the end is asked for."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with stops.leave_signals():
            Server(config_of(desk, app), desk).run(sockets=[listening])
    finally:
        desk.close(CLOSING_S)
        listening.close()
        sys.setswitchinterval(before)
    if desk.unanswered:
        told = "picdesk: ended at serve.drain_s=%g, %d requests without an answer"
        log.warning(told, desk.limits.drain_s, desk.unanswered)
    else:
        log.info("picdesk: ended, every question answered")
