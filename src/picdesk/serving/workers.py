"""Work beside the event loop that may wait for a disk, or decode a picture: in threads that nobody waits for at the end."""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from picdesk.serving.questions import in_time

AT_ONCE = min(32, (os.cpu_count() or 1) + 4)
Given = ParamSpec("Given")
Made = TypeVar("Made")
Order = tuple["Future[Any]", Callable[[], Any]]


class Workers:
    """Up to `most` threads, begun when there is something to do. asyncio's own would be waited for at the end of the process, for
    as long as a disk that does not answer keeps them."""

    def __init__(self, most: int = AT_ONCE) -> None:
        self.most = most
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._begun = 0

    async def do(
        self, seconds: float | None, work: Callable[Given, Made], *args: Given.args, **named: Given.kwargs
    ) -> Made:
        """What `work` gives, or raises. Raises `AskError` (503) where that takes more than `seconds` (None: it may), and leaves
        the thread to it."""
        made: Future[Made] = Future()
        self._orders.put((made, partial(contextvars.copy_context().run, work, *args, **named)))
        self._begin()
        async with in_time(seconds):
            return await asyncio.wrap_future(made)

    def _begin(self) -> None:
        if not self._idle.acquire(blocking=False) and self._begun < self.most:
            self._begun += 1
            threading.Thread(target=self._work, name=f"beside {self._begun}", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                made, work = self._orders.get_nowait()
            except queue.Empty:
                self._idle.release()
                made, work = self._orders.get()
            if not made.set_running_or_notify_cancel():  # nobody waits any more
                continue
            try:
                made.set_result(work())
            except BaseException as error:
                made.set_exception(error)
            del made, work  # what was made is no longer held here while the thread waits
