"""Every metric of the list against a pencil, trec_eval and the ECCV Caption package; and what is asked of the list."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import ir_measures
import numpy as np
import pytest
from ir_measures import Rprec, nDCG

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.joint import compare_whole, joint_intervals
from picdesk.evaluation.metrics import chance, metrics_of, per_query, ranks_of_run
from picdesk.evaluation.significance import compare
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import DIRECTIONS
from picdesk.measures.listing import JOINTS, LISTED, MEASURES, check_metrics, higher_is_better, measure_of
from picdesk.report.measured_values import METRICS, columns_of
from picdesk.trec.runs import Qrels, Run
from tests.evaluation.ranking_cases import random_case, run_of

EVERY = tuple(MEASURES)


def graded_case(rng: np.random.Generator, queries: int, items: int) -> tuple[Run, Qrels]:
    """Random scores, and one to six relevant items a query with grades of 1 to 3."""
    scores = rng.standard_normal((queries, items)).astype(np.float32)
    names = (tuple(f"q{i}" for i in range(queries)), tuple(f"d{i}" for i in range(items)))
    pairs = [(q, i) for q in range(queries) for i in rng.choice(items, int(rng.integers(1, 7)), replace=False)]
    query, item = np.array(pairs).T
    return run_of(*names, scores), Qrels.from_pairs(*names, query, item, rng.integers(1, 4, len(pairs)))


@pytest.mark.parametrize("seed", range(40))
def test_ndcg_and_r_precision_are_those_of_trec_eval(seed: int) -> None:
    run, qrels = graded_case(np.random.default_rng(seed), 11, 37)
    assert qrels.grades is not None
    grades = qrels.grades
    judged = {
        name: {qrels.item_ids[i]: int(g) for i, g in zip(qrels.relevant(q), grades[qrels.bounds[q] :], strict=False)}
        for q, name in enumerate(qrels.query_ids)
    }
    ranked = {
        name: {run.item_ids[i]: float(s) for i, s in zip(run.index[q], run.scores[q], strict=True)}
        for q, name in enumerate(run.query_ids)
    }
    theirs = ir_measures.pytrec_eval.calc_aggregate([nDCG @ 5, nDCG @ 10, Rprec], judged, ranked)
    ours = metrics_of(ranks_of_run(run, qrels), ks=(5, 10), names=EVERY)
    for key, measure in (("ndcg@5", nDCG @ 5), ("ndcg@10", nDCG @ 10), ("r_precision", Rprec)):
        assert abs(ours[key] - theirs[measure]) < 1e-9, key


def eccv() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises a faster JSON library
        return pytest.importorskip("eccv_caption._metrics", reason="eccv-caption is not installed (extra: dev)")


@pytest.mark.parametrize("seed", range(20))
def test_map_at_r_and_r_precision_are_those_of_eccv_caption(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(seed)
    run, qrels = graded_case(rng, 23, 60)
    listed = {q: run.index[q].tolist() for q in range(23)}
    relevant = {q: qrels.relevant(q).tolist() for q in range(23)}
    theirs = eccv().compute_eccv_metrics(listed, relevant)
    ours = metrics_of(ranks_of_run(run, qrels), ks=(1,), names=EVERY)
    for key, name in (("map@r", "eccv_map_at_r"), ("r_precision", "eccv_rprecision"), ("hits@1", "eccv_r1")):
        assert abs(ours[key] - theirs[name]) < 1e-9, key


def test_a_table_to_check_with_a_pencil() -> None:
    """Three relevant items of grades 3, 1, 2 at ranks 1, 3 and 6 of eight; R = 3."""
    run = run_of(("q",), tuple("abcdefgh"), np.array([[8, 7, 6, 5, 4, 3, 2, 1]], np.float32))
    qrels = Qrels.from_pairs(("q",), tuple("abcdefgh"), np.zeros(3, np.int64), np.array([0, 2, 5]), np.array([3, 1, 2]))
    found = metrics_of(ranks_of_run(run, qrels), ks=(1, 3, 10), names=EVERY)
    best = 3 / 1 + 2 / np.log2(3) + 1 / 2
    assert found["ndcg@1"] == 1.0
    assert found["ndcg@3"] == pytest.approx((3 + 1 / 2) / best)
    assert found["ndcg@10"] == pytest.approx((3 + 1 / 2 + 2 / np.log2(7)) / best)
    assert found["r_precision"] == pytest.approx(2 / 3)
    assert found["map@r"] == pytest.approx((1 / 1 + 2 / 3) / 3)


def test_chance_is_the_mean_over_all_orders() -> None:
    names = (("q1", "q2"), tuple("abcde"))
    qrels = Qrels.from_pairs(*names, np.array([0, 0, 1]), np.array([0, 3, 4]), np.array([2, 1, 5]))
    total: dict[str, float] = {}
    orders = list(itertools.permutations(range(5)))
    for order in orders:
        scores = np.broadcast_to(np.array(order, np.float32), (2, 5))
        found = metrics_of(ranks_of_run(run_of(*names, scores), qrels), ks=(1, 3), names=EVERY)
        total = {key: total.get(key, 0) + value / len(orders) for key, value in found.items()}
    expected = chance(qrels, 5, ks=(1, 3), names=EVERY)
    assert {key for key in expected if key != "median_rank"} == set(total) - {"median_rank", "queries", "gallery"}
    for key, value in expected.items():
        if key != "median_rank":
            assert value == pytest.approx(total[key], abs=1e-9), key


def test_every_metric_has_an_interval_a_paired_test_and_a_column() -> None:
    rng = np.random.default_rng(4)
    case = random_case(rng, 60)
    noisy = (case.scores + 2 * rng.standard_normal(case.scores.shape)).astype(np.float32)
    both = case.run("i2t"), run_of(case.picture_ids, case.text_ids, np.ascontiguousarray(noisy.T))
    runs = [ranks_of_run(run, case.qrels("i2t"), "i2t") for run in both]
    found = metrics_of(runs[0], names=EVERY)
    bars = intervals(runs[0], resamples=200, names=EVERY)
    apart = compare(*runs, resamples=200, names=EVERY)
    for key in set(found) - {"queries", "gallery"}:
        assert bars[key].low <= found[key] <= bars[key].high
        assert key == "median_rank" or 0 < apart[key].p <= apart[key].p_family <= 1
    shown = columns_of(found)
    assert [column.key for column in shown] == [key for key in found if key not in ("queries", "gallery")]
    assert [column.label for column in shown if column.key in ("ndcg@5", "map@r", "r_precision")] == [
        "nDCG@5",
        "mAP@R",
        "R-Precision",
    ]


def test_what_is_reported_by_default_is_what_was_reported() -> None:
    case = random_case(np.random.default_rng(1), 20)
    found = metrics_of(ranks_of_run(case.run("t2i"), case.qrels("t2i"), "t2i"))
    keys = [f"{name}@{k}" for name in ("hits", "recall") for k in (1, 5, 10)] + ["mrr", "median_rank", "mean_rank"]
    assert list(found) == [*keys, "queries", "gallery"]
    assert [column.key for column in METRICS] == [*keys[:7], "mrr_at_least", "mrr_at_most", *keys[7:]]


def test_a_list_that_is_cut_does_not_tell_what_lies_beyond() -> None:
    run, qrels = graded_case(np.random.default_rng(0), 30, 50)
    cut = Run(run.query_ids, run.item_ids, run.index[:, :4], run.scores[:, :4], run.gallery_size)
    found = per_query(ranks_of_run(cut, qrels), ks=(3, 5), names=EVERY)
    assert "ndcg@3" in found
    assert not {"ndcg@5", "map@r", "r_precision"} & set(found)


def test_rsum_and_mean_recall_over_both_directions() -> None:
    case = random_case(np.random.default_rng(7), 40)
    ranks = {d: ranks_of_run(case.run(d), case.qrels(d), d) for d in DIRECTIONS}
    pictures = {"t2i": [case.picture_ids[i] for i in case.picture_of], "i2t": list(case.picture_ids)}
    each = {d: metrics_of(one) for d, one in ranks.items()}
    asked = [(ranks[d], pictures[d]) for d in DIRECTIONS]
    found = joint_intervals(asked, ("rsum", "mean_recall"), (5, 50), resamples=300)
    assert found["rsum"].value == pytest.approx(100 * sum(each[d][f"hits@{k}"] for d in DIRECTIONS for k in (1, 5, 10)))
    assert found["mean_recall@5"].value == pytest.approx(np.mean([each[d]["recall@5"] for d in DIRECTIONS]))
    assert list(found) == ["rsum", "mean_recall@5", "mean_recall@50"]
    assert all(one.low <= one.value <= one.high for one in found.values())
    assert list(joint_intervals(asked[:1], ("rsum", "mean_recall"), (5,), resamples=50)) == ["mean_recall@5"]
    same = compare_whole(
        [(*asked[0][:1], *asked[0]), (*asked[1][:1], *asked[1])], ("hits", "rsum"), (1,), resamples=300
    )[1]
    assert same["rsum"].interval.value == 0
    assert same["rsum"].p == 1


def test_a_mean_over_one_direction_has_the_interval_of_its_metric() -> None:
    case = random_case(np.random.default_rng(7), 40)
    ranks = ranks_of_run(case.run("t2i"), case.qrels("t2i"))
    asked = [(ranks, [case.picture_ids[i] for i in case.picture_of])]
    own = intervals(ranks, (1, 5), resamples=300, level=0.9)
    found = joint_intervals(asked, ("mean_recall",), (1, 5), resamples=300, level=0.9)
    assert found == {"mean_recall@1": own["recall@1"], "mean_recall@5": own["recall@5"]}


def test_a_difference_of_rsum_is_told() -> None:
    case = random_case(np.random.default_rng(7), 60)
    rng = np.random.default_rng(8)
    noisy = case.scores + 3 * rng.standard_normal(case.scores.shape).astype(np.float32)
    sides = []
    for d, pictures in (("t2i", [case.picture_ids[i] for i in case.picture_of]), ("i2t", list(case.picture_ids))):
        own = ranks_of_run(case.run(d), case.qrels(d), d)  # type: ignore[arg-type]
        ids = (case.text_ids, case.picture_ids) if d == "t2i" else (case.picture_ids, case.text_ids)
        other = run_of(*ids, noisy if d == "t2i" else np.ascontiguousarray(noisy.T))
        sides.append((own, ranks_of_run(other, case.qrels(d), d), pictures))  # type: ignore[arg-type]
    found = compare_whole(sides, ("hits", *JOINTS), (1, 5), resamples=500)[1]
    assert found["rsum"].interval.low > 0
    assert found["rsum"].p_family < 0.05


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: check_metrics(["ndgc"], [1]), "metrics.names=ndgc: choose of hits, recall, ndcg, map@r"),
        (lambda: check_metrics([], [1]), r"metrics.names=\[\]"),
        (lambda: check_metrics(["hits"], [0]), r"metrics.ks=\[0\]: whole numbers of 1 or more"),
        (lambda: measure_of("hits"), "metric=hits: choose one of hits@1"),
        (lambda: measure_of("ndcg@0"), "metric=ndcg@0"),
    ],
)
def test_what_is_no_metric_is_refused(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        call()


def test_the_choice_by_name() -> None:
    assert check_metrics(["mrr", "ndcg"], [50, 5, 5]) == (("hits", "ndcg", "mrr"), (1, 5, 50))
    assert check_metrics(["all"], [1])[0] == (*MEASURES, *LISTED, *JOINTS)
    assert measure_of("map@r") == (MEASURES["map@r"], 0)
    assert measure_of("ndcg@20") == (MEASURES["ndcg"], 20)
    assert "mean_rank" not in higher_is_better()
    assert "ndcg@10" in higher_is_better()


def test_grades_below_one_are_refused() -> None:
    with pytest.raises(DataError, match="a grade of 1 or more"):
        Qrels(("q",), ("a",), np.array([0, 1]), np.array([0], np.int32), np.array([0], np.int32))


def test_hubness_of_lists_to_check_with_a_pencil() -> None:
    """Five items; the first is in all four lists, two are in none. N10 = 4, 2, 2, 0, 0: mean 1.6, variance 2.24."""
    index = np.array([[0, 1], [0, 2], [0, 1], [0, 2]], np.int32)
    third = ((4 - 1.6) ** 3 + 2 * (2 - 1.6) ** 3 + 2 * (0 - 1.6) ** 3) / 5
    assert LISTED["n10_skewness"].of_lists(index, 5) == pytest.approx(third / 2.24**1.5)
    assert LISTED["never_found"].of_lists(index, 5) == 2 / 5
    assert LISTED["never_found"].of_lists(np.array([[0, -1]], np.int32), 2) == 0.5
    assert LISTED["n10_skewness"].of_lists(np.array([[0, 1]], np.int32), 2) == 0.0


def test_hubness_of_chance_is_that_of_random_lists() -> None:
    rng = np.random.default_rng(0)
    lists = np.argsort(rng.random((300, 3000)), axis=1)[:, :10].astype(np.int32)
    for one in LISTED.values():
        assert one.of_lists(lists, 3000) == pytest.approx(one.by_chance(300, 3000), abs=0.15)
