"""The clients of `bench/serve.py`: coroutines in one process, each with a connection of its own that is kept."""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Body = tuple[str, str, bytes]
"""Path, type of the content, and content of a question."""


@dataclass
class Cell:
    """One load on one system: seconds of each answer, and how many were no answer."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    took: float = 0.0

    def row(self) -> dict[str, float]:
        """What the table shows: requests a second, and milliseconds within which so many of a hundred were answered."""
        cuts = statistics.quantiles(self.seconds, n=100) if len(self.seconds) > 1 else [0.0] * 99
        times = {f"p{at}": round(1000 * cuts[at - 1], 2) for at in (50, 95, 99)}
        return {
            "rps": round(len(self.seconds) / self.took, 1),
            **times,
            "errors": self.errors,
            "answers": len(self.seconds),
        }


class Client(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again, on one connection, and does as little else as can be: it has its share of the
    cores."""

    def __init__(self, cell: Cell, until: float, body_of: Callable[[int], Body], turn: Iterator[int]) -> None:
        self.cell, self.until, self.body_of, self.turn = cell, until, body_of, turn
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer, self.size, self.begun = b"", 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first question."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """The next question, while there is time."""
        if time.perf_counter() >= self.until:
            self.transport.close()
            return
        path, kind, body = self.body_of(next(self.turn))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.begun = time.perf_counter()
        self.transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer; its end is told by its length."""
        self.answer += data
        if not self.size and b"\r\n\r\n" in self.answer:
            head = self.answer.partition(b"\r\n\r\n")[0]
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.size = len(head) + 4 + int(length)
        if self.size and len(self.answer) >= self.size:
            self.cell.seconds.append(time.perf_counter() - self.begun)
            self.cell.errors += not self.answer.startswith(b"HTTP/1.1 200 ") or b"results" not in self.answer
            self.answer, self.size = b"", 0
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        """The end; an error where an answer was still to come."""
        early = time.perf_counter() < self.until
        self.cell.errors += bool(error) or early
        self.ended.set_result(None)


def load(port: int, clients: int, seconds: float, body_of: Callable[[int], Body], start: int) -> Cell:
    """So many clients for so long."""
    cell, turn = Cell(), iter(range(start, sys.maxsize))

    async def run() -> None:
        loop, begun = asyncio.get_running_loop(), time.perf_counter()
        made = [
            await loop.create_connection(lambda: Client(cell, begun + seconds, body_of, turn), "127.0.0.1", port)
            for _ in range(clients)
        ]
        await asyncio.gather(*(one.ended for _, one in made))
        cell.took = time.perf_counter() - begun

    asyncio.run(run())
    return cell
