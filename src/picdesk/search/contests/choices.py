"""What contests found, kept beside the store: asked again next time, and written into the record of a job.

A contest measures, so another machine, or the same on another day, may choose otherwise. What is kept makes the second job
repeat the first; what the record of a job holds makes `reproduce=` repeat the job.
"""

import json
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss

from picdesk.files import digest_of, write_json
from picdesk.search.contests.contest import Entry, Rules
from picdesk.search.contests.payback import PAYS
from picdesk.search.faiss_index import FaissIndex

log = logging.getLogger(__name__)
VERSION = 1
MANY_MORE = 4
"""For this many times as many queries as a contest was held for, it is held again: more might win back its building."""


@dataclass(frozen=True)
class Kind:
    """One kind that was measured over all items: what shapes it, its settings, seconds per query and to build."""

    kind: str
    exact: bool
    recipe: Mapping[str, Any]
    settings: Mapping[str, float]
    recall: float
    seconds: float
    build_seconds: float

    @classmethod
    def of(cls, entry: Entry) -> "Kind":
        """What is kept of an entry."""
        index = entry.index
        measured = (entry.recall, entry.seconds, entry.build_seconds)
        return cls(index.kind, index.exact, dict(index.recipe), dict(entry.settings), *measured)

    def total(self, queries: int) -> float:
        """Seconds to answer so many queries, and to build it; exact search is built in any case."""
        return queries * self.seconds + (0.0 if self.exact else self.build_seconds)

    def match(self, candidates: Sequence[FaissIndex], count: int) -> FaissIndex | None:
        """The candidate that this is, where its settings are among those that it would try on `count` items."""
        for index in candidates:
            if (index.kind, index.recipe) == (self.kind, self.recipe):
                steps = [step for ladder in index.ladders(count) for step in ladder]
                return index if not self.settings or self.settings in steps else None
        return None


@dataclass(frozen=True)
class Outcome:
    """What one contest found: `kinds`, the chosen one first, for `queries` queries (0: for any number)."""

    queries: int
    kinds: tuple[Kind, ...]

    def best_for(self, queries: int) -> Kind | None:
        """What to take for so many queries; None where the contest was held for far fewer."""
        if self.queries in (0, queries):
            return self.kinds[0]
        if queries > MANY_MORE * self.queries:
            return None
        exact = next(one for one in self.kinds if one.exact)
        best = min(self.kinds, key=lambda one: one.total(queries))
        return best if best.total(queries) <= PAYS * exact.total(queries) else exact


class Choices:
    """What was chosen, by the fingerprint of the items: in this job (`made`), in the job that is had again (`recorded`), and what
    contests found, by the key of all that they depend on, in `file`.

    A file that is damaged, or of another version, counts as empty; one that cannot be written is done without.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._made: dict[str, dict[str, Any]] = {}
        self.recorded: Mapping[str, str] = {}

    def note(self, fingerprint: str, entry: Entry) -> None:
        """Write down what is at work over these items."""
        index = entry.index
        self._made[fingerprint] = {
            "kind": index.kind,
            "recipe": dict(index.recipe),
            "settings": dict(index.settings),
        }

    @property
    def made(self) -> dict[str, str]:
        """What was chosen in this job, as JSON, by the fingerprint of the items."""
        return {fingerprint: json.dumps(told, sort_keys=True) for fingerprint, told in self._made.items()}

    def of_record(self, fingerprint: str) -> Kind | None:
        """What the job that is had again chose for these items; None where there is none, or it did not choose."""
        text = self.recorded.get(fingerprint)
        if text is None:
            return None
        try:
            told = json.loads(text)
            return Kind(str(told["kind"]), False, dict(told["recipe"]), dict(told["settings"]), 0.0, 0.0, 0.0)
        except (ValueError, KeyError, TypeError, RecursionError):
            log.warning("index=auto: the record of the job names no index (%.60s); it is chosen anew", text)
            return None

    def get(self, key: str) -> Outcome | None:
        """What a contest found before, if one was held."""
        return self._read().get(key)

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep what a contest found."""
        if self.file is None:
            return
        known = {name: asdict(one) for name, one in (self._read() | {key: outcome}).items()}
        try:
            write_json(self.file, {"version": VERSION, "sha256": digest_of(known), "contests": known})
        except OSError as error:
            log.debug("%s: cannot be written (%s)", self.file, error)

    def _read(self) -> dict[str, Outcome]:
        if self.file is None:
            return {}
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            if (kept["version"], kept["sha256"]) != (VERSION, digest_of(kept["contests"])):
                raise ValueError
            return {str(key): _outcome_of(one) for key, one in kept["contests"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            log.warning("%s: damaged, or of another version; what it held is found out anew", self.file)
            return {}


def _outcome_of(kept: Mapping[str, Any]) -> Outcome:
    return Outcome(int(kept["queries"]), tuple(Kind(**one) for one in kept["kinds"]))


def key_of(fingerprint: str, asked: str, rules: Rules, candidates: Sequence[FaissIndex]) -> str:
    """Digest of all that a contest depends on but for the number of queries: items, example queries, rules, machine."""
    names = [Entry(index, 0).name for index in candidates]
    machine = [platform.machine(), os.cpu_count(), faiss.omp_get_max_threads(), faiss.__version__]
    return digest_of([fingerprint, asked, asdict(rules), names, machine])
