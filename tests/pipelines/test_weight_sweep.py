"""Counting gives the ranks that fusing, sorting and reading the run give, weight by weight."""

import numpy as np
import pytest

from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, exact_ranks, ranks_of_run
from picdesk.interfaces import Direction, Embeddings
from picdesk.pipelines.weight_sweep import WeightSweep, grid
from picdesk.search.fusion import RULES, Mixture, Rrf, WeightedSum
from picdesk.search.indexes import FlatIndex
from picdesk.trec import Qrels
from tests.rerankers.helpers import unit


def case(seed: int, several: bool, copies: bool) -> tuple[Embeddings, Embeddings, Qrels, Direction]:
    generator = np.random.default_rng(seed)
    pictures, texts = 30, 60
    gallery = unit(generator.normal(size=(pictures, 5)))
    if copies:
        gallery[10:20] = gallery[:10]
        gallery[20:25] = gallery[:5]
    picture_of = np.repeat(np.arange(pictures), 2)
    queries = unit(gallery[picture_of] + generator.normal(size=(texts, 5)) * 0.6)
    ids = tuple(f"p{i:02}" for i in range(pictures)), tuple(f"t{i:02}" for i in range(texts))
    image, text = Embeddings(ids[0], gallery), Embeddings(ids[1], queries)
    if several:
        return image, text, Qrels.from_pairs(ids[0], ids[1], picture_of, np.arange(texts)), "i2t"
    return text, image, Qrels.from_pairs(ids[1], ids[0], np.arange(texts), picture_of), "t2i"


@pytest.mark.parametrize("fusion", [*(WeightedSum(rule) for rule in RULES), Rrf()])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("unscored", [0.0, 0.3])
@pytest.mark.parametrize("grades", [0, 3])
@pytest.mark.parametrize("copies", [False, True])
def test_counting_equals_fusing(fusion: Mixture, several: bool, unscored: float, grades: int, copies: bool) -> None:
    queries, items, qrels, direction = case(grades, several, copies)
    run = FlatIndex()
    run.build(items)
    found = run.search(queries, 12)
    generator = np.random.default_rng(7)
    scores = [generator.normal(size=found.index.shape).astype(np.float32) for _ in range(2)]
    for own in scores:
        if grades:
            own[:] = np.round(own * grades)  # many candidates get the same grade
        own[generator.random(own.shape) < unscored] = np.nan
    exact = exact_ranks(queries, items, qrels, direction=direction)
    sweep = WeightSweep(fusion, found, scores, qrels, exact)
    for weights in [(0, 0), (0.2, 0), (0, 1), (1, 0), (0.5, 0.5), (0.3, 0.1), (0, 0.01)]:
        fused = fusion.fuse(found, scores, weights)
        expected = ranks_of_run(add_tail(fused, exact, qrels), qrels, direction)
        assert np.array_equal(sweep.ranks(weights).ranks, expected.ranks), weights


def test_one_reranker_has_101_weights_and_several_a_simplex() -> None:
    assert grid(1, None) == [(n / 100,) for n in range(101)]
    two = grid(2, None)
    assert len(two) == 231
    assert max(sum(point) for point in two) <= 1 + 1e-9
    assert {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)} <= set(two)
    with pytest.raises(ConfigError, match="10,626 points for 4 rerankers"):
        grid(4, 20)
    with pytest.raises(ConfigError, match="at least 1"):
        grid(1, 0)
