"""Counting gives the ranks that fusing, sorting and reading the run give, weight by weight."""

import numpy as np
import pytest

from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, exact_ranks, ranks_of_run
from picdesk.interfaces import Direction, Embeddings
from picdesk.retrieval.weight_sweep import WeightSweep, grid
from picdesk.search.fusion import RULES, Mixture, Rrf, WeightedSum
from picdesk.search.indexes import FlatIndex, HnswIndex
from picdesk.trec.runs import Qrels
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


class Drawn:
    """A small search, and rerankers that say what nobody would expect of them."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng([5, seed])
        pictures, captions = int(self.random.integers(1, 12)), int(self.random.integers(1, 4))
        image = self.random.normal(size=(pictures, 3))[self.random.integers(0, pictures, pictures)]  # some are equal
        owner = np.repeat(np.arange(pictures), captions)
        text = image[owner] + self.random.choice([0, 0.5]) * self.random.normal(size=(len(owner), 3))
        sides = [
            Embeddings(tuple(f"{letter}{i:02}" for i in self.random.permutation(len(matrix))), unit(matrix))
            for letter, matrix in (("p", image), ("t", text))
        ]
        swap = seed % 2
        self.items, self.queries = sides[swap], sides[1 - swap]
        pairs = (owner, np.arange(len(owner))) if swap else (np.arange(len(owner)), owner)
        self.qrels = Qrels.from_pairs(self.queries.ids, self.items.ids, *pairs)
        self.direction: Direction = "i2t" if swap else "t2i"
        index = FlatIndex() if seed % 5 else HnswIndex(m=2, ef_construction=2, ef_search=1)
        index.build(self.items)
        self.run = index.search(self.queries, int(self.random.integers(1, len(self.items.ids) + 2)))
        self.scores = [self.reranked() for _ in range(int(self.random.integers(1, 4)))]

    def reranked(self) -> np.ndarray:
        """Grades, one score for all, the largest and smallest numbers there are, or nothing; and gaps in each."""
        shape = self.run.index.shape
        own = self.random.normal(size=shape)
        kinds = (
            np.round(own),
            np.full(shape, -2.5),
            own.clip(-3, 3) * 1e38,
            -np.abs(own) * 1e30,
            own * 1e-42,
            np.full(shape, np.nan),
        )
        largest = self.random.choice([3.4e38, -3.4e38, 0], shape)
        scores = (*kinds, largest, own)[self.random.integers(0, 8)].astype(np.float32)
        scores[self.random.random(shape) < self.random.choice([0, 0.2, 0.6])] = np.nan
        return scores

    def weights(self) -> list[tuple[float, ...]]:
        """All for one, all alike, and any."""
        count = len(self.scores)
        some = [self.random.dirichlet(np.ones(count + 1))[:count] for _ in range(2)]
        return [
            tuple(np.eye(count)[0]),
            (0.0,) * count,
            (1 / count,) * count,
            tuple(some[0]),
            tuple(some[1].round(1) / 2),
        ]


def disagreements(seeds: range) -> tuple[int, int]:
    """How many ranks were compared, and how many differ between counting and fusing."""
    fusions = [*(WeightedSum(rule) for rule in RULES), WeightedSum("softmax", 0.01), Rrf(), Rrf(0)]
    compared = wrong = 0
    for seed in seeds:
        drawn = Drawn(seed)
        fusion = fusions[seed % len(fusions)]
        exact = exact_ranks(drawn.queries, drawn.items, drawn.qrels, direction=drawn.direction)
        sweep = WeightSweep(fusion, drawn.run, drawn.scores, drawn.qrels, exact)
        for weights in drawn.weights():
            fused = fusion.fuse(drawn.run, drawn.scores, weights)
            expected = ranks_of_run(add_tail(fused, exact, drawn.qrels), drawn.qrels, drawn.direction).ranks
            compared += len(expected)
            wrong += int((sweep.ranks(weights).ranks != expected).sum())
    return compared, wrong


def test_counting_equals_fusing_on_ten_thousand_hostile_points() -> None:
    compared, wrong = disagreements(range(160))
    assert compared > 10_000
    assert wrong == 0


@pytest.mark.slow
def test_counting_equals_fusing_on_a_hundred_thousand() -> None:
    assert disagreements(range(160, 3000))[1] == 0
