"""Some threads encode what has gathered, together; one more makes the answers, one by one, meanwhile.

Texts that are encoded together go through on one thread, so that there may be as many passes at once as there are threads to
compute. The engine is asked by one thread, as in a job. A question that comes alone is answered at once; where several came last
time, a thread waits a few milliseconds for as many.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from picdesk.errors import UserError
from picdesk.serving.questions import AskError, Question
from picdesk.serving.served import Served

log = logging.getLogger(__name__)
MOST = 32
WAITING = 512
Compute = Callable[[Served, Question], bytes]


@dataclass
class Waiting:
    """A question in the queue, and what it is to be answered by: a future of threads, or one of the event loop `loop`."""

    served: Served
    question: Question
    answer: Future[bytes] | asyncio.Future[bytes]
    loop: asyncio.AbstractEventLoop | None = None
    found: bytes | Exception = b""

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return self.answer.set_running_or_notify_cancel() if isinstance(self.answer, Future) else not self.answer.done()

    def settle(self) -> None:
        """Tell what was found; in the thread of the loop where there is one."""
        if self.answer.done():
            return
        if isinstance(self.found, Exception):
            self.answer.set_exception(self.found)
        else:
            self.answer.set_result(self.found)


class Hand:
    """The threads that compute. `compute` makes the answer of one question, once its text is encoded."""

    def __init__(
        self,
        compute: Compute,
        wait_ms: float,
        on_batch: Callable[[int], None] = lambda size: None,
        passes: int = 1,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """`passes` threads encode; each thread calls `begin` before anything can be asked."""
        self.compute, self.wait_s, self.on_batch, self._begin = compute, wait_ms / 1000, on_batch, begin
        self._queue: queue.Queue[Waiting | None] = queue.Queue(WAITING)
        self._encoded: queue.Queue[list[Waiting] | None] = queue.Queue(1)
        self._made: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
        self._turn = threading.Lock()
        begun = threading.Barrier(passes + 2)
        self._encoders = [self._start(f"encode {i}", self._encode, begun) for i in range(1, passes + 1)]
        self._answerer = self._start("answer", self._answer, begun)
        begun.wait()

    def _start(self, name: str, work: Callable[[], None], begun: threading.Barrier) -> threading.Thread:
        def run() -> None:
            self._begin()
            begun.wait()
            work()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def ask(self, served: Served, question: Question) -> Future[bytes]:
        """Put a question into the queue. Raises `AskError` (503) where too many wait already."""
        answer: Future[bytes] = Future()
        self._put(Waiting(served, question, answer))
        return answer

    def ask_in_loop(self, served: Served, question: Question) -> asyncio.Future[bytes]:
        """The same for the event loop that runs, which is woken once for several answers."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._put(Waiting(served, question, answer, loop))
        return answer

    def _put(self, waiting: Waiting) -> None:
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise AskError("request", f"{WAITING} questions are waiting; ask again in a second", 503) from None

    @property
    def length(self) -> int:
        """How many questions wait."""
        return self._queue.qsize()

    def close(self, seconds: float | None = None) -> None:
        """Answer what waits, and end; after `seconds` the threads are left to what they are at."""
        until = None if seconds is None else time.monotonic() + seconds

        def left() -> float | None:
            return None if until is None else max(0.0, until - time.monotonic())

        with suppress(queue.Full):
            for _ in self._encoders:
                self._queue.put(None, timeout=left())
            for thread in self._encoders:
                thread.join(left())
            self._encoded.put(None, timeout=left())
            self._answerer.join(left())

    def _encode(self) -> None:
        last, end = 1, False
        while not end and (first := self._queue.get()) is not None:
            batch, end = self._gather(first, last)
            last = len(batch)
            self.on_batch(last)
            wanted = [one for one in batch if one.is_wanted()]
            for served in {id(one.served): one.served for one in wanted}.values():
                self._warm(served, [one.question for one in wanted if one.served is served])
            self._encoded.put(wanted)

    def _gather(self, first: Waiting, last: int) -> tuple[list[Waiting], bool]:
        """What waits with the first; up to `wait_s` longer while there are fewer than last time; and whether it is the end."""
        batch, until = [first], time.monotonic() + self.wait_s
        while len(batch) < MOST:
            left = until - time.monotonic() if len(batch) < last else 0
            try:
                more = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return batch, True
            batch.append(more)
        return batch, False

    def _answer(self) -> None:
        while (batch := self._encoded.get()) is not None:
            for one in batch:
                if not one.answer.done():  # nobody waits any more for what took too long before this one
                    self._answer_one(one)
                    self._hand_out(one)

    def _hand_out(self, one: Waiting) -> None:
        """Tell whoever waits; an event loop is woken once for all that is made until it comes to it."""
        if one.loop is None:
            one.settle()
            return
        with self._turn:
            made = self._made.setdefault(one.loop, [])
            made.append(one)
        if len(made) > 1:
            return
        try:
            one.loop.call_soon_threadsafe(self._settle_all, one.loop)
        except RuntimeError:  # the loop has ended, and with it all that waited
            self._made.pop(one.loop, None)

    def _settle_all(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._turn:
            made = self._made.pop(loop, [])
        for one in made:
            one.settle()

    def _answer_one(self, one: Waiting) -> None:
        try:
            one.found = self.compute(one.served, one.question)
        except UserError as error:
            one.found = error
        except Exception as error:  # whatever it is, the thread must live, and the client be told
            log.exception("a question could not be answered")
            one.found = error

    def _warm(self, served: Served, questions: list[Question]) -> None:
        """Encoding together only saves time: where it fails, each question meets the fault itself, and is told."""
        try:
            served.warm(questions)
        except Exception as error:
            log.debug("encoding together failed: %s", error)
