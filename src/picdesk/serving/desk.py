"""The desk: what is served now, the answers that are kept, and the thread that makes them. Safe for threads; knows no HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from picdesk.assembly.schema import Settings
from picdesk.data.groups import see_all
from picdesk.embedding.forward import claim_threads, use_threads
from picdesk.embedding.passes import passes_at_once
from picdesk.errors import UserError
from picdesk.readers.queries import read_queries
from picdesk.serving.batching import Hand
from picdesk.serving.bounded_memory import Kept
from picdesk.serving.folding import Folds
from picdesk.serving.prometheus import Counts
from picdesk.serving.questions import AskError, Options, Question, in_time, options_of
from picdesk.serving.served import Served
from picdesk.serving.server_settings import Limits
from picdesk.serving.thumbs import Thumbs
from picdesk.serving.workers import Given, Made, Workers

log = logging.getLogger(__name__)
MEGA = 1 << 20
UPLOADS = 96 * MEGA
"""For pictures that were sent, so that the links of their pages work for a while."""


class Desk:
    """`open_served` opens what is served, at the start and at each reload; a whole generation takes the place of another."""

    def __init__(self, settings: Settings, limits: Limits, open_served: Callable[[], Served]) -> None:
        self.settings, self.limits = settings, limits
        self.headlines = headlines_of(limits.examples)
        self.counts = Counts()
        self.now = open_served()
        self.now.load_trunk("text")
        self._open = open_served
        self._reloading = threading.Lock()
        size = int(self.limits.cache_mb * MEGA)
        self.answers, self.thumbs, self.uploads = Kept(size), Thumbs(size, settings.encode.max_pixels), Kept(UPLOADS)
        self.hand = Hand(
            self._compute, self.limits.batch_ms, self.counts.batches.observe, passes_at_once(), claim_threads
        )
        self.folds, self.workers = Folds(), Workers()
        self.stopping, self.unanswered = False, 0
        self.counts.watch(self)

    def options(self, **given: Any) -> Options:
        """Options as a client gives them."""
        return options_of(self.limits, list(self.now.weights), self.settings.run_depth, **given)

    async def ask(self, question: Question, served: Served | None = None) -> bytes:
        """The answer as JSON, kept or computed. Raises `AskError`."""
        served = served or self.now
        key = (served.number, question.key)
        known = self.answers.get(key)
        if known is not None:
            return known
        opening = served.opening(question.find)
        why = f": the {question.find} are being encoded, which is done once; ask again later" if opening else ""
        async with in_time(self.limits.timeout_s, why):
            if opening:
                await asyncio.wrap_future(opening)
            return await self.hand.ask_in_loop(served, question)

    async def beside(self, work: Callable[Given, Made], *args: Given.args, **named: Given.kwargs) -> Made:
        """What `work` gives, in a thread, within the time that a request has. Raises `AskError` (503) where it takes longer."""
        return await self.workers.do(self.limits.timeout_s, work, *args, **named)

    async def ask_all(self, questions: Sequence[Question]) -> list[bytes]:
        """The answers of several questions, all of one generation."""
        served = self.now
        if len(questions) == 1:
            return [await self.ask(questions[0], served)]
        return list(await asyncio.gather(*(self.ask(question, served) for question in questions)))

    def _compute(self, served: Served, question: Question) -> bytes:
        key = (served.number, question.key)
        known = self.answers.peek(key)  # the same question may have stood before this one in the queue
        if known is not None:
            return known
        answer, fold = served.answer(question), question.options.fold
        known_alike = self.folds.are_known(served)  # before they are asked, as they may be found meanwhile
        if fold:
            answer["results"] = self.folds.fold(served, answer["results"])
        made = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
        if known_alike or not fold:  # what is told before look-alikes are known is not told again afterwards
            self.answers.put(key, made)
        return made

    def reload(self) -> Served:
        """Open anew and put it in the place of what is served; requests under way end with what they began with.

        Raises `AskError` (409) where a reload is under way, `UserError` for what cannot be opened or does not fit: then nothing
        changes.
        """
        if not self._reloading.acquire(blocking=False):
            raise AskError("reload", "a reload is under way", 409)
        try:
            with use_threads(self.now.standing.threads):  # this thread may have been given one alone
                fresh = self._open()
                fresh.load_trunk("text")
            self.now = fresh
            self.answers.clear()
            self.thumbs.clear()
            self.counts.reloads.inc()
            log.info("reloaded: %s", fresh.fingerprint)
            self.prepare()
            return fresh
        finally:
            self._reloading.release()

    def prepare(self) -> None:
        """Do in a thread what the first clients would wait for: whether texts may be encoded together, the picture trunk, what
        looks alike."""
        threading.Thread(target=self._prepare, args=(self.now,), name="prepare", daemon=True).start()

    def _prepare(self, served: Served) -> None:
        try:
            with use_threads(served.standing.threads):
                served.try_company()
                served.load_trunk("image")
                _ = served.owners
                self.folds.find(served, self.limits.fold, see_all)
        except Exception as error:  # a convenience: whoever needs it meets the fault, and is told
            if not self.stopping:
                log.warning("not prepared: %s", error)

    def close(self, seconds: float | None = None) -> None:
        """Answer what waits; what takes longer than `seconds` is left to its thread."""
        self.stopping = True
        self.hand.close(seconds)


def headlines_of(file: str | None) -> tuple[str, ...]:
    """The first texts of `serve.examples`. Raises `UserError` for a file without any."""
    if file is None:
        return ()
    try:
        return tuple(str(query.fields["title"]) for query in read_queries(file)[:200])
    except UserError as error:
        what = str(error)
        raise type(error)(
            f"serve.examples{what.removeprefix('queries')}" if what.startswith("queries=") else what
        ) from None
