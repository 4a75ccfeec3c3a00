"""The way from what is asked of an index to the one that is built: by a record, by what was found before, or by a contest."""

import logging
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np

from picdesk.interfaces import Embeddings
from picdesk.search.contests.choices import Choices, Kind, Outcome, key_of
from picdesk.search.contests.contest import MEGABYTE, Contest, Entry, Rules
from picdesk.search.contests.payback import PayingContest, exact_entry, worth_timing
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.fingerprints import fingerprint_of
from picdesk.trec.runs import Floats

log = logging.getLogger(__name__)


class Choosing:
    """One choice, for `count` queries. `entries` then tells what was compared, `why` why the winner won."""

    def __init__(self, rules: Rules, choices: Choices, count: int) -> None:
        self.rules, self.choices, self.count = rules, choices, count
        self.entries: list[Entry] = []
        self.why = ""

    def choose(
        self,
        gallery: Embeddings,
        queries: Embeddings | None,
        first: FaissIndex | None,
        make_others: Callable[[], Sequence[FaissIndex]],
    ) -> Entry:
        """The winner of `first`, which is exact search, and the others, built over the whole gallery.

        Raises `ConfigError` where no candidate meets the demands.
        """
        exact = self._ready(gallery, first) if first is not None else None
        fingerprint = exact.index.fingerprint if exact is not None else fingerprint_of(gallery)
        known, best = self.choices.of_record(fingerprint), None
        if known is not None:
            best = self._again(known, gallery, exact, make_others(), "as in the job that is had again")
        if best is not None:
            return best
        if exact is not None and not worth_timing(self.rules.use, self.count, len(gallery.ids)):
            return self._at_once(exact)
        asked = fingerprint_of(queries) if queries is not None else ""
        others = make_others()
        key = key_of(fingerprint, asked, self.rules, [*([first] if first is not None else []), *others])
        kept = self.choices.get(key)
        kind = kept.best_for(self.count) if kept is not None else None
        if kind is not None:
            best = self._again(kind, gallery, exact, others, f"as measured before, for {self.count:,} queries")
        return best or self._contest(gallery, queries, exact, others, key)

    def _ready(self, gallery: Embeddings, first: FaissIndex) -> Entry | None:
        """Exact search, built, unless it does not fit the rules."""
        self._unbuilt = copy(first)  # which has no parts that building changes
        unbuilt = Entry(first, len(gallery.ids), megabytes=gallery.matrix.nbytes / MEGABYTE)
        refused = self.rules.refusal(unbuilt)
        entry = unbuilt if refused else exact_entry(first, gallery)
        entry.verdict = refused or self.rules.refusal(entry)
        self.entries = [entry]
        return None if entry.verdict else entry

    def _at_once(self, exact: Entry) -> Entry:
        """Exact search without a look at anything else."""
        exact.verdict = "chosen"
        self.why = f"exact search, ready at once: {self.count:,} queries win back nothing that had to be built"
        return exact

    def _again(
        self, kind: Kind, gallery: Embeddings, exact: Entry | None, others: Sequence[FaissIndex], how: str
    ) -> Entry | None:
        """The index of a kind that was chosen before; None where no candidate is of that kind."""
        if exact is not None and kind.match([exact.index], len(gallery.ids)) is not None:
            best = exact
        else:
            index = kind.match(others, len(gallery.ids))
            if index is None:
                log.warning("index=auto: %s, chosen %s, is none of the kinds here: chosen anew", kind.kind, how)
                return None
            index.build(gallery)
            index.tune(kind.settings)
            best = Entry(index, len(gallery.ids), kind.build_seconds, settings=dict(kind.settings))
            self.entries.append(best)
        best.recall, best.seconds = kind.recall or best.recall, kind.seconds or np.inf
        best.verdict = f"chosen {how}"
        self.why = how
        return best

    def _contest(
        self,
        gallery: Embeddings,
        queries: Embeddings | None,
        exact: Entry | None,
        others: Sequence[FaissIndex],
        key: str,
    ) -> Entry:
        """Measure, keep what was found, and say why."""
        asked, whose = examples_of(gallery, queries)
        if exact is None:
            best = self._quickest(Contest(gallery, asked, self.rules), others, key)
        else:
            contest = PayingContest(gallery, asked, self.rules, exact, self._unbuilt, self.count)
            best = self._least_in_all(contest, others, key)
        single = self.rules.use == "single"
        pace = f"{1000 * best.seconds:.3f} ms a query" if single else f"{1 / best.seconds:,.0f} queries/s"
        met = f"({pace}, recall@{self.rules.top_k} {best.recall:.4f}; {whose})"
        self.why = f"{self.why} in {self.rules.use} use {met}"
        return best

    def _quickest(self, contest: Contest, candidates: Sequence[FaissIndex], key: str) -> Entry:
        """Where exact search has no room: what answers quickest, whatever it takes to build."""
        contest.entries = self.entries
        best = contest.run(candidates)
        self.choices.put(key, Outcome(0, (Kind.of(best),)))
        self.why = f"fastest of {len(candidates)} kinds"
        return best

    def _least_in_all(self, contest: PayingContest, candidates: Sequence[FaissIndex], key: str) -> Entry:
        """Where exact search is ready: what takes least, building included."""
        best = contest.run(candidates)
        self.entries = contest.entries
        if contest.final:
            rest = [entry for entry in contest.final if entry is not best and entry.seconds < np.inf]
            self.choices.put(key, Outcome(self.count, tuple(Kind.of(entry) for entry in (best, *rest))))
        self.why = f"takes least time in all for {self.count:,} queries"
        return best


def examples_of(gallery: Embeddings, queries: Embeddings | None, most: int = 1_000) -> tuple[Floats, str]:
    """At most `most` example queries, evenly picked, and what they are."""
    source, whose = (
        (gallery, "items as queries") if queries is None or not queries.ids else (queries, "example queries")
    )
    rows = np.unique(np.linspace(0, len(source.ids) - 1, min(most, len(source.ids))).round().astype(np.int64))
    return np.ascontiguousarray(source.matrix[rows]), whose
