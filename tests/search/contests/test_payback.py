"""index=auto knows what it costs: what is measured or built wins that back, or is left alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.interfaces import Embeddings
from picdesk.search.auto import AutoIndex
from picdesk.search.contests.choices import Choices, Kind, Outcome
from picdesk.search.contests.contest import Use
from picdesk.search.contests.payback import SHARE, samples_for, worth_timing
from picdesk.search.indexes import FlatIndex
from picdesk.trec.runs import Floats, Ints
from tests.search.clock import Clock
from tests.search.vectors import clustered_vectors, embeddings

GALLERY = embeddings(clustered_vectors(4000, seed=1, dim=8), "item")
CLOCK = Clock()
BUILT: list[tuple[str, int]] = []


class Priced(FlatIndex):
    """Exact lists at a price: seconds an item to build, and a query, which grow with the items (`exact`) or with their root."""

    def __init__(self, kind: str, build: float, query: float, exact: bool = False) -> None:
        super().__init__()
        self.kind, self.exact, self._build, self._query = kind, exact, build, query  # type: ignore[misc]

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        BUILT.append((self.kind, len(gallery.ids)))
        CLOCK.wait(self._build * len(gallery.ids))
        super().build(gallery)

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        CLOCK.wait(self.price(len(self.ids)) * len(queries))
        return super().nearest(queries, top_k)

    def price(self, items: int) -> float:
        return self._query * items ** (1.0 if self.exact else 0.5)


def flat(query: float = 1e-6) -> Priced:
    """4 ms a query over all 4,000."""
    return Priced("flat", 1e-6, query, exact=True)


def quick(build: float = 1e-3, query: float = 1e-6) -> Priced:
    """Built in 4 s, 63 microseconds a query."""
    return Priced("quick", build, query)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    CLOCK.stand_in(monkeypatch)
    BUILT.clear()


def auto(candidates: Sequence[Priced], queries: int, choices: Choices | None = None, **rules: Any) -> AutoIndex:
    """Built over the 4,000 items for so many queries."""
    index = AutoIndex(candidates=candidates, **rules)
    index.expect(queries, 10)
    if choices is not None:
        index.remember_in(choices)
    index.build(GALLERY)
    return index


def built() -> list[tuple[str, int]]:
    """What was built besides exact search."""
    return [one for one in BUILT if one[0] != "flat"]


@pytest.mark.parametrize("use", ["batch", "single"])
def test_for_few_queries_nothing_is_timed_or_built(use: str) -> None:
    index = auto([flat(query=1.0), quick()], 49_999, use=use)
    assert BUILT == [("flat", 4000)]
    assert index.chosen_index.kind == "flat"
    assert index.record is not None
    assert "exact search, ready at once" in index.record.why
    assert index.record.entries[0].seconds == np.inf


def test_where_exact_search_takes_a_moment_in_all_it_is_timed_and_nothing_else() -> None:
    before = CLOCK.now
    auto([flat(query=5e-8), quick()], 100_000)
    assert built() == []
    assert CLOCK.now - before < 0.05 * 100_000 * 2e-4


@pytest.mark.parametrize(
    ("use", "queries", "items"), [("batch", 3_199, 10**7), ("single", 499, 10**7), ("batch", 10**6, 199)]
)
def test_little_work_is_not_worth_timing(use: Use, queries: int, items: int) -> None:
    assert not worth_timing(use, queries, items)
    assert worth_timing(use, queries + 1, items + 1)


def test_what_wins_back_its_building_is_built() -> None:
    index = auto([flat(), quick()], 100_000)
    assert index.chosen_index.kind == "quick"
    assert built() == [("quick", 250), ("quick", 1000), ("quick", 4000)]
    assert index.record is not None
    assert "takes least time in all for 100,000 queries" in index.record.why
    assert [len(entry.index.ids) for entry in index.record.entries] == [0, 0, 0, 4000], (
        "what was not chosen is not kept"
    )


def test_what_cannot_win_back_its_building_is_dropped_after_a_look() -> None:
    index = auto([flat(), quick(query=6e-5)], 1_000_000)  # 3.8 ms a query on all items, exact search 4 ms
    assert index.chosen_index.kind == "flat"
    assert built() == [("quick", 250), ("quick", 1000)]
    assert index.record is not None
    assert "expected to take" in index.record.entries[-1].verdict


def test_looking_ends_when_its_share_is_spent() -> None:
    """400 s of exact search, so 12 s for looking, 4 of them to time it; every candidate takes 5 s on the smallest sample."""
    before = CLOCK.now
    index = auto([flat(), *(Priced(f"k{i}", 0.02, 1e-6) for i in range(9))], 100_000)
    assert index.chosen_index.kind == "flat"
    assert {kind for kind, _ in BUILT} == {"flat", "k0", "k1"}
    assert {count for _, count in built()} == {250}
    assert CLOCK.now - before < (SHARE + 0.02) * 400


@pytest.mark.parametrize("queries", [1, 60_000, 1_000_000])
@pytest.mark.parametrize("build", [1e-4, 1e-2])
@pytest.mark.parametrize("query", [1e-7, 1e-5, 5e-5])
def test_the_whole_never_takes_much_longer_than_exact_search(queries: int, build: float, query: float) -> None:
    before = CLOCK.now
    index = auto([flat(), quick(build, query), quick(build / 2, 3 * query)], queries)
    chosen = index.chosen_index
    assert isinstance(chosen, Priced)
    taken = CLOCK.now - before + queries * chosen.price(4000)
    assert taken <= 1.05 * (4e-3 + queries * 4e-3)


def test_a_small_gallery_has_no_samples_and_the_same_bound() -> None:
    """Nine kinds that are hardly faster, some 15 s each to build and to measure; exact search takes 1,000 s, so they have 30."""
    before = CLOCK.now
    index = AutoIndex(candidates=[flat(), *(Priced(f"k{i}", 1e-2, 3.1e-5) for i in range(9))], expect_queries=10**6)
    index.build(GALLERY.take(np.arange(1000)))
    assert built() == [("k0", 1000), ("k1", 1000)]
    chosen = index.chosen_index
    assert isinstance(chosen, Priced)
    assert CLOCK.now - before + 10**6 * chosen.price(1000) < 1.05 * 1000


def test_of_two_that_pay_the_better_is_built_alone() -> None:
    index = auto([flat(), Priced("slower", 1e-3, 2e-5), quick()], 100_000)
    assert index.chosen_index.kind == "quick"
    assert ("slower", 4000) not in BUILT


class Uneven(Priced):
    """Slows down after a few calls, as on a machine that others use too: it is as quick as `query` says only when first timed."""

    calls = 0

    def nearest(self, queries: Floats, top_k: int) -> tuple[Ints, Floats]:
        self.calls += len(queries) > 300 and len(self.ids) == len(GALLERY.ids)
        CLOCK.wait(0.0 if self.calls < 5 else 2e-3 * len(queries))
        return super().nearest(queries, top_k)


def test_what_is_hardly_faster_is_timed_again_in_turn_with_exact_search() -> None:
    def chosen(candidate: Priced) -> str:
        return auto([flat(), candidate], 1_000_000).chosen_index.kind

    assert chosen(Priced("steady", 1e-3, 4.5e-5)) == "steady"  # 2.8 ms a query, exact search 4 ms
    assert chosen(Uneven("uneven", 1e-3, 4.5e-5)) == "flat"


def test_a_job_knows_less_than_what_the_config_says() -> None:
    assert auto([flat(), quick()], 10, expect_queries=100_000).chosen_index.kind == "quick"
    unknown = AutoIndex(candidates=[flat(), quick()])
    unknown.build(GALLERY)
    assert unknown.record is not None
    assert "4,000 queries" in unknown.record.why


def test_what_was_found_is_used_again_and_nothing_else_is_built(tmp_path: Path) -> None:
    file = tmp_path / "store" / "choices.json"
    candidates = [flat(), Priced("other", 1e-3, 1e-5), quick()]
    first = auto(candidates, 100_000, Choices(file))
    BUILT.clear()
    again = auto([flat(), Priced("other", 1e-3, 1e-5), quick()], 100_000, Choices(file))
    assert BUILT == [("flat", 4000), ("quick", 4000)]
    assert again.chosen_index.settings == first.chosen_index.settings
    assert again.record is not None
    assert "as measured before" in again.record.why
    other_rules = auto([flat(), Priced("other", 1e-3, 1e-5), quick()], 100_000, Choices(file), min_recall=0.9)
    assert other_rules.record is not None
    assert "as measured before" not in other_rules.record.why


def test_what_was_found_for_many_queries_is_not_taken_for_few(tmp_path: Path) -> None:
    def chosen(queries: int) -> str:
        BUILT.clear()
        return auto([flat(), quick(build=5e-2)], queries, Choices(tmp_path / "kept.json")).chosen_index.kind

    assert chosen(1_000_000) == "quick"  # 200 s to build where exact search takes 4,000
    assert chosen(60_000) == "flat"  # 240 s
    assert BUILT == [("flat", 4000)], "that is known from what was measured"
    assert chosen(100_000) == "quick"  # 400 s
    assert built() == [("quick", 4000)]
    assert chosen(4_100_000) == "quick"
    assert ("quick", 250) in BUILT, "for many more queries than before it is measured anew"


def test_a_damaged_file_counts_as_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "choices.json"
    auto([flat(), quick()], 100_000, Choices(file))
    file.write_text(file.read_text().replace('"recall": 1.0', '"recall": 0.5'))
    BUILT.clear()
    auto([flat(), quick()], 100_000, Choices(file))
    assert ("quick", 250) in BUILT
    assert "choices.json: damaged, or of another version" in caplog.text
    assert Choices(file).get("another key") is None
    caplog.clear()
    auto([flat(), quick()], 100_000, Choices(file))
    assert "damaged" not in caplog.text, "it was written anew"


def test_a_file_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    choices = Choices(tmp_path / "file" / "choices.json")
    choices.put("key", Outcome(0, (Kind("flat", True, {}, {}, 1.0, 0.1, 0.1),)))
    assert choices.get("key") is None


def test_a_job_that_is_had_again_has_the_index_of_its_record() -> None:
    choices = Choices()
    first = auto([flat(), quick()], 100_000, choices)
    assert choices.made == {first.fingerprint: '{"kind": "quick", "recipe": {}, "settings": {}}'}
    again = Choices()
    again.recorded = choices.made
    BUILT.clear()
    assert auto([flat(), quick()], 10, again).chosen_index.kind == "quick"
    assert BUILT == [("flat", 4000), ("quick", 4000)]
    again.recorded = {first.fingerprint: '{"kind": "flat", "recipe": {}, "settings": {}}'}
    assert auto([flat(), quick()], 100_000, again).chosen_index.kind == "flat"


@pytest.mark.parametrize(
    "record",
    ["no JSON", "[]", '{"kind": "other", "recipe": {}, "settings": {}}', json.dumps({"kind": "quick", "recipe": 1})],
)
def test_a_record_that_names_no_candidate_is_not_followed(record: str, caplog: pytest.LogCaptureFixture) -> None:
    choices = Choices()
    fingerprint = auto([flat(), quick()], 10).fingerprint
    choices.recorded = {fingerprint: record}
    assert auto([flat(), quick()], 10, choices).chosen_index.kind == "flat"
    assert "chosen anew" in caplog.text


def test_settings_that_no_ladder_has_are_not_taken_from_a_record() -> None:
    kind = Kind("flat", False, {}, {"efSearch": 10.0**9}, 0.0, 0.0, 0.0)
    assert kind.match([flat()], 4000) is None


def test_samples_reach_as_far_as_can_be_forecast() -> None:
    assert samples_for(1_000) == []
    assert samples_for(4_000) == [250, 1_000]
    assert samples_for(100_000) == [250, 1_000, 4_000]
    assert samples_for(1_000_000) == [250, 1_000, 4_000, 16_000, 64_000]
