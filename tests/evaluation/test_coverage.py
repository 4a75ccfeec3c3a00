"""Do the intervals hold the truth as often as they say, and do the tests cry wolf no more often than they say?

Data sets are drawn from a model whose true metrics are known by drawing very many: pictures differ in difficulty, captions of a
picture share it, and there are one to seven captions a picture.
"""

from collections import Counter
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

from picdesk.evaluation.families import all_pairs_p
from picdesk.evaluation.metrics import metrics_of
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.significance import compare
from picdesk.evaluation.statistics import intervals

GALLERY = 1000
NAMES = ("hits@1", "hits@5", "hits@10", "recall@10", "mrr", "mean_rank", "median_rank")


def draw_ranks(
    rng: np.random.Generator, pictures: int, single: bool = False, shared: np.ndarray | None = None
) -> Ranks:
    """Ranks of a made-up model: log rank = difficulty of the picture + of the caption.

    Each caption is a query or, with `single`, each picture is one whose captions are relevant.
    """
    sizes = 1 + np.arange(pictures) % 7
    picture = np.repeat(np.arange(pictures), sizes)
    hard = rng.normal(4.2 if single else 3.5, 1.0, pictures) if shared is None else shared
    ranks = np.exp(hard[picture] + rng.normal(0, 0.8, len(picture))).clip(1, GALLERY).astype(np.int32)
    cluster = np.arange(pictures) if single else picture
    bounds = np.concatenate([[0], np.cumsum(sizes)]) if single else np.arange(len(picture) + 1)
    ids = tuple(map(str, range(len(cluster))))
    return Ranks("i2t" if single else "t2i", ids, bounds, ranks, GALLERY, GALLERY, cluster)


def coverage_of(data_sets: int, resamples: int, single: bool, pictures: int = 490) -> dict[str, float]:
    """Share of data sets whose interval holds the true value, which a thousand times as many pictures tell."""
    truth = metrics_of(draw_ranks(np.random.default_rng(99), 1000 * pictures, single))
    hits: Counter[str] = Counter()
    for seed in range(data_sets):
        found = intervals(
            draw_ranks(np.random.default_rng([1, seed]), pictures, single), resamples=resamples, seed=seed
        )
        hits.update(name for name in NAMES if found[name].low <= truth[name] <= found[name].high)
    return {name: hits[name] / data_sets for name in NAMES}


def false_alarms(pairs: int, resamples: int, pictures: int = 80) -> dict[str, float]:
    """Share of pairs of equally good models, on the same pictures, between which a difference is claimed at 5%."""
    alarms: Counter[str] = Counter()
    for seed in range(pairs):
        rng = np.random.default_rng([2, seed])
        shared = rng.normal(2.2, 1.0, pictures)
        found = compare(
            draw_ranks(rng, pictures, shared=shared),
            draw_ranks(rng, pictures, shared=shared),
            resamples=resamples,
            seed=seed,
        )
        alarms.update(name for name, difference in found.items() if difference.p <= 0.05)
    return {name: alarms[name] / pairs for name in ("hits@1", "hits@5", "hits@10", "mrr", "mean_rank")}


def board(rng: np.random.Generator, systems: int, pictures: int, captions: int = 1, alike: int = 0) -> np.ndarray:
    """hits [pictures, captions, systems] of equally good systems: a picture and a caption are hard for all of them in part.

    The first `alike` systems are nearly the same one, as rows of a sweep may be.
    """
    shared = 0.6**0.5 * rng.standard_normal((pictures, 1, 1)) + 0.4**0.5 * rng.standard_normal((pictures, captions, 1))
    own = rng.standard_normal((pictures, 1, systems)) + rng.standard_normal((pictures, captions, systems))
    own[..., :alike] = own[..., :1] + 0.1 * own[..., :alike]
    own[..., :alike] /= 1.01**0.5
    return (0.6**0.5 * shared + 0.2**0.5 * own < NormalDist().inv_cdf(0.4)).astype(np.float64)


def false_boards(boards: int, resamples: int, *shape: int) -> float:
    """Share of boards of equal systems on which the best row is told apart from any other."""
    alarms = 0
    for seed in range(boards):
        hits = board(np.random.default_rng([3, seed, *shape]), *shape)
        best = int(hits.mean(axis=(0, 1)).argmax())
        alarms += bool((all_pairs_p([hits.sum(axis=1)], resamples, seed)[0][best] < 0.05).any())
    return alarms / boards


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979) of p-values for their number."""
    corrected, worst = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = worst
    return corrected


def found_worse(boards: int, lead: float, systems: int = 10, pictures: int = 500) -> dict[str, float]:
    """Share of rows that are truly worse than the first by `lead` and told so: by the board; by Holm's correction of all
    pairs; and by Holm's correction of tests against the row that the data chose, which errs too often."""
    counts = np.zeros(3)
    for seed in range(boards):
        rng = np.random.default_rng([4, seed])
        hits = board(rng, systems, pictures)[:, 0]
        hits[:, 0] = np.where(rng.random(pictures) < lead / 0.6, 1, hits[:, 0])
        best = int(hits.mean(axis=0).argmax())
        counts[0] += (all_pairs_p([hits], 1999, seed)[0][best] < 0.05).sum()
        pairs = list(combinations(range(systems), 2))
        alone = {pair: all_pairs_p([hits[:, pair]], 1999, seed)[0][0, 1] for pair in pairs}
        for place, wanted in ((1, pairs), (2, [pair for pair in pairs if best in pair])):
            holms = holm({str(pair): float(alone[pair]) for pair in wanted})
            counts[place] += sum(holms[str(pair)] < 0.05 for pair in wanted if best in pair)
    shares = counts / boards / (systems - 1)
    return dict(zip(("board", "holm of all pairs", "holm of the best's"), shares.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("systems", [2, 5, 10, 20, 30])
@pytest.mark.parametrize("shape", [(300, 1), (80, 1), (100, 5)], ids=["300 pictures", "80 pictures", "5 captions"])
def test_a_board_of_equal_systems_errs_in_5_of_100(systems: int, shape: tuple[int, int]) -> None:
    """1,000 boards: 5.0% may come out as 6.4% (two standard errors). Any pair counts as an error, not the best's alone."""
    assert false_boards(1000, 499, systems, *shape) <= 0.064


@pytest.mark.slow
def test_a_board_of_many_near_copies_errs_in_5_of_100_too() -> None:
    assert false_boards(1000, 499, 20, 300, 1, 18) <= 0.064


@pytest.mark.slow
def test_a_board_finds_more_than_holm_does_among_all_pairs() -> None:
    found = found_worse(60, 0.1)
    assert found["board"] > 0.6, found
    assert found["board"] > found["holm of all pairs"], found


@pytest.mark.parametrize("shape", [(2, 80, 1), (20, 60, 2)])
def test_sixty_boards_of_equal_systems(shape: tuple[int, ...]) -> None:
    assert false_boards(60, 199, *shape) <= 0.15


@pytest.mark.slow
@pytest.mark.parametrize("single", [False, True])
def test_intervals_hold_the_truth_in_93_to_97_of_100(single: bool) -> None:
    """The median's interval ends on whole ranks, so it may hold the truth a little more often."""
    found = coverage_of(1000, 2000, single)
    assert all(0.93 <= share <= (0.98 if name == "median_rank" else 0.97) for name, share in found.items()), found


@pytest.mark.slow
def test_equal_models_differ_in_at_most_55_of_1000() -> None:
    """Fewer where a metric takes few values; close to 50 for the two that take many."""
    found = false_alarms(4000, 1000)
    assert all(share <= 0.055 for share in found.values()), found
    assert min(found["mrr"], found["mean_rank"]) > 0.04, found


@pytest.mark.parametrize("single", [False, True])
def test_a_hundred_intervals(single: bool) -> None:
    found = coverage_of(100, 500, single, pictures=140)
    assert all(0.87 <= share <= 1.0 for share in found.values()), found


def test_intervals_that_ignore_the_pictures_would_be_too_short() -> None:
    """The same data with every caption as a picture of its own: far fewer than 93 of 100 hold the truth."""
    truth = metrics_of(draw_ranks(np.random.default_rng(99), 210_000))
    hits = 0
    for seed in range(100):
        ranks = draw_ranks(np.random.default_rng([1, seed]), 210)
        alone = Ranks(
            "t2i", ranks.query_ids, ranks.bounds, ranks.ranks, GALLERY, GALLERY, np.arange(len(ranks.query_ids))
        )
        found = intervals(alone, resamples=300)["mrr"]
        hits += found.low <= truth["mrr"] <= found.high
    assert hits < 88


def test_two_hundred_equal_pairs() -> None:
    found = false_alarms(200, 300, pictures=60)
    assert all(share <= 0.1 for share in found.values()), found
