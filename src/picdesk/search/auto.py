"""The index chosen by measurement, on the embeddings and queries at hand and on the machine at hand."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings
from picdesk.parts import config_part
from picdesk.search.base import IndexBase
from picdesk.search.contests.choices import Choices
from picdesk.search.contests.choosing import Choosing
from picdesk.search.contests.contest import MEGABYTE, Entry, Rules, Use
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.open_saved import open_index
from picdesk.search.quantised import IvfPqFastScanIndex, IvfPqIndex, PqFastScanIndex
from picdesk.trec.runs import Floats, Ints, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What was compared and why the winner won."""

    entries: tuple[Entry, ...]
    why: str
    use: Use

    def table(self) -> str:
        """Plain-text table, one line per candidate and sample size."""
        unit = "ms/query" if self.use == "single" else "queries/s"
        head = ("index", "items", "build s", "MB", "recall@10", unit, "settings", "verdict")
        rows = [head, *(self._cells(entry) for entry in self.entries)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _cells(self, entry: Entry) -> tuple[str, ...]:
        speed = f"{1000 * entry.seconds:.3f}" if self.use == "single" else f"{1 / entry.seconds:,.0f}"
        settings = " ".join(f"{key}={value:g}" for key, value in entry.settings.items())
        numbers = (f"{entry.items:,}", f"{entry.build_seconds:.2f}", f"{entry.megabytes:.1f}", f"{entry.recall:.4f}")
        return (entry.name, *numbers, "-" if entry.seconds == np.inf else speed, settings, entry.verdict)


@config_part
class AutoIndex(IndexBase):
    """Builds what takes least time in all, among what fits `memory_mb` and reaches `min_recall` of exact search.

    Exact search is ready first, and stays unless another kind wins back its building and its measuring with the queries that are
    to come: `expect_queries` of them, or as many as the job knows of, or one for each item. `use`: `batch` (many at a time, as
    in evaluation) or `single` (one at a time, as in a service). Where the vectors do not fit the memory, what is quickest is
    built, whatever that takes. Candidates that would take longer than `build_seconds` to build are left out.
    The choice is a measurement, so another machine may choose otherwise. It is kept beside the store for the next time, and
    written into the manifest of a job, which `reproduce=` follows.
    """

    def __init__(
        self,
        memory_mb: float = 4096,
        min_recall: float = 0.99,
        use: Use = "batch",
        build_seconds: float = 600,
        expect_queries: int | None = None,
        candidates: Sequence[FaissIndex] | None = None,
    ) -> None:
        if use not in ("batch", "single"):
            raise ConfigError(f"index.use={use!r}: batch or single")
        if not 0 < min_recall <= 1:
            raise ConfigError(f"index.min_recall={min_recall}: above 0, at most 1")
        for key, value in (("memory_mb", memory_mb), ("build_seconds", build_seconds)):
            if not value >= 0:
                raise ConfigError(f"index.{key}={value}: 0 or more")
        if expect_queries is not None and not (isinstance(expect_queries, int) and expect_queries >= 1):
            told = "a whole number of at least 1, or null where it is not known"
            raise ConfigError(f"index.expect_queries={expect_queries}: {told}")
        self.rules = Rules(memory_mb, min_recall, use, 10, build_seconds)
        self.expect_queries = expect_queries
        self._candidates = candidates
        self._choices = Choices()
        self._coming: int | None = None
        self.record: Record | None = None
        self._chosen: FaissIndex | None = None

    tunable = True

    def expect(self, queries: int | None, depth: int) -> None:
        """Be told how many queries will come (None: not known), and how long their lists are."""
        self._coming, self.rules = queries, replace(self.rules, depth=depth)

    def remember_in(self, choices: Choices) -> None:
        """Find what was chosen before in `choices`, and write down there what is chosen."""
        self._choices = choices

    def to_tune(self, items: Embeddings, queries: Embeddings) -> FaissIndex:
        """What is chosen for these items and queries."""
        self.build(items, queries)
        return self.chosen_index

    @property
    def chosen_index(self) -> FaissIndex:
        """The index that does the work. Raises `DataError` before there is one."""
        if self._chosen is None:
            raise DataError("index=auto: nothing is in the index; build it from a gallery or load it first")
        return self._chosen

    @property
    def at_work(self) -> FaissIndex:
        """The chosen index."""
        return self.chosen_index

    @property
    def vectors(self) -> Embeddings | None:
        """Those of the chosen index, where they can be had."""
        return self.chosen_index.vectors

    @property
    def inverted_lists(self) -> int:
        """Those of the chosen index."""
        return self.chosen_index.inverted_lists

    @property
    def probes(self) -> int:
        """Of the chosen index."""
        return self.chosen_index.probes

    def probe(self, lists: int) -> None:
        """Look into so many lists of the chosen index."""
        self.chosen_index.probe(lists)

    @property
    def ids(self) -> tuple[str, ...]:
        """Items that can be found."""
        return self._chosen.ids if self._chosen else ()

    @property
    def fingerprint(self) -> str:
        """Digest over all that was taken in and out."""
        return self._chosen.fingerprint if self._chosen else ""

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Choose and build. Without example queries the items themselves are asked for, which flatters approximate search."""
        if not gallery.ids:
            raise DataError("index: the gallery is empty; there is nothing to search")
        choosing = Choosing(self.rules, self._choices, self.expect_queries or self._coming or len(gallery.ids))
        first, others = self._to_compare(gallery)
        best = choosing.choose(gallery, queries, first, others)
        self._chosen = best.index
        self._choices.note(best.index.fingerprint, best)
        entries = [entry if entry is best else without_items(entry) for entry in choosing.entries]
        self.record = Record(tuple(entries), f"index=auto: {best.name}: {choosing.why}", self.rules.use)
        if len(entries) > 1 and log.isEnabledFor(logging.INFO):
            log.info("%s", self.record.table())
        log.info("%s", self.record.why)

    def _to_compare(self, gallery: Embeddings) -> tuple[FaissIndex | None, Callable[[], Sequence[FaissIndex]]]:
        """Exact search, if it is to be compared, and the other candidates, made where they are looked at."""
        if self._candidates is not None:
            given = self._candidates
            first = next((index for index in given if index.exact), None)
            return first, lambda: [index for index in given if index is not first]
        if gallery.matrix.nbytes <= self.rules.megabytes * MEGABYTE:
            return FlatIndex(), approximate_candidates
        return None, small_candidates

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query."""
        return self.chosen_index.search(queries, top_k)

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        """Positions and scores, both [n, top_k]."""
        return self.chosen_index.nearest(queries, top_k)

    def add(self, more: Embeddings) -> None:
        """Take in further items; the choice stands."""
        self.chosen_index.add(more)

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out."""
        self.chosen_index.remove(ids)

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Write the chosen index, with the search settings that were found."""
        self.chosen_index.save(folder, made_from)

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open a saved index of any kind, with the settings it was saved with."""
        self._chosen, self.record = open_index(folder, expected), None


def without_items(entry: Entry) -> Entry:
    """The entry by an index that holds nothing, so that what was not chosen takes no memory."""
    empty = FaissIndex(entry.index.recipe, entry.index.settings)
    empty.kind, empty.exact = entry.index.kind, entry.index.exact
    return replace(entry, index=empty)


def approximate_candidates() -> list[FaissIndex]:
    """What was seen to win over exact search somewhere between a thousand and a million pictures."""
    return [
        PqFastScanIndex(refine="Flat"),
        HnswIndex(m=16),
        HnswIndex(m=32),
        IvfFlatIndex(),
        IvfPqFastScanIndex(refine="Flat"),
    ]


def small_candidates() -> list[FaissIndex]:
    """For vectors that do not fit the memory."""
    return [
        IvfPqFastScanIndex(refine="SQ8"),
        IvfPqIndex(refine="SQ8", rotate=False),
        IvfPqIndex(refine="SQ4", rotate=False),
        FactoryIndex("SQ8"),
    ]
