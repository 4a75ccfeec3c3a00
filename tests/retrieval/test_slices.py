"""Parts of the queries hold what their names say, and advice follows from what was measured only."""

from dataclasses import replace

import numpy as np
import pytest

from picdesk.collection import Collection
from picdesk.data.sources import NoPictures
from picdesk.evaluation.metrics import metrics_of
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.shares import sliced_hits
from picdesk.evaluation.statistics import intervals, wilson
from picdesk.pages import advice
from picdesk.report.content import METRICS, Slice, SliceTable, Value
from picdesk.retrieval.scores import Scored
from picdesk.retrieval.slices import Sliced, by_number, slice_tables
from picdesk.trec.runs import Qrels, Run


def ranks_of(first: list[int], cluster: list[int], gallery: int = 100) -> Ranks:
    count = len(first)
    names = tuple(f"q{i}" for i in range(count))
    return Ranks("t2i", names, np.arange(count + 1), np.array(first, np.int32), gallery, gallery, np.array(cluster))


def scored_case(first: list[int], exact: float | None = None, gallery: int = 100) -> Scored:
    ranks = ranks_of(first, list(range(len(first))), gallery)
    items = tuple(f"i{i}" for i in range(gallery))
    count = len(first)
    run = Run(ranks.query_ids, items, np.zeros((count, 1), np.int32), np.ones((count, 1), np.float32), gallery)
    qrels = Qrels.from_pairs(ranks.query_ids, items, np.arange(count), np.zeros(count, np.int64))
    return Scored(run, qrels, ranks, metrics_of(ranks), intervals(ranks, resamples=50), exact_hits=exact)


def test_parts_cover_all_queries_once_and_say_their_ends() -> None:
    numbers = np.array([1, 1, 2, 3, 3, 4, 5, 8, 13, 21])
    parts = by_number(numbers, "word")
    assert np.array_equal(sum(mask.astype(int) for _, mask in parts), np.ones(len(numbers), int))
    assert [name for name, _ in parts] == ["1 to 2 words", "3 words", "4 to 8 words", "9 or more words"]
    for name, mask in parts:
        ends = [int(word) for word in name.split() if word.isdigit()]
        assert numbers[mask].min() >= ends[0]
        if "more" not in name:
            assert numbers[mask].max() == ends[-1]


def test_equal_numbers_make_one_part() -> None:
    assert len(by_number(np.full(50, 7), "tag")) == 1
    assert by_number(np.empty(0, np.int64), "tag") == ()


def test_hits_of_a_part_are_those_of_its_queries_alone() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(1, 4, 200).tolist()
    ranks = ranks_of(first, [i // 4 for i in range(200)])
    masks = [rng.random(200) < 0.3, np.arange(200) % 4 == 0]
    for mask, found in zip(masks, sliced_hits(ranks, masks, resamples=500), strict=True):
        alone = ranks.take(np.flatnonzero(mask))
        assert found.value == pytest.approx(metrics_of(alone)["hits@1"])
        other = intervals(alone, ks=(1,), resamples=500)["hits@1"]
        assert found.low == pytest.approx(other.low, abs=0.06)
        assert found.high == pytest.approx(other.high, abs=0.06)


def test_one_query_a_picture_has_wilsons_interval() -> None:
    ranks = ranks_of([1, 2, 1, 1, 3] * 10, list(range(50)))
    mask = np.arange(50) < 30
    found = sliced_hits(ranks, [mask], resamples=50)[0]
    alone = intervals(ranks.take(np.flatnonzero(mask)), ks=(1,))["hits@1"]
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)


def test_all_parts_of_a_page_are_one_family() -> None:
    """Those by what was learned from stand before the others; each interval is of Wilson's at 1 less 5% / 6 parts."""
    one, rows = scored_case([1, 2, 1, 1, 3] * 16, gallery=80), np.arange(80)
    texts = tuple({"caption": "word", "source": "ab"[i % 2]} for i in range(80))
    part = Collection("x", one.run.item_ids, NoPictures(80), one.run.query_ids, texts, rows)
    seen = Sliced("Seen before", (("a look-alike", rows < 7), ("none", rows >= 7)))
    tables = slice_tables(part, ["word"] * 80, {"t2i": one}, rows < 30, 50, 0, ("source",), [("t2i", seen)])
    assert [len(table.slices) for table in tables] == [2, 2, 2]
    assert "seen before" in tables[0].title
    assert {table.note.split("; ")[-1] for table in tables} == {
        "Intervals: 95% for the 6 parts of this page together (Bonferroni)"
    }
    hits = sum(first == 1 for first in [1, 2, 1, 1, 3, 1, 2])
    wanted = wilson(hits, 7, 1 - 0.05 / 6)
    assert (tables[0].slices[0].value.low, tables[0].slices[0].value.high) == pytest.approx((wanted.low, wanted.high))


def test_a_reranker_is_named_only_where_it_could_win() -> None:
    wide, narrow, chance = (
        scored_case([1] * 20 + [4] * 20),
        scored_case([1] * 39 + [4]),
        scored_case([1] * 2 + [4] * 38),
    )
    assert "50% of the t2i queries" in advice.of_scores({"t2i": wide}, ())[0]
    assert advice.of_scores({"t2i": narrow}, ()) == ()
    assert advice.of_scores({"t2i": replace(chance, run=replace(chance.run))}, ()) == ()


def test_what_an_index_costs_is_said() -> None:
    assert advice.of_scores({"t2i": scored_case([1] * 40, exact=1.0)}, ()) == ()
    told = advice.of_scores({"t2i": scored_case([1] * 39 + [50], exact=1.0)}, ())
    assert "the index costs 0.025 of hits@1" in told[0]


def test_only_a_part_whose_interval_lies_below_is_named() -> None:
    def table(high: float) -> SliceTable:
        parts = (Slice("1 to 2 words", 40, Value(0.1, 0.05, high)), Slice("3 or more words", 60, Value(0.6, 0.5, 0.7)))
        return SliceTable("Text to picture: length of the text", METRICS[0], parts, Value(0.4, 0.3, 0.5))

    assert "queries with 1 to 2 words (40) reach hits@1 0.100" in advice.of_scores({}, [table(0.2)])[0]
    assert advice.of_scores({}, [table(0.35)]) == ()
