"""Lists that are cut do not tell everything: what they leave open is not printed, and no interval claims it."""

import numpy as np
from tests.evaluation.ranking_cases import random_case

import picdesk
from picdesk.evaluation.joint import compare_whole, joint_intervals
from picdesk.evaluation.metrics import metrics_of, ranks_of_run
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import DIRECTIONS
from picdesk.pages.show import by_chance, values_of
from picdesk.retrieval.scores import Bars, Metrics, score
from picdesk.trec.runs import Qrels, Run

GALLERY = 200


def cut_run(places: list[int], depths: list[int]) -> tuple[Run, Qrels]:
    """A picture for each query, at `places` (0: in no list), in lists of `depths`."""
    count, deep = len(places), max(depths)
    items = tuple(f"i{j:03}" for j in range(GALLERY))
    index = np.tile(np.arange(150, 150 + deep, dtype=np.int32), (count, 1))
    for row, (place, depth) in enumerate(zip(places, depths, strict=True)):
        index[row, depth:] = -1
        if place:
            index[row, place - 1] = row
    scores = np.where(index >= 0, np.arange(deep, 0, -1, dtype=np.float32), -np.inf).astype(np.float32)
    names = tuple(f"q{i}" for i in range(count))
    own = np.arange(count)
    return Run(names, items, index, scores, GALLERY), Qrels.from_pairs(names, items, own, own)


def test_the_interval_of_a_median_ends_at_the_gallery_where_the_lists_do_not_tell_its_end() -> None:
    """55 of 100 are found: the median is, but in many draws more than half are not found, so its upper end is not known."""
    ranks = ranks_of_run(*cut_run([3] * 20 + [8] * 35 + [0] * 45, [10] * 100))
    assert metrics_of(ranks)["median_rank"] == 8.0
    found = intervals(ranks, resamples=500)["median_rank"]
    assert (found.low, found.high) == (8.0, GALLERY)
    sure = intervals(ranks_of_run(*cut_run([3] * 20 + [8] * 75 + [0] * 5, [10] * 100)), resamples=500)["median_rank"]
    assert (sure.low, sure.high) == (8.0, 8.0)


def test_a_median_that_is_not_known_has_no_interval() -> None:
    """The middle query stands at 9, but those without an answer were asked of lists of three."""
    ranks = ranks_of_run(*cut_run([0] * 40 + [9] * 60, [3] * 40 + [20] * 60))
    assert "median_rank" not in metrics_of(ranks)
    assert "median_rank" not in intervals(ranks, resamples=100)


def test_metrics_over_both_directions_are_those_that_the_lists_tell() -> None:
    case = random_case(np.random.default_rng(0), 40)
    pictures = {"t2i": [case.picture_ids[i] for i in case.picture_of], "i2t": list(case.picture_ids)}
    whole = {d: ranks_of_run(case.run(d), case.qrels(d), d) for d in DIRECTIONS}
    cut = {d: ranks_of_run(case.run(d, depth=6), case.qrels(d), d) for d in DIRECTIONS}
    asked = [(cut[d], pictures[d]) for d in DIRECTIONS]
    found = joint_intervals(asked, ("rsum", "mean_recall"), (1, 5, 10), resamples=50)
    assert list(found) == ["mean_recall@1", "mean_recall@5"]
    sides = [(whole[d], cut[d], pictures[d]) for d in DIRECTIONS]
    assert list(compare_whole(sides, ("hits", "rsum", "mean_recall"), (1, 10), resamples=50)[1]) == ["mean_recall@1"]


def test_lists_of_fewer_than_ten_do_not_tell_how_often_an_item_is_among_the_first_ten() -> None:
    case = random_case(np.random.default_rng(0), 40)
    metrics = Metrics.of(["n10_skewness", "never_found"], [1])
    deep, short = (score("t2i", case.run("t2i", n), case.qrels("t2i"), Bars(50), metrics) for n in (10, 5))
    whole = score("t2i", case.run("t2i"), case.qrels("t2i"), Bars(50), metrics)
    assert deep.metrics["n10_skewness"] == whole.metrics["n10_skewness"]
    assert not {"n10_skewness", "never_found"} & {*short.metrics, *values_of(short)}
    assert "n10_skewness" in by_chance(short), "it was asked for, so its row is there, with a dash"
    few = random_case(np.random.default_rng(0), 4)
    assert "never_found" in score("t2i", few.run("t2i"), few.qrels("t2i"), Bars(50), metrics).metrics


def test_a_table_from_python_leaves_no_metric_out() -> None:
    run, qrels = cut_run([0] * 40 + [9] * 60, [3] * 40 + [20] * 60)
    table = picdesk.measure(run, qrels, resamples=50, names=["all"]).table()
    assert "| mrr_at_least | 0.0" in table
    assert "| unfound | 40 |" in table
    alone = picdesk.measure([[0.5], [0.4], [0.3]], [0, 0, 0], resamples=50).table()
    assert "| recall@1 | 0.333 | 0.333 |" in alone, "one picture has no interval of it, but it is known"
