"""A contest in which exact search stands ready, and whatever else is measured or built has to win back what that takes.

Exact search is timed first, by a few of the queries that are to come and in the way they come. Measuring may take a small share
of what it would take for all of them. A candidate is looked at on small samples of the gallery, which tell how its building and
its searching grow; it is built over all items only where that and all queries together are expected to take clearly less.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from picdesk.interfaces import Embeddings
from picdesk.search.contests.contest import MEGABYTE, Contest, Entry, Rules, Use
from picdesk.search.faiss_index import FaissIndex
from picdesk.trec.runs import Floats

SHARE = 0.03
"""What timing exact search and looking at samples may take, as a share of what exact search takes for all queries."""

LEAST_SECONDS = 1.0
"""With less time than this for looking, nothing is looked at."""

LEAST_QUERIES: dict[Use, int] = {"batch": 3_200, "single": 500}
LEAST_PAIRS = 200_000_000
"""For fewer queries, or fewer pairs of a query and an item, exact search is not even timed: all is soon done."""

SINGLES = (5, 200)
"""Queries that exact search is timed by where they come one by one, from and to: a half percent of those to come."""

EXAMPLES, LOOKING = (200, 1_000), (50, 1_000)
"""Example queries that recall is measured by, over all items and on samples: 2% and a half percent of those to come."""

FIRST, GROWTH, FURTHEST = 250, 4, 25
"""Items of the smallest sample; how much larger the next one is; how many times as many items are forecast."""

PAYS = 0.8
"""What is built must be expected to take at most this share of the time that it saves, building included."""

CLEARLY, EXACT_IS_AS_FAST = 0.6, 0.97
"""What takes less than the first share of the best one's time is better. What takes more is timed again, in turn with it, and has
to take less than the second share in three rounds of four, as exact search is not given up for nothing."""

ROUNDS = (3, 15)
"""Rounds of timing in turn: as many as a quarter percent of the queries allow, within these bounds."""

POWERS = {"build_seconds": (0.9, 1.3), "measuring": (0.4, 1.2), "seconds": (0.25, 1.0), "megabytes": (1.0, 1.0)}
"""With which power of the number of items each quantity can grow: slowest and fastest."""


def samples_for(count: int) -> list[int]:
    """Sizes of the samples of a gallery of `count` items, from which its own size can be forecast; none where it is small."""
    sizes = [FIRST, GROWTH * FIRST]
    while sizes[-1] * FURTHEST < count:
        sizes.append(GROWTH * sizes[-1])
    return sizes if 2 * sizes[-1] <= count else []


@dataclass(frozen=True)
class Look:
    """What one sample of `entry.items` items showed; `measuring` is what was spent on it besides building, in seconds."""

    entry: Entry
    measuring: float

    def value(self, what: str) -> float:
        """One of the quantities of `POWERS`."""
        return self.measuring if what == "measuring" else float(getattr(self.entry, what))


@dataclass
class Trial:
    """One candidate, and what its samples have shown so far; `verdict` says why it is looked at no further."""

    index: FaissIndex
    looks: list[Look] = field(default_factory=list)
    verdict: str = ""

    def forecast(self, count: int, cautious: bool = False) -> dict[str, float]:
        """The quantities of `POWERS` for `count` items: by the power law through the last two samples; with one sample by the
        slowest growth, or, `cautious`, by the fastest."""
        return {what: self._ahead(what, count, *powers, cautious) for what, powers in POWERS.items()}

    def _ahead(self, what: str, count: int, slowest: float, fastest: float, cautious: bool) -> float:
        last = self.looks[-1]
        power = fastest if cautious else slowest
        if len(self.looks) > 1:
            before = self.looks[-2]
            grown = np.log(max(last.value(what), 1e-12) / max(before.value(what), 1e-12))
            power = float(np.clip(grown / np.log(last.entry.items / before.entry.items), slowest, fastest))
        return float(last.value(what) * (count / last.entry.items) ** power)

    def tell(self, verdict: str) -> None:
        """Look no further, and say why where the last sample stands in the table."""
        self.verdict = verdict
        if self.looks and not self.looks[-1].entry.verdict:
            self.looks[-1].entry.verdict = verdict


class PayingContest(Contest):
    """One comparison with exact search, which `exact` is ready for, over one gallery for so many queries."""

    def __init__(
        self, gallery: Embeddings, queries: Floats, rules: Rules, exact: Entry, unbuilt: FaissIndex, count: int
    ) -> None:
        super().__init__(gallery, evenly(queries, count // 50, EXAMPLES), rules)
        self.exact, self.count = exact, count
        self._pacing, self._unbuilt = queries, unbuilt
        self._looking = Contest(gallery, evenly(queries, count // 200, LOOKING), rules)
        self.final: list[Entry] = []
        """Exact search and what else was measured over all items; empty where it never came to a contest."""
        self._begun = perf_counter()

    def run(self, candidates: Sequence[FaissIndex]) -> Entry:
        """The winner, ready to be searched."""
        self.entries = [self.exact]
        self.exact.seconds = self._pace()
        budget = SHARE * self.count * self.exact.seconds
        if budget < LEAST_SECONDS:
            self.exact.verdict = "chosen: all queries take less than a contest would"
            return self.exact
        self.final = [self.exact]
        for contest in (self._looking, *([] if samples_for(len(self.gallery.ids)) else [self])):
            contest.until, contest.slowest = self._begun + budget, self.exact.seconds
        trials = [Trial(index) for index in candidates]
        self._look(trials, budget)
        return self._build_what_pays([trial for trial in trials if not trial.verdict], budget)

    def _pace(self) -> float:
        """Seconds per query of exact search, in the way queries come, by 1% of what they take.

        A thousand are asked at once, as a few at once take several times as long a query, over as many items as that allows.
        """
        if self.rules.use == "single":
            few = evenly(self._pacing, self.count // 200, SINGLES)
            return Contest(self.gallery, few, self.rules).seconds_of(self.exact.index)
        whole, items = Contest(self.gallery, self._pacing, self.rules), len(self.gallery.ids)
        part = self.count * items // (200 * len(self._pacing))
        if part >= items:
            return min(whole.seconds_of(self.exact.index) for _ in range(2))
        some = deepcopy(self._unbuilt)
        some.build(self.gallery.take(np.linspace(0, items - 1, part).astype(np.int64)))
        return min(whole.seconds_of(some) for _ in range(2)) * items / part

    @property
    def spent(self) -> float:
        """Seconds since the contest began."""
        return perf_counter() - self._begun

    def _look(self, trials: Sequence[Trial], budget: float) -> None:
        """Look at the samples, the most promising candidate first, until each is known well enough, hopeless or too costly."""
        sizes = samples_for(len(self.gallery.ids))
        rows = np.random.default_rng(0).permutation(len(self.gallery.ids))
        while True:
            going = [trial for trial in trials if not trial.verdict and len(trial.looks) < len(sizes)]
            if not going:
                return
            trial = min(going, key=self._total)
            size = sizes[len(trial.looks)]
            if self.spent + self._cost(trial, size) > budget:
                trial.tell("a longer look at it would take too much of what exact search takes")
            else:
                self._look_at(trial, self.gallery.take(rows[:size]))

    def _look_at(self, trial: Trial, sample: Embeddings) -> None:
        """Build and measure a candidate on a sample, and drop it where it cannot qualify or win back what it costs."""
        start = perf_counter()
        entry = self._looking.measure_index(deepcopy(trial.index), sample)
        trial.looks.append(Look(entry, perf_counter() - start - entry.build_seconds))
        self.entries.append(entry)
        if entry.verdict:
            trial.verdict = entry.verdict
            return
        ahead = trial.forecast(len(self.gallery.ids))
        expected = Entry(trial.index, len(self.gallery.ids), ahead["build_seconds"], ahead["megabytes"])
        refused = self.rules.refusal(expected, "expected ")
        if refused or not self._pays(trial, self.exact):
            trial.tell(refused or self._reason(trial, self.exact))

    def _cost(self, trial: Trial, size: int) -> float:
        """Seconds that a look at a sample is expected to take, rather more than less; 0 where nothing is known yet."""
        if not trial.looks:
            return 0.0
        ahead = trial.forecast(size, cautious=True)
        return ahead["build_seconds"] + ahead["measuring"]

    def _total(self, trial: Trial) -> float:
        """Seconds that building over all items, finding the settings and all queries are expected to take; 0 where not known."""
        if not trial.looks:
            return 0.0
        ahead = trial.forecast(len(self.gallery.ids))
        settings = ahead["measuring"] * len(self.queries) / len(self._looking.queries)
        return ahead["build_seconds"] + settings + self.count * ahead["seconds"]

    def _pays(self, trial: Trial, best: Entry) -> bool:
        return self._total(trial) <= PAYS * self.count * best.seconds

    def _reason(self, trial: Trial, best: Entry) -> str:
        return f"expected to take {self._total(trial):,.3g} s in all, {best.name} {self.count * best.seconds:,.3g} s"

    def _build_what_pays(self, trials: Sequence[Trial], budget: float) -> Entry:
        """Build over all items, the most promising first, as long as the next is expected to save more than it takes."""
        best = self.exact
        for trial in sorted(trials, key=self._total):
            if not trial.looks and self.spent > budget:
                self.entries.append(Entry(trial.index, 0, verdict="no time left to look at it"))
            elif not self._pays(trial, best):
                trial.tell(self._reason(trial, best))
            else:
                trial.tell("built over all items")
                best = self._better(best, self._build(trial.index))
        for entry in self.final:
            entry.verdict = "chosen" if entry is best else entry.verdict or self._behind(entry, best)
        return best

    def _build(self, index: FaissIndex) -> Entry:
        entry = self.measure_index(index, self.gallery)
        self.entries.append(entry)
        if not entry.verdict:
            index.tune(entry.settings)
            self.final.append(entry)
        return entry

    def _better(self, best: Entry, entry: Entry) -> Entry:
        if entry.verdict or CLEARLY * entry.seconds > best.seconds:
            return best
        if entry.seconds < CLEARLY * best.seconds:
            return entry
        rounds = int(np.clip(self.count // (400 * len(self._looking.queries)), *ROUNDS))
        taken = [[self._looking.seconds_of(one.index) for one in (entry, best)] for _ in range(rounds)]
        entry.seconds, best.seconds = (float(value) for value in np.median(taken, axis=0))
        slow = np.quantile([own / other for own, other in taken], 0.75)
        return entry if slow < EXACT_IS_AS_FAST else best

    def _behind(self, entry: Entry, best: Entry) -> str:
        return f"{entry.seconds / best.seconds:.2f} times as long"


def worth_timing(use: Use, queries: int, items: int) -> bool:
    """Whether so many queries over so many items may take long enough for anything else to win back its building."""
    return queries >= LEAST_QUERIES[use] and queries * items >= LEAST_PAIRS


def evenly(queries: Floats, count: int, bounds: tuple[int, int]) -> Floats:
    """So many of the queries, within bounds, evenly picked; all where there are no more."""
    few = min(len(queries), int(np.clip(count, *bounds)))
    return np.ascontiguousarray(queries[np.linspace(0, len(queries) - 1, few).astype(np.int64)])


def exact_entry(index: FaissIndex, gallery: Embeddings) -> Entry:
    """Exact search, built and not timed yet."""
    start = perf_counter()
    index.build(gallery)
    return Entry(index, len(gallery.ids), perf_counter() - start, gallery.matrix.nbytes / MEGABYTE, recall=1.0)
