"""Measuring candidates against each other: on growing samples of the gallery first, the last few on all of it.

This is for where the vectors do not fit the memory, so that something has to be built; else `payback` asks what it costs.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings
from picdesk.search import making, measure
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec.runs import Floats, Ints

Use = Literal["batch", "single"]

ALL_AT_ONCE = 8_000
"""Up to this many items every candidate is built over the whole gallery; above, over samples first."""

SAMPLE = (4_000, 25_000)
"""The larger sample is a quarter of the gallery within these bounds; the smaller a quarter of that."""

STAY_WITHIN = 1.6
"""A candidate stays in if it is expected to take at most this many times as long as the best one."""

FINALISTS = 3

RACE_WITHIN = 1.3
"""Who took at most this many times as long as the quickest when first timed is timed again, in turn with the others."""

ROUNDS = (9, 41)
RACE_SECONDS = 8.0
REPEATS, MOMENT = (3, 15), 0.005

MEGABYTE = 2**20


@dataclass
class Entry:
    """What was found out about one candidate on `items` items; `seconds` is per query, `megabytes` of the index."""

    index: FaissIndex
    items: int
    build_seconds: float = 0.0
    megabytes: float = 0.0
    recall: float = 0.0
    seconds: float = float("inf")
    settings: dict[str, float] = field(default_factory=dict)
    verdict: str = ""

    @property
    def name(self) -> str:
        """Kind and what shapes it."""
        shape = " ".join(f"{key}={value}" for key, value in self.index.recipe.items() if value is not None)
        return f"{self.index.kind} {shape}".strip()


@dataclass(frozen=True)
class Rules:
    """What is asked of an index: recall at `top_k` against exact search within `megabytes`, built in `build_seconds`, fast in
    `use` for lists that are `depth` long."""

    megabytes: float
    min_recall: float
    use: Use
    top_k: int
    build_seconds: float
    depth: int = 10

    def refusal(self, entry: Entry, how: str = "") -> str:
        """Why a candidate cannot be taken; empty if it can."""
        if entry.megabytes > self.megabytes:
            return f"{how}{entry.megabytes:.3g} MB, above memory_mb={self.megabytes:g}"
        if entry.build_seconds > self.build_seconds:
            return f"{how}{entry.build_seconds:.3g} s to build, above build_seconds={self.build_seconds:g}"
        return ""


class Contest:
    """One comparison over one gallery and one set of example queries."""

    def __init__(self, gallery: Embeddings, queries: Floats, rules: Rules) -> None:
        self.gallery, self.queries, self.rules = gallery, queries, rules
        self.entries: list[Entry] = []
        self.until, self.slowest = np.inf, np.inf
        """When measuring is broken off, by the processor's clock, and seconds per query from which a candidate is too slow."""
        self._truth: dict[int, Ints] = {}

    def run(self, candidates: Sequence[FaissIndex]) -> Entry:
        """Compare; gives the winner, built over the whole gallery. `entries` then tells the whole story."""
        chosen = self._finalists(candidates) if len(self.gallery.ids) > ALL_AT_ONCE else list(candidates)
        final = [self.measure_index(index, self.gallery) for index in chosen]
        self.entries += final
        fit = [entry for entry in final if not entry.verdict]
        if not fit:
            raise ConfigError(self.nothing_fits())
        best = self._winner(fit)
        for entry in fit:
            entry.verdict = "chosen" if entry is best else f"{entry.seconds / best.seconds:.2f} times as long"
        best.index.tune(best.settings)
        return best

    def _finalists(self, candidates: Sequence[FaissIndex]) -> list[FaissIndex]:
        """Those worth building over the whole gallery, by how their time, size and build grew from one sample to the next."""
        count = len(self.gallery.ids)
        large = int(np.clip(count // 4, *SAMPLE))
        rows = np.random.default_rng(0).permutation(count)[:large]
        samples = [self.gallery.take(rows[: large // 4]), self.gallery.take(rows)]
        expected: list[Entry] = []
        for index in candidates:
            small, big = (self.measure_index(deepcopy(index), sample) for sample in samples)
            ahead = self._expect(small, big, count)
            self.entries.append(big)
            big.verdict = big.verdict or ahead.verdict
            if not big.verdict:
                expected.append(ahead)
        best = min((entry.seconds for entry in expected), default=0.0)
        expected.sort(key=lambda entry: entry.seconds)
        kept = {entry.name for entry in expected[:FINALISTS] if entry.seconds <= STAY_WITHIN * best}
        for entry in self.entries:
            told = next((e for e in expected if e.name == entry.name), None)
            if told is not None:
                times = f"expected {told.seconds / best:.1f} times the best on all items"
                entry.verdict = "to the final" if entry.name in kept else times
        return [candidate for candidate in candidates if Entry(candidate, 0).name in kept]

    def _expect(self, small: Entry, big: Entry, count: int) -> Entry:
        """What is to be expected of a candidate over all items, if what was seen on two samples goes on (power law)."""

        def ahead(first: float, second: float, most: float) -> float:
            if not 0 < first < np.inf:
                return second
            power = np.log(second / first) / np.log(big.items / small.items)
            return float(second * (count / big.items) ** np.clip(power, 0.0, most))

        entry = replace(
            big,
            items=count,
            seconds=ahead(small.seconds, big.seconds, 1.2),
            megabytes=ahead(small.megabytes, big.megabytes, 1.0),
            build_seconds=ahead(small.build_seconds, big.build_seconds, 1.6),
        )
        entry.verdict = self.rules.refusal(entry, "expected ")
        return entry

    def measure_index(self, index: FaissIndex, gallery: Embeddings) -> Entry:
        """Build, size, and the quickest settings that reach the recall asked for."""
        entry = Entry(index, len(gallery.ids))
        start = perf_counter()
        try:
            index.build(gallery)
        except (ConfigError, DataError) as error:
            entry.verdict = f"cannot be built: {error}"
            return entry
        entry.build_seconds = perf_counter() - start
        entry.megabytes = making.byte_size(index.faiss) / MEGABYTE
        top_k = min(self.rules.top_k, len(gallery.ids))
        exact = self._exact_lists(gallery, top_k)
        for ladder in index.ladders(len(gallery.ids)):
            self._climb(entry, ladder, exact, gallery.matrix)
        if entry.verdict:
            entry.seconds = np.inf
        elif entry.seconds == np.inf:
            entry.verdict = f"recall {entry.recall:.3f} at best, below min_recall={self.rules.min_recall:g}"
        else:
            entry.verdict = self.rules.refusal(entry)
        return entry

    def _exact_lists(self, gallery: Embeddings, top_k: int) -> Ints:
        """What exact search finds in the gallery or in a sample of it, which its size tells apart; worked out once."""
        count = len(gallery.ids)
        if count not in self._truth:
            self._truth[count] = measure.exact_positions(gallery.matrix, self.queries, top_k)
        return self._truth[count]

    def _climb(self, entry: Entry, ladder: Sequence[dict[str, float]], exact: Ints, gallery: Floats) -> None:
        """Go up to the first settings that suffice (by more than one standard error), time them, keep them if quicker."""
        for settings in ladder:
            entry.index.tune(settings)
            begun = perf_counter()
            found = entry.index.nearest(self.queries, exact.shape[1])[0]
            ended = perf_counter()
            if ended > self.until or ended - begun > self.slowest * len(self.queries):
                entry.verdict = "" if entry.seconds < np.inf else self._broken_off(entry, ended)
                return
            reached = measure.recall(found, exact, gallery)
            if reached.mean - reached.error >= self.rules.min_recall or entry.index.exact:
                seconds = self.least_seconds(entry.index)
                if seconds < entry.seconds:
                    entry.seconds, entry.settings, entry.recall = seconds, dict(settings), reached.mean
                return
            if entry.seconds == np.inf:
                entry.recall = max(entry.recall, reached.mean)

    def _broken_off(self, entry: Entry, now: float) -> str:
        slow = f"slower on {entry.items:,} items than exact search on all"
        return "it took too much of what exact search takes" if now > self.until else slow

    def least_seconds(self, index: FaissIndex) -> float:
        """The least of three timings, or of as many more as are done in a moment: a few queries are soon disturbed."""
        taken: list[float] = []
        start = perf_counter()
        while len(taken) < REPEATS[0] or (len(taken) < REPEATS[1] and perf_counter() - start < MOMENT):
            taken.append(self.seconds_of(index))
        return min(taken)

    def seconds_of(self, index: FaissIndex) -> float:
        """Seconds per query, in the use and for the length of lists asked for."""
        top_k = min(max(self.rules.top_k, self.rules.depth), len(index.ids))
        if self.rules.use == "single":
            return float(np.median(measure.single_seconds(index.nearest, self.queries[:200], top_k)))
        return measure.batch_seconds(index.nearest, self.queries, top_k) / len(self.queries)

    def _winner(self, entries: Sequence[Entry]) -> Entry:
        """The quickest of those timed in turn."""
        quickest = min(entry.seconds for entry in entries)
        close = [entry for entry in entries if entry.seconds <= RACE_WITHIN * quickest]
        for entry, seconds in zip(close, np.median(self._race(close), axis=0), strict=True):
            entry.seconds = float(seconds)
        return min(close, key=lambda entry: entry.seconds)

    def _race(self, entries: Sequence[Entry]) -> NDArray[np.float64]:
        """Seconds per query [rounds, entries], in turn, so that a busy moment hits all alike; rounds as the time allows."""
        for entry in entries:
            entry.index.tune(entry.settings)
        rounds: list[list[float]] = []
        start = perf_counter()
        while len(rounds) < ROUNDS[0] or (len(rounds) < ROUNDS[1] and perf_counter() - start < RACE_SECONDS):
            rounds.append([self.seconds_of(entry.index) for entry in entries])
        return np.array(rounds)

    def nothing_fits(self) -> str:
        """What is said where no candidate meets the demands."""
        told = "; ".join(f"{entry.name}: {entry.verdict}" for entry in self.entries)
        return f"index=auto: no index meets the demands ({told})"
