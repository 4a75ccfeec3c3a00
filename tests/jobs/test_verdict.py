"""Reported against measured: the order of the lines, the tolerance of shares and of ranks, what was not measured."""

from types import SimpleNamespace
from typing import cast

import pytest

from picdesk.errors import ConfigError
from picdesk.jobs.verdict import Line, Verdict, compare_files, compare_numbers, in_tables
from picdesk.retrieval.scores import ByDirection

MEASURED = {"hits@1": 0.5, "hits@5": 0.7, "hits@10": 0.8, "mean_rank": 20.0}
SCORES = cast(ByDirection, {"t2i": SimpleNamespace(metrics=MEASURED)})


def test_lines_stand_in_the_order_of_the_tables() -> None:
    reported = {"t2i": dict(sorted(MEASURED.items()))}  # as metrics.json has them: hits@1, hits@10, hits@5
    assert [line.name for line in compare_numbers(reported, SCORES, 0.001, "expected")] == [
        "t2i/hits@1",
        "t2i/hits@5",
        "t2i/hits@10",
        "t2i/mean_rank",
    ]


def test_the_tolerance_of_a_rank_is_a_share_of_it() -> None:
    reported = {"t2i": {"hits@1": 0.502, "hits@5": 0.7009, "hits@10": 0.8, "mean_rank": 20.019}}
    found = {line.name: line.verdict for line in compare_numbers(reported, SCORES, 0.001, "expected")}
    assert found == {
        "t2i/hits@1": "outside",
        "t2i/hits@5": "within tolerance",
        "t2i/hits@10": "exact",
        "t2i/mean_rank": "within tolerance",
    }


def test_metrics_over_both_directions_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    joint = {"rsum": SimpleNamespace(value=302.0), "mean_recall@10": SimpleNamespace(value=0.8)}
    monkeypatch.setattr("picdesk.jobs.verdict.joint_of", lambda scored, bars: joint)
    reported = {"t2i": {"hits@1": 0.5}, "both": {"mean_recall@10": 0.82, "rsum": 300.0}}
    found = {line.name: line.verdict for line in compare_numbers(reported, SCORES, 0.01, "expected")}
    assert found == {"t2i/hits@1": "exact", "both/rsum": "within tolerance", "both/mean_recall@10": "outside"}
    joint.clear()
    with pytest.raises(ConfigError, match=r"expected\.both\.mean_recall@10: not measured; add metrics\.names="):
        compare_numbers(reported, SCORES, 0.01, "expected")


def test_hubness_that_short_lists_do_not_tell_is_named_as_not_measured_again() -> None:
    """Jobs of earlier versions have it, and are had again all the same."""
    reported = {"t2i": {"metrics": {**MEASURED, "n10_skewness": 2.0}, "intervals": {}}}
    short = cast(ByDirection, {"t2i": SimpleNamespace(metrics=MEASURED, listed={})})
    told = in_tables(reported, short)
    assert [line.verdict for line in compare_numbers(told, short, 0.001, "metrics.json")] == ["exact"] * 4
    measured = {"t2i": {"metrics": MEASURED, "intervals": {}}}
    assert compare_files(reported, measured, 0.001) == ([], ["t2i/metrics/n10_skewness"])
    deep = cast(
        ByDirection, {"t2i": SimpleNamespace(metrics={**MEASURED, "n10_skewness": 2.1}, listed={"n10_skewness": 2.1})}
    )
    assert compare_numbers(in_tables(reported, deep), deep, 0.001, "metrics.json")[-1].verdict == "outside"


def test_further_numbers_have_the_tolerance_of_their_kind() -> None:
    reported = {
        "t2i": {"metrics": {"hits@1": 0.5}, "intervals": {"hits@1": [0.4, 0.6], "mean_rank": [18.0, 22.0]}},
        "both": {"metrics": {"rsum": 300.0}, "intervals": {}},
        "slices": {"year": {"p_family": 0.05, "parts": ["not a number", True]}},
        "gone": 1.0,
    }
    measured = {
        "t2i": {"metrics": {"hits@1": 0.1}, "intervals": {"hits@1": [0.4019, 0.6021], "mean_rank": [18.03, 22.1]}},
        "both": {"metrics": {"rsum": 300.5}, "intervals": {}},
        "slices": {"year": {"p_family": 0.062, "parts": ["another", False]}},
        "new": 2.0,
    }
    lines, lost = compare_files(reported, measured, 0.001)
    assert {line.name: line.verdict for line in lines} == {
        "t2i/intervals/hits@1/low": "within tolerance",
        "t2i/intervals/hits@1/high": "outside",
        "t2i/intervals/mean_rank/low": "within tolerance",
        "t2i/intervals/mean_rank/high": "outside",
        "both/metrics/rsum": "within tolerance",
        "slices/year/p_family": "outside",
    }
    assert lost == ["gone"]


def test_estimates_of_other_code_are_told_and_decide_nothing() -> None:
    part = {"queries": 30, "hits@1": [0.5, 0.3, 0.7], "less_rest": [0.1, -0.1, 0.3], "p_family": 0.5}
    other = {"queries": 30, "hits@1": [0.5, 0.2, 0.8], "less_rest": [0.1, -0.2, 0.4], "p_family": 0.1}
    lines, _ = compare_files({"slices": part}, {"slices": other}, 0.001, same_code=False)
    apart = {line.name: line.verdict for line in lines if line.verdict != "exact"}
    assert set(apart.values()) == {"by other code"}
    assert len(apart) == 5
    assert "slices/less_rest/low" in apart
    wrong = other | {"hits@1": [0.6, 0.2, 0.8]}
    lines, _ = compare_files({"slices": part}, {"slices": wrong}, 0.001, same_code=False)
    assert [line.name for line in lines if line.verdict == "outside"] == ["slices/hits@1/value"]


def test_one_query_of_a_small_part_may_move_where_the_tables_did() -> None:
    part = {"queries": 30, "hits@1": [15 / 30, 0.3, 0.7]}
    other = {"queries": 30, "hits@1": [14 / 30, 0.27, 0.67]}
    for moved, expected in ((True, "within tolerance"), (False, "outside")):
        lines, _ = compare_files({"slices": part}, {"slices": other}, 0.001, moved=moved)
        assert {line.verdict for line in lines if line.name != "slices/queries"} == {expected}


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        ({"i2t": {"hits@1": 0.5}}, r"expected\.i2t: not measured; directions here: t2i"),
        ({"t2i": {"hits@3": 0.5}}, r"expected\.t2i\.hits@3: not measured; choose of hits@1, hits@5"),
    ],
)
def test_what_was_not_measured_is_named(reported: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compare_numbers(reported, SCORES, 0.001, "expected")


@pytest.mark.parametrize("claimed", [0.0001, True])
def test_a_job_does_not_say_how_far_its_own_numbers_may_move(claimed: object) -> None:
    measured = {"queries": 60, "hits@1": 13 / 60}
    lines, _ = compare_files({"part": {"queries": claimed, "hits@1": 0.99}}, {"part": measured}, 0.001, moved=True)
    assert {line.name: line.verdict for line in lines}["part/hits@1"] == "outside"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_job_calls_its_numbers_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    odd = "part/\x1b]0;owned\x07[/red]\u202e"
    verdict = Verdict((Line(odd, 0.5, 0.4995, 0.001),), 0.001, {"command": odd}, lost=(odd,))
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    verdict.settle()
    told = capsys.readouterr().out
    assert told.count("[/red]") == 3
    assert not {"\x07", "\u202e"} & set(told)
    assert "\x1b]" not in told
