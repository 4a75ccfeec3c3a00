"""Paired tests, Holm's correction and the leaderboard."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.metrics import Ranks, metrics_of
from picdesk.evaluation.significance import against_best, compare, holm


def ranks_of(first: list[int] | np.ndarray, cluster: list[int] | np.ndarray, gallery: int = 100) -> Ranks:
    """One relevant item a query."""
    ids, bounds = tuple(f"q{i}" for i in range(len(first))), np.arange(len(first) + 1)
    return Ranks("t2i", ids, bounds, np.array(first, np.int32), gallery, gallery, np.array(cluster))


def test_p_is_the_share_of_all_sign_flips() -> None:
    """Five pictures, nine queries: all 32 ways to swap whole pictures counted out."""
    cluster = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4])
    a, b = ranks_of([1, 1, 2, 1, 4, 1, 1, 3, 1], cluster), ranks_of([2, 5, 1, 3, 4, 2, 9, 3, 2], cluster)
    found = compare(a, b, resamples=20_000)
    for name, values in (("mrr", 1 / a.first - 1 / b.first), ("mean_rank", a.first - b.first)):
        sums = np.bincount(cluster, weights=values)
        flips = [abs(np.dot(signs, sums)) >= abs(sums.sum()) - 1e-12 for signs in itertools.product((1, -1), repeat=5)]
        assert found[name].p == pytest.approx(np.mean(flips), abs=0.015)
        assert found[name].interval.value == pytest.approx(values.mean())


def test_a_run_equals_itself_in_any_order() -> None:
    rng = np.random.default_rng(0)
    a = ranks_of(rng.integers(1, 50, 60), np.repeat(np.arange(20), 3))
    order = rng.permutation(60)
    b = replace(a, query_ids=tuple(a.query_ids[i] for i in order), ranks=a.ranks[order], cluster=a.cluster[order])
    for difference in compare(a, b, resamples=200).values():
        assert (difference.p, difference.interval.low, difference.interval.high) == (1.0, 0.0, 0.0)


def test_a_better_run_is_seen() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(100), 5)
    first = rng.integers(1, 60, 500)
    found = compare(ranks_of((first + 1) // 2, cluster), ranks_of(first, cluster), resamples=1000)
    assert found["mrr"].p < 0.002
    assert found["mrr"].interval.low > 0
    assert found["mean_rank"].interval.high < 0
    assert (
        compare(ranks_of(first, cluster), ranks_of((first + 1) // 2, cluster), resamples=1000)["mrr"].p
        == found["mrr"].p
    )


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("metric", ["hits@3", "mrr", "mean_rank"])
def test_a_leaderboard_says_what_is_worse_than_the_best(metric: str) -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(100), 3)
    first = rng.integers(1, 20, 300)
    near = first.copy()
    near[first == 1] = np.where(np.arange((first == 1).sum()) < 2, 5, 1)
    runs = {"poor": ranks_of(first * 4, cluster), "near": ranks_of(near, cluster), "best": ranks_of(first, cluster)}
    board = against_best(runs, metric, resamples=500)
    assert next(iter(board)) == "best"
    assert list(board)[-1] == "poor"
    assert {name: row.differs for name, row in board.items()} == {"best": False, "near": False, "poor": True}
    assert board["poor"].value == pytest.approx(metrics_of(runs["poor"], ks=[3])[metric])


def test_what_cannot_be_compared() -> None:
    a = ranks_of([1, 2, 3], [0, 0, 1])
    with pytest.raises(DataError, match="2 queries are in one alone, for example 'other', 'q2'"):
        compare(a, replace(a, query_ids=("q0", "q1", "other")))
    with pytest.raises(DataError, match="one is t2i over 100 items, the other t2i over 50 items"):
        compare(a, replace(a, gallery_size=50))
    with pytest.raises(DataError, match="their qrels differ"):
        compare(a, replace(a, cluster=np.array([0, 1, 1])))
    with pytest.raises(ConfigError, match="metric=median_rank: runs are compared by one of hits@1"):
        against_best({"a": a}, "median_rank")
