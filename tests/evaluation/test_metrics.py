"""The metrics against a pencil, an independent evaluator and models whose score is known beforehand."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, R, Success
from tests.evaluation.ranking_cases import Case, captions, embeddings, random_case

from picdesk.evaluation.metrics import exact_ranks, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.trec import Qrels, Run


def independent(run: Run, qrels: Qrels) -> dict[str, float]:
    """The same metrics by ir_measures (pytrec_eval)."""
    judged = {query: {qrels.item_ids[i]: 1 for i in qrels.relevant(q)} for q, query in enumerate(qrels.query_ids)}
    ranked = {
        query: {run.item_ids[i]: float(s) for i, s in zip(run.index[q], run.scores[q], strict=True) if i >= 0}
        for q, query in enumerate(run.query_ids)
    }
    wanted = {f"hits@{k}": Success @ k for k in (1, 5, 10)} | {f"recall@{k}": R @ k for k in (1, 5, 10)} | {"mrr": RR}
    got = ir_measures.pytrec_eval.calc_aggregate(list(wanted.values()), judged, ranked)
    return {name: got[measure] for name, measure in wanted.items()}


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_an_independent_evaluator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng, pictures=int(rng.integers(12, 40)))
    for direction in DIRECTIONS:
        run, qrels = case.run(direction), case.qrels(direction)
        ours = metrics_of(ranks_of_run(run, qrels, direction))
        for name, value in independent(run, qrels).items():
            assert abs(ours[name] - value) < 1e-9, (direction, name)


def test_a_table_to_check_with_a_pencil() -> None:
    """Four pictures, eight captions, two a picture; scores in tenths.

    Ranks of the right picture, read row by row: 1 2 | 1 1 | 4 2 | 1 3.
    Ranks of a picture's two captions, read column by column: (1, 3), (1, 2), (8, 3), (1, 3).
    """
    scores = np.array(
        [
            [9, 1, 2, 3],  # a
            [5, 2, 4, 6],  # a
            [1, 8, 3, 2],  # b
            [6, 7, 5, 4],  # b
            [4, 3, 0, 1],  # c
            [3, 5, 4.5, 1.5],  # c
            [2, 6, 1, 9.5],  # d
            [4.5, 4, 6.5, 4.2],  # d
        ],
        np.float32,
    )
    texts, pictures = tuple(f"{name}{n}" for name in "abcd" for n in (1, 2)), tuple("ABCD")
    case = Case(texts, pictures, np.repeat(np.arange(4), 2), scores)
    t2i = ranks_of_run(case.run("t2i"), case.qrels("t2i"), "t2i")
    assert t2i.ranks.tolist() == [1, 2, 1, 1, 4, 2, 1, 3]
    assert metrics_of(t2i) == {
        "hits@1": 4 / 8,
        "hits@5": 1.0,
        "hits@10": 1.0,
        "recall@1": 4 / 8,
        "recall@5": 1.0,
        "recall@10": 1.0,
        "mrr": pytest.approx((4 + 1 / 2 + 1 / 2 + 1 / 4 + 1 / 3) / 8),
        "median_rank": 1.5,
        "mean_rank": 15 / 8,
        "queries": 8,
        "gallery": 4,
    }
    i2t = ranks_of_run(case.run("i2t"), case.qrels("i2t"), "i2t")
    assert i2t.ranks.tolist() == [1, 3, 1, 2, 8, 3, 1, 3]
    found = metrics_of(i2t, ks=(1, 3))
    assert found["hits@1"] == 3 / 4
    assert found["recall@1"] == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 / 2) / 4)
    assert found["recall@3"] == pytest.approx((1 + 1 + 1 / 2 + 1) / 4)


def test_exact_ranks_are_those_of_the_whole_run() -> None:
    rng = np.random.default_rng(3)
    picture_of = captions(rng, 83)
    pictures = embeddings("p", rng.standard_normal((83, 12)))
    texts = embeddings("t", pictures.matrix[picture_of] + 0.4 * rng.standard_normal((len(picture_of), 12)))
    case = Case(texts.ids, pictures.ids, picture_of, texts.matrix @ pictures.matrix.T)
    for direction, ranks in zip(
        DIRECTIONS, exact_ranks_both(texts, pictures, case.qrels("t2i"), case.qrels("i2t"), side=20), strict=True
    ):
        assert_same_ranks(ranks, case, direction)
    assert_same_ranks(exact_ranks(texts, pictures, case.qrels("t2i"), block=37), case, "t2i")
    assert_same_ranks(exact_ranks(pictures, texts, case.qrels("i2t"), block=9, direction="i2t"), case, "i2t")


def assert_same_ranks(ranks: object, case: Case, direction: Direction) -> None:
    wanted = ranks_of_run(case.run(direction), case.qrels(direction), direction)
    assert ranks.ranks.tolist() == wanted.ranks.tolist()  # type: ignore[attr-defined]
    assert ranks.cluster.tolist() == wanted.cluster.tolist()  # type: ignore[attr-defined]
