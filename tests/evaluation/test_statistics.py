"""Intervals: how they are shown, repeated, and where they stand."""

import numpy as np
import pytest
from tests.evaluation.ranking_cases import random_case

from picdesk.errors import DataError
from picdesk.evaluation import statistics
from picdesk.evaluation.bleu import bleu
from picdesk.evaluation.joint import mean_of_both
from picdesk.evaluation.metrics import Ranks, metrics_of, ranks_of_run
from picdesk.evaluation.shares import sliced_hits
from picdesk.evaluation.significance import compare
from picdesk.evaluation.statistics import Interval, intervals, wilson


def test_shown_with_its_ends() -> None:
    assert str(Interval(0.412, 0.3912, 0.43449)) == "0.412 [0.391, 0.434]"
    found = intervals(ranks_of([1] * 55 + [30] * 45, list(range(100))), resamples=100)
    assert str(found["median_rank"]) == "1.0 [1.0, 30.0]"
    assert str(found["hits@1"]) == "0.550 [0.452, 0.644]"


def test_wilson_at_the_ends_and_in_the_middle() -> None:
    none = wilson(0, 10)
    assert (none.low, none.high) == (0.0, pytest.approx(0.2775, abs=1e-4))
    half = wilson(5, 10)
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_every_metric_has_an_interval_around_it(direction: str) -> None:
    case = random_case(np.random.default_rng(0), pictures=120)
    ranks = ranks_of_run(case.run(direction), case.qrels(direction), direction)
    values = metrics_of(ranks)
    found = intervals(ranks, resamples=2000)
    assert set(found) == set(values) - {"queries", "gallery"}
    for name, interval in found.items():
        assert interval.value == pytest.approx(values[name])
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high or name == "median_rank"
    assert found == intervals(ranks, resamples=2000)
    assert found != intervals(ranks, resamples=2000, seed=1)


def ranks_of(first: list[int], cluster: list[int]) -> Ranks:
    ids, bounds = tuple(f"q{i}" for i in range(len(first))), np.arange(len(first) + 1)
    return Ranks("t2i", ids, bounds, np.array(first, np.int32), 100, 100, np.array(cluster))


def test_a_perfect_run_is_not_certain() -> None:
    found = intervals(ranks_of([1] * 200, [i // 2 for i in range(200)]), resamples=100)
    assert found["hits@1"] == wilson(100, 100)
    assert 0.95 < found["hits@1"].low < found["hits@1"].high == 1.0
    share = wilson(0, 100).high
    assert (found["mean_rank"].low, found["mean_rank"].high) == pytest.approx((1.0, 1 + share * 99)), (
        "a worst rank of 100"
    )
    assert (found["median_rank"].low, found["median_rank"].high) == (1.0, 1.0)


def test_one_yes_or_no_a_picture_is_wilson() -> None:
    first = [1] * 30 + [50] * 70
    assert intervals(ranks_of(first, list(range(100))), resamples=100)["hits@1"] == wilson(30, 100)
    mixed = intervals(ranks_of(first, [i % 50 for i in range(100)]), resamples=100)["hits@1"]
    assert mixed != wilson(30, 100)
    assert mixed.value == 0.3


def test_a_single_picture_has_no_interval_of_its_rank() -> None:
    found = intervals(ranks_of([3, 3], [0, 0]), resamples=100)
    assert set(found) == {"hits@1", "hits@5", "hits@10", "recall@1", "recall@5", "recall@10"}


def test_one_very_bad_query_does_not_break_the_mean_rank() -> None:
    found = intervals(ranks_of([1] * 199 + [90], list(range(200))), resamples=500)["mean_rank"]
    assert 1 <= found.low <= found.value <= found.high < 5


def test_the_studentised_interval_reaches_further_up() -> None:
    rng = np.random.default_rng(0)
    first = np.exp(rng.normal(1, 1, 300)).clip(1, 100).astype(int).tolist()
    found = intervals(ranks_of(first, list(range(300))), resamples=2000)["mean_rank"]
    assert found.high - found.value > found.value - found.low > 0


def test_weighted_medians() -> None:
    """Two kinds of pictures: the median of a draw is 2 where the first kind is half of it or more, else 9."""
    found = intervals(ranks_of([2] * 50 + [9] * 51, list(range(101))), resamples=500)["median_rank"]
    assert (found.low, found.value, found.high) == (2.0, 9.0, 9.0)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DataError, match="t2i: there are no queries to score"):
        metrics_of(ranks_of([], []))


def test_the_mean_of_both_directions_draws_pictures_with_all_their_queries() -> None:
    """Five captions that agree with their picture carry the information of one: the interval is that of the pictures."""
    rng = np.random.default_rng(0)
    hit = rng.random(400) < 0.4
    pictures = [f"p{i}" for i in range(400)]
    five = [f"p{i // 5}" for i in range(2000)]
    t2i = ranks_of_hits(np.repeat(hit, 5), np.repeat(np.arange(400), 5))
    i2t = ranks_of_hits(hit, np.arange(400))
    found = mean_of_both([(t2i, five), (i2t, pictures)])
    spread = (hit.mean() * (1 - hit.mean()) / 400) ** 0.5
    assert found.value == pytest.approx(hit.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.08)


def ranks_of_hits(hit: np.ndarray, cluster: np.ndarray) -> Ranks:
    count = len(hit)
    names = tuple(f"q{i}" for i in range(count))
    return Ranks("t2i", names, np.arange(count + 1), np.where(hit, 1, 9).astype(np.int32), 400, 400, cluster)


@pytest.mark.parametrize("rank", [1, 2, 100])
@pytest.mark.parametrize("sizes", [[3] * 12, [1, 2, 3, 4] * 3], ids=["alike", "mixed"])
def test_no_interval_has_no_width_where_all_pictures_agree(rank: int, sizes: list[int]) -> None:
    """All found at once, all at rank 2, none found: twelve pictures cannot say that there are no others."""
    cluster = np.repeat(np.arange(12), sizes)
    ranks = ranks_of([rank] * len(cluster), cluster.tolist())
    for name, found in intervals(ranks, resamples=50).items():
        if name != "median_rank":  # a number of the sample, which a small share of other pictures does not move
            assert found.high - found.low >= 0.2 * (0.99 if name == "mrr" else 1), name
        assert found.low <= found.value <= found.high
    for name, apart in compare(ranks, ranks, resamples=50).items():
        assert apart.interval.low < 0 < apart.interval.high, name
    parts = [np.ones(len(cluster), bool), cluster < 3]
    whole, few = sliced_hits(ranks, parts, resamples=50)
    assert few.high - few.low > whole.high - whole.low > 0.2
    for directions in ([(ranks, [str(c) for c in cluster])], [(ranks, [str(c) for c in cluster])] * 2):
        both = mean_of_both(directions, resamples=50)
        assert (both.low, both.high) == pytest.approx(
            (wilson(12 * (rank == 1), 12).low, wilson(12 * (rank == 1), 12).high)
        )


@pytest.mark.parametrize("own", [[1, 2, 2], [1, 2, 4, 8, 16], [1, 3, 3, 3, 3, 3, 3]])
def test_a_mean_rank_that_all_pictures_share_has_a_width_whatever_its_digits(own: list[int]) -> None:
    """A third has no last digit: what rounding leaves is no spread. Against the rule of docs/metrics.md, of Wilson's share."""
    pictures = 40
    ranks = ranks_of(own * pictures, np.repeat(np.arange(pictures), len(own)).tolist())
    found, mean, share = intervals(ranks, resamples=50)["mean_rank"], np.mean(own), wilson(0, pictures).high
    assert (found.low, found.high) == pytest.approx((mean + share * (1 - mean), mean + share * (100 - mean)))


def test_three_pictures_do_not_settle_a_median() -> None:
    found = intervals(ranks_of([4, 4, 4], [0, 1, 2]), resamples=50)["median_rank"]
    assert (found.low, found.value, found.high) == (1.0, 4.0, 100.0)
    assert intervals(ranks_of([4] * 9, list(range(9))), resamples=50)["median_rank"].high == 4.0


def test_sums_of_drawn_pictures_are_exact_for_whole_numbers_and_as_close_as_doubles_for_others() -> None:
    generator = np.random.default_rng(3)
    clusters, resamples = 700, 900
    counts = np.concatenate(list(statistics._fresh_counts(clusters, resamples, 5))).astype(np.int64)
    hits = generator.integers(0, 2, clusters).astype(np.float64)
    ranks = generator.integers(1, 1 << 40, clusters).astype(np.float64)
    shares = generator.random((clusters, 3))
    for columns in ({"hits": hits}, {"hits": hits, "ranks": ranks}, {"below": -hits}, {"halves": hits / 2}):
        drawn = statistics.resample_sums(columns, resamples, 5)
        for name, column in columns.items():
            np.testing.assert_array_equal(2 * drawn[name], counts @ (2 * column).astype(np.int64))
    drawn = statistics.resample_sums({"hits": hits, "shares": shares}, resamples, 5)
    np.testing.assert_array_equal(drawn["hits"], counts @ hits.astype(np.int64))
    np.testing.assert_allclose(drawn["shares"], counts @ shares, rtol=1e-13)
    assert drawn["shares"].shape == (resamples, 3)


def test_only_sums_below_two_to_the_23rd_are_worked_out_in_float32() -> None:
    largest = np.full((4, 1), 2.0**21)
    for exact in (largest, largest - 0.5, np.full((4, 1), 0.5)):
        assert statistics._single_is_exact(exact)
    assert not statistics._single_is_exact(largest + 0.5)
    assert not statistics._single_is_exact(np.full((4, 1), 0.25))
    assert not statistics._single_is_exact(np.full((4, 1), 0.1))
    assert not statistics._single_is_exact(np.full((4, 1), -1.0))


def test_a_mean_rank_is_never_said_to_lie_beyond_the_gallery() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        case = random_case(rng, 9, most=2)
        ranks = ranks_of_run(case.run("t2i"), case.qrels("t2i"))
        found = intervals(ranks, ks=(1,), resamples=200, level=0.99).get("mean_rank")
        assert found is None or 1 <= found.low <= found.value <= found.high <= 9
    sizes, sums = np.array([1.0, 2, 5]), np.array([4.0, 3, 40])
    columns = {"size": sizes, "mean_rank": sums, "rank*rank": sums**2, "size*rank": sizes * sums, "size*size": sizes**2}
    mean, spread = statistics._mean_and_spread({name: column.sum(keepdims=True) for name, column in columns.items()})
    assert mean == [47 / 8]
    assert spread == pytest.approx([np.sqrt(((sums - 47 / 8 * sizes) ** 2).sum()) / 8])


def test_bleu_lies_between_nothing_and_all() -> None:
    right, wrong = "a dog runs over the green grass", "words that no reference has"
    found, _ = bleu([right] * 2 + [wrong] * 30, [[right]] * 2 + [["another text of five words"]] * 30)
    assert 0 <= found.low <= found.value <= found.high
    most, _ = bleu([right] * 30 + [wrong], [[right]] * 31)
    assert most.low <= most.value <= most.high <= 100


def test_the_interval_of_bleu_is_drawn_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the seed and the level that are asked for, not those of the environment; against whole corpora drawn here."""
    from sacrebleu.metrics.bleu import BLEU

    words, rng = [f"word{i}" for i in range(13)], np.random.default_rng(0)
    known = [[" ".join(rng.choice(words, 9)) for _ in range(2 + i % 2)] for i in range(30)]
    said = [" ".join([*texts[0].split()[: 3 + i % 6], "there"]) for i, texts in enumerate(known)]
    found, _ = bleu(said, known, 60, 3)
    monkeypatch.setenv("SACREBLEU_SEED", "none")
    assert bleu(said, known, 60, 3)[0] == found != bleu(said, known, 60, 4)[0]
    narrow, _ = bleu(said, known, 60, 3, 0.5)
    assert found.low < narrow.low < narrow.value < narrow.high < found.high
    drawn = []
    for counts in np.concatenate(list(statistics._fresh_counts(30, 60, 3))):
        rows = np.repeat(np.arange(30), counts)
        columns = [[known[i][k] if k < len(known[i]) else None for i in rows] for k in range(3)]
        drawn.append(BLEU(force=True).corpus_score([said[i] for i in rows], columns).score)  # type: ignore[arg-type]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
