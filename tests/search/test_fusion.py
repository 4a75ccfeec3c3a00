"""Fusion: the rules of `search/fusion.py`, on random candidates and on ones that a pencil can check."""

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.search.fusion import RULES, Mixture, Rrf, Single, WeightedSum
from picdesk.trec.runs import Run

EVERY = [*(WeightedSum(rule) for rule in RULES), WeightedSum("softmax", 0.05), Rrf()]
NAN = np.nan


def run_of(scores: list[list[float]] | np.ndarray, depth: int | None = None) -> Run:
    """Each query has items 0, 1, 2, ... in that order, with these falling scores."""
    matrix = np.asarray(scores, np.float32)
    index = np.broadcast_to(np.arange(matrix.shape[1], dtype=np.int32), matrix.shape).copy()
    index[np.isneginf(matrix)] = -1
    items = tuple(f"i{n:03}" for n in range(matrix.shape[1]))
    return Run(tuple(f"q{n}" for n in range(len(matrix))), items, index, matrix, depth or matrix.shape[1])


def random_case(seed: int, shift: float = 0.0, unscored: float = 0.0) -> tuple[Run, np.ndarray]:
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(1, 9)), int(generator.integers(1, 30)))
    scores = -np.sort(-generator.normal(size=shape), axis=1) * 0.1 + shift
    reranked = generator.normal(size=shape).astype(np.float32)
    reranked[generator.random(shape) < unscored] = np.nan
    return run_of(scores), reranked


@pytest.mark.parametrize("fusion", EVERY)
@pytest.mark.parametrize("seed", range(20))
def test_weight_0_is_the_retrieval_order_to_the_byte(fusion: Mixture, seed: int) -> None:
    run, reranked = random_case(seed, unscored=0.2)
    fused = fusion.fuse(run, [reranked], [0.0])
    assert fused.index.tobytes() == run.index.tobytes()
    assert fused.scores.tobytes() == run.scores.tobytes()


@pytest.mark.parametrize("fusion", EVERY)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shift", [0.0, -5.0])
def test_weight_1_is_the_rerankers_order(fusion: Mixture, seed: int, shift: float) -> None:
    run, reranked = random_case(seed, shift)
    fused = fusion.fuse(run, [reranked], [1.0])
    assert np.array_equal(fused.index, np.argsort(-reranked, axis=1, kind="stable"))
    assert (np.diff(fused.scores) < 0).all()


@pytest.mark.parametrize("fusion", EVERY)
@pytest.mark.parametrize("weight", [0.01, 0.2, 0.5, 0.99, 1.0])
def test_defect_d_negative_scores_keep_their_order(fusion: Mixture, weight: float) -> None:
    """System D divided by the sum of the scores: with .06 .02 -.05 -.06 the last came first."""
    run = run_of([[0.06, 0.02, -0.05, -0.06], [-0.1, -0.2, -0.3, -0.4]])
    fused = fusion.fuse(run, [run.scores], [weight])
    assert np.array_equal(fused.index, run.index)
    assert fusion.fuse(run, [run.scores[:, ::-1]], [1.0]).index[0].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("none", "softmax")])
@pytest.mark.parametrize("seed", range(10))
def test_a_shift_or_a_scale_of_the_scores_changes_nothing(rule: str, seed: int) -> None:
    run, reranked = random_case(seed)
    moved = run_of(run.scores.astype(np.float64) * 4 - 2)
    fusion = WeightedSum(rule)
    assert np.array_equal(
        fusion.fuse(run, [reranked], [0.3]).index, fusion.fuse(moved, [reranked * 8 + 16], [0.3]).index
    )


@pytest.mark.parametrize("fusion", EVERY)
@pytest.mark.parametrize("seed", range(20))
def test_unscored_candidates_keep_their_place(fusion: Mixture, seed: int) -> None:
    run, reranked = random_case(seed, unscored=0.4)
    fused = fusion.fuse(run, [reranked], [0.7])
    kept = np.isnan(reranked)
    assert np.array_equal(fused.index[kept], run.index[kept])
    assert np.array_equal(np.sort(fused.index, axis=1), run.index)
    assert (np.diff(fused.scores) <= 0).all()


def test_candidates_beyond_top_k_follow_behind() -> None:
    run = run_of([[0.9, 0.8, 0.7, 0.6, 0.5]])
    fused = WeightedSum().fuse(run, [np.array([[1, 2, 3, NAN, NAN]], np.float32)], [1.0])
    assert fused.index.tolist() == [[2, 1, 0, 3, 4]]


def test_defect_d_scores_travel_with_their_ids() -> None:
    """System D returned reranked scores in the old order: here each item's score is the one computed for it."""
    run = run_of([[0.9, 0.5, 0.1]])
    fused = WeightedSum("minmax").fuse(run, [np.array([[0.0, 4.0, 1.0]], np.float32)], [0.5])
    assert dict(zip(fused.index[0].tolist(), fused.scores[0].tolist(), strict=True)) == pytest.approx(
        {0: 0.5, 1: 0.5 * 0.5 + 0.5 * 1.0, 2: 0.125}
    )
    assert fused.index[0].tolist() == [1, 0, 2]


def test_a_pencil_checks_the_normalisations() -> None:
    run = run_of([[4.0, 2.0, 0.0]])
    flags = np.ones((1, 3), bool)
    expected = {
        "minmax": [1, 0.5, 0],
        "zscore": [1.5**0.5, 0, -(1.5**0.5)],
        "rank": [1, 0.5, 0],
        "none": [4, 2, 0],
        "softmax": [np.exp(4), np.exp(2), 1] / (np.exp(4) + np.exp(2) + 1),
    }
    assert expected.keys() == RULES.keys()
    for name, rule in RULES.items():
        assert rule(run.scores.astype(np.float64), flags)[0] == pytest.approx(expected[name]), name
    fused = Rrf(60).fuse(run, [np.array([[1.0, 2.0, 3.0]], np.float32)], [0.5])
    by_item = dict(zip(fused.index[0].tolist(), fused.scores[0].tolist(), strict=True))
    assert by_item == pytest.approx({0: (1 / 61 + 1 / 63) / 2, 1: 1 / 62, 2: (1 / 63 + 1 / 61) / 2}, abs=1e-6)
    assert fused.index[0].tolist() == [0, 2, 1], "equal values keep the order of the search"


@pytest.mark.parametrize("fusion", EVERY)
def test_a_reranker_that_says_the_same_of_all_changes_nothing(fusion: Mixture) -> None:
    run, _ = random_case(3)
    fused = fusion.fuse(run, [np.full(run.index.shape, 2.5, np.float32)], [1.0])
    assert np.array_equal(fused.index, run.index)
    assert (np.diff(fused.scores) < 0).all(), "what the search told apart is not tied"


def test_equal_in_everything_stays_tied() -> None:
    run = run_of([[0.5, 0.5, 0.1]])
    fused = WeightedSum().fuse(run, [np.array([[1.0, 1.0, 2.0]], np.float32)], [0.2])
    assert fused.scores[0, 0] == fused.scores[0, 1]


def test_several_rerankers_share_what_the_search_leaves() -> None:
    run = run_of([[1.0, 0.5, 0.0]])
    one, two = np.array([[0.0, 1.0, 0.0]], np.float32), np.array([[0.0, NAN, 1.0]], np.float32)
    fused = WeightedSum().fuse(run, [one, two], [0.25, 0.25])
    by_item = dict(zip(fused.index[0].tolist(), fused.scores[0].tolist(), strict=True))
    # item 1: the second said nothing of it, so that share stays with the search
    assert by_item == pytest.approx({0: 0.5, 1: 0.5 * 0.5 + 0.25 * 1 + 0.25 * 0.5, 2: 0.25})


def test_padding_stays_at_the_end() -> None:
    run = run_of([[0.9, 0.1, -np.inf], [0.9, 0.5, 0.1]])
    fused = WeightedSum().fuse(run, [np.array([[1, 2, NAN], [1, 2, 3]], np.float32)], [1.0])
    assert fused.index.tolist() == [[1, 0, -1], [2, 1, 0]]
    assert np.isneginf(fused.scores[0, 2])


def test_nothing_scored_gives_the_run_back() -> None:
    run, _ = random_case(1)
    assert WeightedSum().fuse(run, [np.full(run.index.shape, NAN, np.float32)], [0.5]) is run
    assert Single().fuse(run, [run.scores], [0.5]) is run


@pytest.mark.parametrize("weights", [[-0.1], [1.1], [0.6, 0.6], [NAN]])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    run, _ = random_case(1)
    with pytest.raises(ConfigError, match=r"reranker\.weight"):
        WeightedSum().fuse(run, [run.scores] * len(weights), weights)


def test_bad_settings_and_scores_are_refused() -> None:
    run, _ = random_case(1)
    with pytest.raises(ConfigError, match=r"fusion\.normalisation=sum: choose one of minmax"):
        WeightedSum("sum")
    with pytest.raises(ConfigError, match=r"fusion\.temperature"):
        WeightedSum("softmax", 0)
    with pytest.raises(ConfigError, match=r"fusion\.k"):
        Rrf(-1)
    with pytest.raises(DataError, match="infinite"):
        WeightedSum().fuse(run, [np.full(run.index.shape, np.inf, np.float32)], [0.5])
    with pytest.raises(DataError, match="shape"):
        WeightedSum().fuse(run, [np.zeros((1, 99), np.float32)], [0.5])


def test_weights_that_add_up_to_1_but_for_rounding_leave_equal_candidates_in_the_order_of_the_search() -> None:
    weights = [0.2, 0.4, 0.3, 0.1]
    assert sum(weights) > 1
    run, equal = run_of([[0.9, 0.5, 0.1]]), np.zeros((1, 3), np.float32)
    assert WeightedSum().fuse(run, [equal] * 4, weights).index[0].tolist() == [0, 1, 2]


def names(run: Run) -> list[str]:
    return [run.item_ids[i] for i in run.index[0]]


def test_a_tie_stays_one_where_an_unscored_candidate_stands_between() -> None:
    """1 and 3 are equal in everything; 2, which nothing is known of, keeps its place between them."""
    run = run_of([[0.9, 0.5, 0.5, 0.5, 0.1]])
    fused = WeightedSum("none").fuse(run, [np.array([[0.1, 0.8, NAN, 0.8, 0.9]], np.float32)], [1.0])
    assert names(fused) == ["i004", "i001", "i002", "i003", "i000"]
    top, *tied, last = fused.scores[0].tolist()
    assert top > tied[0] == tied[1] == tied[2] > last


def test_unscored_candidates_stay_tied_where_a_scored_one_comes_between() -> None:
    run = run_of([[0.9, 0.5, 0.4, 0.4, 0.3, 0.3]])
    scores = np.array([[NAN, 0.1, NAN, NAN, 0.2, NAN]], np.float32)
    fused = WeightedSum("none").fuse(run, [scores], [1.0])
    assert names(fused) == ["i000", "i004", "i002", "i003", "i001", "i005"]
    assert [int((fused.scores[0] >= score).sum()) for score in fused.scores[0]] == [1, 2, 4, 4, 5, 6]


def test_a_list_in_which_nothing_is_scored_stays_as_it_was() -> None:
    run = run_of([[0.9, 0.5, 0.5], [0.8, 0.3, 0.2]])
    fused = WeightedSum().fuse(run, [np.array([[NAN] * 3, [0.1, 0.2, 0.3]], np.float32)], [0.5])
    assert fused.scores[0].tolist() == run.scores[0].tolist()
    assert fused.reranked is not None
    assert fused.reranked.tolist() == [False, True]


def test_the_lowest_numbers_there_are_still_fall() -> None:
    lowest = np.finfo(np.float32).min
    run = run_of([[0.4, 0.3, 0.2, 0.1]])
    fused = WeightedSum("none").fuse(run, [np.array([[lowest, NAN, lowest, lowest]], np.float32)], [1.0])
    assert (np.diff(fused.scores) < 0).all()
    assert np.isfinite(fused.scores).all()
