"""What an approximate index costs: recall against exact search, the metric that matters, and time, over its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from picdesk.errors import DataError
from picdesk.interfaces import Embeddings
from picdesk.search import making, measure
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FlatIndex
from picdesk.search.measure import Latency
from picdesk.trec.runs import Floats, Ints, Run

Hits = Callable[[Run], Mapping[str, float]]
"""Scores a run against the qrels: for example hits@1, hits@5, hits@10."""

BATCH = 4096
"""Most queries that are asked at once when the rate is taken; more do not raise it."""


@dataclass(frozen=True)
class TradeOff:
    """One setting of one index. `recall` is recall@top_k against exact search, `hits` what the qrels say of the same run."""

    index: str
    settings: Mapping[str, float]
    recall: float
    hits: Mapping[str, float]
    latency: Latency
    batch_qps: float
    megabytes: float
    pareto: bool = False

    def cells(self) -> dict[str, str | float]:
        """One row of a table."""
        settings = " ".join(f"{key}={value:g}" for key, value in self.settings.items())
        times = {"p50 ms": self.latency.p50_ms, "p95 ms": self.latency.p95_ms, "p99 ms": self.latency.p99_ms}
        sizes = {"queries/s": self.batch_qps, "MB": self.megabytes}
        return {"index": self.index, "settings": settings, "recall": self.recall, **self.hits, **times, **sizes}


def tune_index(
    index: FaissIndex,
    gallery: Embeddings,
    queries: Embeddings,
    hits: Hits,
    top_k: int = 10,
    settings: Sequence[Mapping[str, float]] | None = None,
    singles: int = 1000,
) -> list[TradeOff]:
    """The latency-recall trade-off of `index` over `settings` (its own ladders if None), exact search in the first row.

    Each setting: recall@`top_k` and `hits` over all queries, percentiles of `singles` queries asked one at a time, and the
    rate of (at most `BATCH` of) them at once. The rows on the front (nothing else is both quicker in p50 and of higher
    recall) have `pareto` set. Raises `DataError` if there is nothing to ask or to search.
    """
    if not queries.ids:
        raise DataError("tune_index: there are no queries")
    top_k = min(top_k, len(gallery.ids))
    exact = FlatIndex()
    exact.build(gallery)
    truth = exact.nearest(queries.matrix, top_k)[0]
    if not index.ids:
        index.build(gallery, queries)
    if index.ids != gallery.ids:
        raise DataError(
            f"tune_index: the index holds {len(index.ids)} items, not the {len(gallery.ids)} of the gallery"
        )
    before = dict(index.settings)
    rows = [] if index.exact else [_row(exact, gallery.matrix, queries, truth, hits, top_k, singles)]
    for chosen in _all_settings(index, settings):
        index.tune(chosen)
        rows.append(_row(index, gallery.matrix, queries, truth, hits, top_k, singles))
    index.tune(before)
    return mark_pareto(rows)


def _all_settings(index: FaissIndex, settings: Sequence[Mapping[str, float]] | None) -> list[Mapping[str, float]]:
    if settings is not None:
        return list(settings)
    return [step for ladder in index.ladders(len(index.ids)) for step in ladder]


def _row(
    index: FaissIndex, gallery: Floats, queries: Embeddings, truth: Ints, hits: Hits, top_k: int, singles: int
) -> TradeOff:
    run = index.search(queries, top_k)
    return TradeOff(
        index=" ".join([index.kind, *(f"{key}={value}" for key, value in index.recipe.items() if value is not None)]),
        settings=dict(index.settings),
        recall=measure.recall(run.index, truth, gallery).mean,
        hits=dict(hits(run)),
        latency=measure.latency(index.nearest, queries.matrix[:singles], top_k),
        batch_qps=measure.batch_rate(index.nearest, queries.matrix[:BATCH], top_k),
        megabytes=making.byte_size(index.faiss) / 2**20,
    )


def mark_pareto(rows: Sequence[TradeOff]) -> list[TradeOff]:
    """The same rows with `pareto` set on those that no other row beats in both recall and p50 latency."""

    def is_beaten(row: TradeOff) -> bool:
        mine = (row.recall, -row.latency.p50_ms)
        others = [(other.recall, -other.latency.p50_ms) for other in rows]
        return any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in others)

    return [replace(row, pareto=not is_beaten(row)) for row in rows]
