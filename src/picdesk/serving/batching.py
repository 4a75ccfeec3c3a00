"""Some threads encode what has gathered, together; one more makes the answers, one by one, meanwhile.

Texts that are encoded together go through on one thread, so that there may be as many passes at once as there are threads to
compute. The engine is asked by one thread, as in a job. A question that comes alone is answered at once; where several came last
time, a thread waits a few milliseconds for as many.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from picdesk.errors import UserError
from picdesk.serving.questions import AskError, Question
from picdesk.serving.served import Served

log = logging.getLogger(__name__)
MOST = 32
WAITING = 512
Compute = Callable[[Served, Question], bytes]


@dataclass
class Waiting:
    """A question in the queue, and what it is to be answered by."""

    served: Served
    question: Question
    answer: Future[bytes] = field(default_factory=Future)


class Hand:
    """The threads that compute. `compute` makes the answer of one question, once its text is encoded."""

    def __init__(
        self, compute: Compute, wait_ms: float, on_batch: Callable[[int], None] = lambda size: None, passes: int = 1
    ) -> None:
        self.compute, self.wait_s, self.on_batch = compute, wait_ms / 1000, on_batch
        self._queue: queue.Queue[Waiting | None] = queue.Queue(WAITING)
        self._encoded: queue.Queue[list[Waiting] | None] = queue.Queue(1)
        self._encoders = [
            threading.Thread(target=self._encode, name=f"encode {i}", daemon=True) for i in range(1, passes + 1)
        ]
        self._answerer = threading.Thread(target=self._answer, name="answer", daemon=True)
        for thread in (*self._encoders, self._answerer):
            thread.start()

    def ask(self, served: Served, question: Question) -> Future[bytes]:
        """Put a question into the queue. Raises `AskError` (503) where too many wait already."""
        waiting = Waiting(served, question)
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise AskError("request", f"{WAITING} questions are waiting; ask again in a second", 503) from None
        return waiting.answer

    @property
    def length(self) -> int:
        """How many questions wait."""
        return self._queue.qsize()

    def close(self) -> None:
        """Answer what waits, and end."""
        for _ in self._encoders:
            self._queue.put(None)
        for thread in self._encoders:
            thread.join()
        self._encoded.put(None)
        self._answerer.join()

    def _encode(self) -> None:
        last, end = 1, False
        while not end and (first := self._queue.get()) is not None:
            batch, end = self._gather(first, last)
            last = len(batch)
            self.on_batch(last)
            wanted = [one for one in batch if one.answer.set_running_or_notify_cancel()]
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
                self._answer_one(one)

    def _answer_one(self, one: Waiting) -> None:
        try:
            answer = self.compute(one.served, one.question)
        except UserError as error:
            one.answer.set_exception(error)
        except Exception as error:  # whatever it is, the thread must live, and the client be told
            log.exception("a question could not be answered")
            one.answer.set_exception(error)
        else:
            one.answer.set_result(answer)

    def _warm(self, served: Served, questions: list[Question]) -> None:
        """Encoding together only saves time: where it fails, each question meets the fault itself, and is told."""
        try:
            served.warm(questions)
        except Exception as error:
            log.debug("encoding together failed: %s", error)
