"""The index that measures, and the table of what approximate search costs."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.search.auto import AutoIndex
from picdesk.search.contests import contest
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.measure import Latency, latency, percentile, recall
from picdesk.search.quantised import IvfPqIndex
from picdesk.search.tuning import TradeOff, mark_pareto, tune_index
from picdesk.trec.runs import Floats, Ints, Run
from tests.search.clock import Clock
from tests.search.vectors import clustered_vectors, embeddings, lists_of

GALLERY = embeddings(clustered_vectors(600, seed=1), "item")
QUERIES = embeddings(clustered_vectors(80, seed=2), "query")


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    CLOCK.stand_in(monkeypatch)


class Slow(FlatIndex):
    """Exact search that dawdles."""

    kind = "slow"

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        CLOCK.wait(0.003)
        return super().nearest(queries, top_k)


class SlowApproximate(Slow):
    kind = "slow_approximate"
    exact = False


def auto(candidates: Sequence[FaissIndex], **rules: object) -> AutoIndex:
    """For so many queries that every candidate is worth a look."""
    return AutoIndex(candidates=candidates, expect_queries=10**9, **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", ["batch", "single"])
def test_takes_exact_search_where_it_is_faster(use: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    index = auto([SlowApproximate(), FlatIndex()], use=use)
    index.build(GALLERY, QUERIES)
    assert index.chosen_index.kind == "flat"
    assert index.record is not None
    verdicts = {entry.index.kind: entry.verdict for entry in index.record.entries}
    assert verdicts["flat"] == "chosen"
    told = {"batch": "slower on 600 items than exact search on all", "single": "times as long"}
    assert verdicts["slow_approximate"].endswith(told[use])
    assert "index=auto: flat: takes least time in all for 1,000,000,000 queries in" in caplog.text
    assert "recall@10" in caplog.text
    assert lists_of(index.chosen_index, QUERIES, 5) == [
        [run.item_ids[i] for i in row] for run in [index.search(QUERIES, 5)] for row in run.index
    ]


def test_takes_the_approximate_index_where_exact_search_is_slower() -> None:
    index = auto([Slow(), HnswIndex()])
    index.build(GALLERY, QUERIES)
    assert index.chosen_index.kind == "hnsw"
    assert index.chosen_index.settings["efSearch"] >= 16


def test_recall_below_the_demand_does_not_qualify() -> None:
    coarse = IvfPqIndex(lists=4, code_bytes=4, rotate=False, refine=None)
    index = auto([Slow(), coarse], min_recall=0.99)
    index.build(GALLERY, QUERIES)
    assert index.chosen_index.kind == "slow"
    assert index.record is not None
    assert "below min_recall=0.99" in index.record.entries[-1].verdict
    with pytest.raises(ConfigError, match=r"no index meets the demands .*recall 0\.\d+ at best, below min_recall=0.99"):
        auto([IvfPqIndex(lists=4, code_bytes=4, rotate=False, refine=None)]).build(GALLERY, QUERIES)


def test_memory_and_building_time_bound_the_choice() -> None:
    with pytest.raises(ConfigError, match=r"flat: 0\.0732 MB, above memory_mb=0\.01"):
        auto([FlatIndex()], memory_mb=0.01).build(GALLERY, QUERIES)
    with pytest.raises(ConfigError, match="s to build, above build_seconds=1e-09"):
        auto([FlatIndex()], build_seconds=1e-9).build(GALLERY, QUERIES)
    with pytest.raises(ConfigError, match="cannot be built: index 'IVF5000,Flat'"):
        auto([IvfFlatIndex(lists=5000)]).build(GALLERY, QUERIES)


def test_large_galleries_are_compared_on_samples_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where exact search has no room."""
    monkeypatch.setattr(contest, "ALL_AT_ONCE", 100)
    monkeypatch.setattr(contest, "SAMPLE", (200, 300))
    index = auto([SlowApproximate(), HnswIndex(m=8)])
    index.build(GALLERY)
    assert index.record is not None
    slow = [entry for entry in index.record.entries if entry.index.kind == "slow_approximate"]
    assert [entry.items for entry in slow] == [200]
    assert "times the best on all items" in slow[0].verdict
    assert len(index.ids) == 600
    final = [entry for entry in index.record.entries if entry.items == 600]
    assert [entry.verdict for entry in final].count("chosen") == 1
    assert "items as queries" in index.record.why


def test_what_was_chosen_is_saved_with_its_settings(tmp_path: Path) -> None:
    index = auto([Slow(), HnswIndex()])
    index.build(GALLERY, QUERIES)
    index.save(tmp_path, {"backbone": "abc"})
    again = AutoIndex()
    again.load(tmp_path, {"backbone": "abc"})
    assert again.chosen_index.settings == index.chosen_index.settings
    assert again.fingerprint == index.fingerprint
    again.remove(again.ids[:1])
    assert len(again.ids) == 599


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"index\.use='both'"):
        auto([], use="both")
    with pytest.raises(ConfigError, match=r"index\.build_seconds=-1: 0 or more"):
        auto([], build_seconds=-1)
    with pytest.raises(ConfigError, match=r"index\.min_recall=2"):
        auto([], min_recall=2)
    for wrong in (0, "many", 2.5):
        with pytest.raises(ConfigError, match=rf"index\.expect_queries={wrong}: a whole number of at least 1, or null"):
            AutoIndex(expect_queries=wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="build it from a gallery"):
        AutoIndex().search(QUERIES, 1)


@pytest.mark.slow
def test_the_default_candidates_on_a_small_gallery() -> None:
    index = AutoIndex(use="single", expect_queries=10**7)
    index.build(GALLERY, QUERIES)
    assert index.record is not None
    assert len(index.record.entries) == 6
    tight = AutoIndex(memory_mb=0.06, min_recall=0.5)
    tight.build(GALLERY, QUERIES)
    assert not tight.chosen_index.exact


def test_percentiles_are_times_of_real_queries() -> None:
    values = np.array([float(i) for i in range(1, 101)])[::-1].copy()
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile(np.array([3.0]), 0.99) == 3
    skewed = np.array([1.0] * 98 + [7.0, 1000.0])
    assert [percentile(skewed, share) for share in (0.5, 0.95, 0.99)] == [1, 1, 7]
    assert skewed.mean() not in (1, 7)


def test_latency_asks_each_query_once_on_its_own() -> None:
    sizes: list[int] = []

    def nearest(queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        sizes.append(len(queries))
        CLOCK.wait(0.05 if len(sizes) == 30 else 0)
        return np.zeros((1, top_k), np.int32), np.zeros((1, top_k), np.float32)

    told = latency(nearest, QUERIES.matrix[:40], 3)
    assert set(sizes) == {1}
    assert told.queries == 40
    assert told.p50_ms <= told.p95_ms <= told.p99_ms
    assert told.p99_ms >= 50 > told.p50_ms


def test_recall_counts_shared_positions() -> None:
    found = np.array([[0, 1, -1], [5, 4, 3]], np.int32)
    exact = np.array([[1, 0, 2], [5, 6, 7]], np.int32)
    assert recall(found, exact).mean == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_equal_items_stand_for_each_other_in_recall() -> None:
    gallery = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0.6, 0.8]], np.float32)
    exact = np.array([[0, 1, 5], [3, 4, 5]], np.int32)
    for found, share in (
        ([[2, 0, 5], [4, 3, 5]], 1.0),  # others of the same vectors
        ([[2, -1, -1], [5, 0, 1]], 1 / 3),  # one of two equals, one item of three
        ([[0, 1, 2], [3, 4, -1]], 2 / 3),  # a third of the kind is one too many
    ):
        assert recall(np.array(found, np.int32), exact, gallery).mean == pytest.approx(share)


def test_a_gallery_that_holds_pictures_many_times_is_no_worse_for_an_index() -> None:
    """15 copies of each vector, of which a list of ten holds some: HNSW finds what is as near as what exact search finds."""
    gallery = embeddings(np.repeat(GALLERY.matrix[:7], 15, axis=0), "item")
    rows = tune_index(HnswIndex(), gallery, QUERIES, lambda run: {}, settings=[{"efSearch": 128}])
    assert [row.recall for row in rows] == [1.0, 1.0]


def test_tune_index_tells_the_price_of_each_setting() -> None:
    def hits(run: Run) -> dict[str, float]:
        return {"hits@1": float(np.mean(run.index[:, 0] == own))}

    own = np.arange(80)
    queries = embeddings(GALLERY.matrix[:80], "query")
    index = IvfFlatIndex(lists=16, probes=3)
    rows = tune_index(index, GALLERY, queries, hits, settings=[{"nprobe": p} for p in (1, 4, 16)])
    assert [row.index.split()[0] for row in rows] == ["flat", "ivf_flat", "ivf_flat", "ivf_flat"]
    assert [row.settings for row in rows] == [{}, {"nprobe": 1}, {"nprobe": 4}, {"nprobe": 16}]
    recalls = [row.recall for row in rows]
    assert recalls[0] == recalls[3] == 1
    assert recalls[1] < recalls[2] <= 1
    assert rows[0].hits == {"hits@1": 1.0}
    assert any(row.pareto for row in rows)
    assert list(rows[1].cells()) == [
        "index", "settings", "recall", "hits@1", "p50 ms", "p95 ms", "p99 ms", "queries/s", "MB"
    ]  # fmt: skip
    assert index.settings == {"nprobe": 3}
    assert len(tune_index(HnswIndex(), GALLERY, queries, hits, singles=5)) == 14


def test_pareto_front() -> None:
    def row(found: float, p50: float) -> TradeOff:
        return TradeOff("x", {}, found, {}, Latency(p50, p50, p50, 1), 1.0, 1.0)

    marked = mark_pareto([row(1.0, 5), row(0.9, 1), row(0.8, 2), row(0.9, 3), row(0.95, 2), row(0.95, 2)])
    assert [entry.pareto for entry in marked] == [True, True, False, False, True, True]


def test_tuning_another_gallery_is_refused() -> None:
    index = FlatIndex()
    index.build(GALLERY.take(np.arange(10)))
    with pytest.raises(DataError, match="the index holds 10 items, not the 600"):
        tune_index(index, GALLERY, QUERIES, lambda run: {})
