"""Paired tests, what is corrected for their number, and the leaderboard."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation import families
from picdesk.evaluation.families import all_pairs_p, family_p
from picdesk.evaluation.joint import compare_whole
from picdesk.evaluation.metrics import NAMES, Ranks, metrics_of, ranks_of_run
from picdesk.evaluation.significance import against_best, compare, compare_all, stand_to_first
from picdesk.evaluation.statistics import wilson
from picdesk.interfaces import DIRECTIONS
from picdesk.trec.runs import Qrels, Run


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
    for name, difference in compare(a, b, resamples=200).items():
        reach = wilson(0, 20).high * {"mrr": 0.99, "mean_rank": 99}.get(name, 1)
        assert (difference.p, difference.p_family, difference.interval.value) == (1.0, 1.0, 0.0)
        assert (difference.interval.low, difference.interval.high) == pytest.approx((-reach, reach)), (
            "20 pictures agree"
        )


def searched(relevant: list[int], gallery: tuple[str, ...] = ("a", "b", "c", "d"), grade: int = 1) -> Ranks:
    """Three queries over four items, of which each run lists two; what is relevant to each."""
    queries, asked = ("q0", "q1", "q2"), np.arange(3)
    index = np.array([[0, 1], [1, 2], [2, 3]], np.int32)
    run = Run(queries, gallery, index, np.tile(np.float32([2, 1]), (3, 1)), 4)
    qrels = Qrels.from_pairs(queries, gallery, asked, np.array(relevant), np.full(3, grade))
    return ranks_of_run(run, qrels)


def test_other_answers_or_another_gallery_cannot_be_compared() -> None:
    """The answers are as many, one a query, and so are the items that were searched."""
    one = searched([0, 1, 2])
    assert compare(one, searched([0, 1, 2]), resamples=50)["hits@1"].p == 1
    for other in (searched([1, 2, 3]), searched([0, 1, 2], grade=2)):
        with pytest.raises(DataError, match="their qrels differ"):
            compare(one, other, resamples=50)
    with pytest.raises(
        DataError, match="other galleries of 4 items each: 2 are named by one alone, for example 'd', 'e'"
    ):
        compare(one, searched([0, 1, 2], ("a", "b", "c", "e")), resamples=50)
    swapped = ("b", "a", "c", "d")
    turned = Run(
        ("q0", "q1", "q2"), swapped, np.array([[1, 0], [0, 2], [2, 3]], np.int32), np.ones((3, 2), np.float32), 4
    )
    same = Qrels.from_pairs(turned.query_ids, swapped, np.arange(3), np.array([1, 0, 2]))
    assert compare(one, ranks_of_run(turned, same), resamples=50)["hits@1"].p <= 1


def test_a_better_run_is_seen() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(100), 5)
    first = rng.integers(1, 60, 500)
    found = compare(ranks_of((first + 1) // 2, cluster), ranks_of(first, cluster), resamples=1000)
    assert found["mrr"].p < 0.002
    assert found["mean_rank"].interval.high < 0
    apart = (1 / ((first + 1) // 2) - 1 / first).reshape(100, 5).mean(axis=1)
    half = 1.96 * apart.std() / 10
    ends = (found["mrr"].interval.low, found["mrr"].interval.high)
    assert ends == pytest.approx((apart.mean() - half, apart.mean() + half), abs=half / 10)
    assert (
        compare(ranks_of(first, cluster), ranks_of((first + 1) // 2, cluster), resamples=1000)["mrr"].p
        == found["mrr"].p
    )


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


def signs(clusters: int) -> np.ndarray:
    """All outcomes of as many coins."""
    return np.array(list(itertools.product((1, -1), repeat=clusters)), np.float64)


def test_a_board_by_all_outcomes_of_the_coins() -> None:
    """Three systems, eight pictures, all 256 outcomes: the largest ratio among the pairs that are not yet settled."""
    sums = np.random.default_rng(5).integers(0, 4, (8, 3)).astype(float)
    apart = np.stack([sums[:, 0] - sums[:, 1], sums[:, 0] - sums[:, 2], sums[:, 1] - sums[:, 2]], axis=1)
    spread = np.sqrt((apart**2).sum(axis=0))
    seen, drawn = np.abs(apart.sum(axis=0)) / spread, np.abs(signs(8) @ apart) / spread
    order, expected, least = np.argsort(-seen), np.empty(3), 0.0
    for place, pair in enumerate(order):
        least = max(least, float((drawn[:, order[place:]].max(axis=1) >= seen[pair] - 1e-9).mean()))
        expected[pair] = least
    found = all_pairs_p([sums], 20_000, seed=0)[0]
    assert [found[0, 1], found[0, 2], found[1, 2]] == pytest.approx(list(expected), abs=0.015)
    assert np.array_equal(found, found.T)
    assert (np.diag(found) == 1).all()


def test_two_rows_are_judged_as_by_the_paired_test() -> None:
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(60), 2)
    a, b = ranks_of(rng.integers(1, 9, 120), cluster), ranks_of(rng.integers(1, 7, 120), cluster)
    board = against_best({"a": a, "b": b}, "mrr")
    assert max(row.p_family for row in list(board.values())[1:]) == pytest.approx(compare(a, b)["mrr"].p, abs=0.015)


def test_rows_that_never_differ_are_never_told_apart() -> None:
    a = ranks_of([1, 2, 3, 1, 1, 9], [0, 0, 1, 2, 3, 4])
    board = against_best(dict.fromkeys("abc", a))
    assert [row.p_family for row in board.values()] == [1.0, 1.0, 1.0]
    assert family_p(np.ones((4, 2)), np.array([[0, 1]]), 99, 0).tolist() == [1.0]


def test_many_rows_take_bounded_work_and_still_have_a_p(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(7).integers(0, 2, (30, 120)).astype(float)
    sums[:, 0] += 3
    p_values = all_pairs_p([sums], 200, seed=0)[0]
    assert (p_values[0, 1:] < 0.05).all()
    assert (p_values[1:, 1:] > 0.05).all()
    monkeypatch.setattr(families, "_MOST", 2 * 120 * 999)
    assert all_pairs_p([sums[:, :2]], 5000, seed=0)[0][0, 1] == 1 / 5001
    assert all_pairs_p([sums], 5000, seed=0)[0].min() == 1 / 1000, "fewer resamples for more pairs, 999 at least"


def test_what_is_compared_together_is_corrected_together() -> None:
    """Two directions over the same pictures: one family, whose p is never below that of a comparison by itself."""
    rng = np.random.default_rng(8)
    cluster = np.arange(90)
    t2i = (ranks_of(rng.integers(1, 9, 90), cluster), ranks_of(rng.integers(1, 12, 90), cluster))
    i2t = tuple(replace(side, direction="i2t") for side in t2i)
    names = [f"p{i}" for i in range(90)]
    alone, twice = compare(*t2i), compare_all({"t2i": t2i, "i2t": i2t}, {"t2i": names, "i2t": names})
    for name, one in alone.items():
        assert one.p_family >= one.p
        assert twice["t2i"][name].interval == one.interval
        assert twice["t2i"][name].p_family == pytest.approx(one.p_family, abs=0.02), "the same twice adds nothing"
    apart = compare_all({"t2i": t2i, "i2t": i2t}, {})
    assert apart["t2i"]["mrr"].p_family >= twice["t2i"]["mrr"].p_family - 0.02


def test_what_is_over_both_directions_is_of_the_same_family() -> None:
    """Not a family beside: of equal runs anything at all would then be found in more than 5% of comparisons."""
    rng = np.random.default_rng(8)
    cluster, names = np.arange(90), [f"p{i}" for i in range(90)]
    sides = []
    for direction in DIRECTIONS:
        a, b = (replace(ranks_of(rng.integers(1, most, 90), cluster), direction=direction) for most in (6, 7))
        sides.append((a, b, names))
    _, few = compare_whole(sides, ("hits", "rsum"), (1,))
    found, many = compare_whole(sides, (*NAMES, "rsum", "mean_recall"), (1, 2, 3, 5))
    assert few["rsum"].interval == many["rsum"].interval
    assert few["rsum"].p == many["rsum"].p <= few["rsum"].p_family < many["rsum"].p_family
    alone = compare_all({a.direction: (a, b) for a, b, _ in sides}, dict.fromkeys(DIRECTIONS, names), (1, 2, 3, 5))
    assert list(found) == list(alone)
    for direction, name in (("t2i", "hits@5"), ("i2t", "mrr")):
        assert found[direction][name].interval == alone[direction][name].interval
        assert found[direction][name].p == alone[direction][name].p
        assert found[direction][name].p_family >= alone[direction][name].p_family - 0.02


def test_both_directions_of_a_board_are_one_family() -> None:
    rng = np.random.default_rng(9)
    cluster = np.arange(200)
    rows = {f"m{i}": ranks_of(rng.integers(1, 5 + 9 * (i == 3), 200), cluster) for i in range(4)}
    other = {name: replace(ranks, direction="i2t", ranks=rng.permutation(ranks.ranks)) for name, ranks in rows.items()}
    names = [f"p{i}" for i in range(200)]
    found = stand_to_first({"t2i": rows, "i2t": other}, {"t2i": names, "i2t": names})
    assert list(found["t2i"]) == list(found["i2t"]) == ["m0", "m1", "m2", "m3"]
    assert found["t2i"]["m3"].differs
    assert not found["t2i"]["m1"].differs
    assert found["t2i"]["m0"].to_best == 0
