"""The metrics against a pencil, an independent evaluator and models whose score is known beforehand."""

import itertools

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, R, Success
from tests.evaluation.ranking_cases import Case, captions, embeddings, lattice, random_case, run_of

from picdesk.errors import ConfigError, DataError
from picdesk.evaluation.metrics import Ranks, add_tail, chance, exact_ranks, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings
from picdesk.trec.runs import Qrels, Run


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


def assert_same_ranks(ranks: Ranks, case: Case, direction: Direction) -> None:
    wanted = ranks_of_run(case.run(direction), case.qrels(direction), direction)
    assert ranks.ranks.tolist() == wanted.ranks.tolist()
    assert ranks.cluster.tolist() == wanted.cluster.tolist()


def clustered_case(
    rng: np.random.Generator, pictures: int = 60, noise: float = 0.5, most: int = 7
) -> tuple[Case, Embeddings, Embeddings]:
    """A case with embeddings behind it: (case, texts, pictures)."""
    picture_of = captions(rng, pictures, most)
    images = embeddings("p", rng.standard_normal((pictures, 16)))
    texts = embeddings("t", images.matrix[picture_of] + noise * rng.standard_normal((len(picture_of), 16)))
    return Case(texts.ids, images.ids, picture_of, texts.matrix @ images.matrix.T), texts, images


def both(case: Case, texts: Embeddings, pictures: Embeddings) -> dict[Direction, dict[str, float]]:
    found = exact_ranks_both(texts, pictures, case.qrels("t2i"), case.qrels("i2t"), side=25)
    return {"t2i": metrics_of(found[0]), "i2t": metrics_of(found[1])}


def test_a_perfect_model_scores_one() -> None:
    case, texts, pictures = clustered_case(np.random.default_rng(0), noise=0.0)
    for metrics in both(case, texts, pictures).values():
        assert metrics["hits@1"] == metrics["hits@10"] == metrics["recall@10"] == metrics["mrr"] == 1.0
        assert metrics["median_rank"] == metrics["mean_rank"] == 1.0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_shuffled_ids_score_chance(direction: Direction) -> None:
    """Mean over 300 shuffles of what is relevant, within three standard errors of the closed form.

    Shuffled are the gallery's ids: were it the texts in t2i, pictures with many captions would come up more often.
    """
    rng = np.random.default_rng(1)
    case, _, _ = clustered_case(rng)
    run, seen = case.run(direction), []
    for _ in range(300):
        owners = rng.permutation(60)[case.picture_of] if direction == "t2i" else rng.permutation(case.picture_of)
        shuffled = Case(case.text_ids, case.picture_ids, owners, case.scores)
        seen.append(metrics_of(ranks_of_run(run, shuffled.qrels(direction), direction)))
    expected = chance(shuffled.qrels(direction), run.gallery_size)
    assert set(expected) == set(seen[0]) - {"queries", "gallery"}
    for name, value in expected.items():
        drawn = np.array([metrics[name] for metrics in seen])
        error = drawn.std() / np.sqrt(len(drawn))
        assert abs(drawn.mean() - value) < (3 * error if name != "median_rank" else 1), name


def test_chance_is_the_mean_over_all_orders() -> None:
    """Seven items, three queries with 1, 2 and 5 relevant: every way to place the relevant ones counted out."""
    sizes = [1, 2, 5]
    qrels = Qrels.from_pairs(
        tuple("abc"), tuple("0123456"), np.repeat(np.arange(3), sizes), np.array([0, 0, 1, 0, 1, 2, 3, 4])
    )
    found = chance(qrels, 7, ks=(1, 3, 10))
    placed = [list(itertools.combinations(range(1, 8), size)) for size in sizes]
    for k in (1, 3, 10):
        assert found[f"hits@{k}"] == pytest.approx(np.mean([np.mean([p[0] <= k for p in ways]) for ways in placed]))
        inside = [np.mean([sum(r <= k for r in p) / len(p) for p in ways]) for ways in placed]
        assert found[f"recall@{k}"] == pytest.approx(np.mean(inside))
    assert found["mrr"] == pytest.approx(np.mean([np.mean([1 / p[0] for p in ways]) for ways in placed]))
    assert found["mean_rank"] == pytest.approx(np.mean([np.mean([p[0] for p in ways]) for ways in placed]))
    assert chance(qrels, 100)["hits@10"] < 0.3


def test_chance_of_one_relevant_item() -> None:
    qrels = Qrels.from_pairs(("q",), ("d",), np.array([0]), np.array([0]))
    assert chance(qrels, 1000, ks=(10,)) == {
        "hits@10": pytest.approx(0.01),
        "recall@10": pytest.approx(0.01),
        "mrr": pytest.approx(sum(1 / j for j in range(1, 1001)) / 1000),
        "median_rank": 500.5,
        "mean_rank": 500.5,
    }


@pytest.mark.parametrize("width", [16, 512])
def test_a_collapsed_model_scores_chance_or_below(width: int) -> None:
    """Every picture and every text has the same vector: no query is answered, whatever the way to the metric.

    With 16 coordinates all products are exact; with 512 a library rounds by the place of a cell in a block.
    """
    rng = np.random.default_rng(2)
    picture_of = captions(rng, 90)
    one = lattice(rng, 1) if width == 16 else rng.standard_normal((1, width))
    pictures = embeddings("p", np.repeat(one, 90, axis=0))
    texts = embeddings("t", np.repeat(one, len(picture_of), axis=0))
    case = Case(texts.ids, pictures.ids, picture_of, np.ones((len(picture_of), 90), np.float32))
    exact = dict(zip(DIRECTIONS, exact_ranks_both(texts, pictures, case.qrels("t2i"), case.qrels("i2t")), strict=True))
    for direction in DIRECTIONS:
        run, qrels = case.run(direction), case.qrels(direction)
        short, limit = case.run(direction, depth=10), chance(qrels, run.gallery_size)
        told = [ranks_of_run(run, qrels), ranks_of_run(short, qrels)]
        told += [exact[direction], ranks_of_run(add_tail(short, exact[direction], qrels), qrels)]
        for metrics in map(metrics_of, told):
            metrics.setdefault("mrr", metrics.get("mrr_at_least", 1.0))  # of a list that is cut
            for name in ("hits@1", "hits@10", "mrr"):
                assert metrics[name] <= limit[name] < 0.7


def test_what_is_not_finite_is_an_error() -> None:
    matrix = np.eye(3, dtype=np.float32)
    matrix[1, 1] = np.nan
    with pytest.raises(DataError, match=r"1 rows are not finite"):
        Embeddings(tuple("abc"), matrix)
    with pytest.raises(DataError, match="1 queries have a score that is not a finite number"):
        run_of(tuple("abc"), tuple("xyz"), matrix)


def test_order_of_queries_and_gallery_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    for levels in (0, 3):
        case = random_case(rng, pictures=25, levels=levels)
        t, p = rng.permutation(len(case.text_ids)), rng.permutation(25)
        moved = Case(
            tuple(case.text_ids[i] for i in t),
            tuple(case.picture_ids[i] for i in p),
            np.argsort(p)[case.picture_of[t]],
            case.scores[t][:, p],
        )
        for direction in DIRECTIONS:
            one, other = (ranks_of_run(c.run(direction), c.qrels(direction), direction) for c in (case, moved))
            same = (
                dict(zip(one.query_ids, one.first, strict=True)),
                dict(zip(other.query_ids, other.first, strict=True)),
            )
            assert same[0] == same[1]
            assert metrics_of(one) == pytest.approx(metrics_of(other), rel=1e-12)


def test_equal_scores_count_against_us() -> None:
    """a 1.0, then b c d equal, then e: b and d relevant. Before b: a and c. Before d: a, c and b."""
    scores = np.array([[1.0, 0.5, 0.5, 0.5, 0.1]], np.float32)
    run = run_of(("q",), tuple("abcde"), scores)
    qrels = Qrels.from_pairs(("q",), tuple("abcde"), np.array([0, 0]), np.array([1, 3]))
    assert ranks_of_run(run, qrels).ranks.tolist() == [3, 4]


def test_a_tie_at_the_end_of_a_cut_list_gets_the_worst_rank() -> None:
    """Ten items, four listed: a, then b c d equal. What is not listed may score the same."""
    index, scores = np.array([[0, 1, 2, 3]], np.int32), np.array([[1.0, 0.5, 0.5, 0.5]], np.float32)
    run = Run(("q",), tuple("abcd"), index, scores, gallery_size=10)
    qrels = Qrels.from_pairs(("q",), tuple("abcd"), np.array([0, 0]), np.array([0, 2]))
    assert ranks_of_run(run, qrels).ranks.tolist() == [1, 10]
    whole = Run(("q",), tuple("abcd"), index, scores, gallery_size=4)
    assert ranks_of_run(whole, qrels).ranks.tolist() == [1, 4]


def test_what_a_cut_run_does_not_find_is_counted_and_not_guessed() -> None:
    index, scores = np.array([[0, 1], [1, 0], [1, 0]], np.int32), np.array([[2, 1], [2, 1], [2, 1]], np.float32)
    run = Run(tuple("qrs"), ("a", "b"), index, scores, gallery_size=50)
    qrels = Qrels.from_pairs(tuple("qrs"), tuple("abc"), np.arange(3), np.array([0, 2, 0]))
    ranks = ranks_of_run(run, qrels)
    assert (ranks.ranks.tolist(), ranks.depth) == ([1, 0, 2], 2)
    assert metrics_of(ranks, ks=(1, 2, 5)) == {
        "hits@1": pytest.approx(1 / 3),
        "hits@2": pytest.approx(2 / 3),
        "recall@1": pytest.approx(1 / 3),
        "recall@2": pytest.approx(2 / 3),
        "mrr_at_least": pytest.approx((1 + 1 / 50 + 1 / 2) / 3),
        "mrr_at_most": pytest.approx((1 + 1 / 3 + 1 / 2) / 3),
        "median_rank": 2.0,
        "unfound": 1,
        "queries": 3,
        "gallery": 50,
    }


def test_run_and_qrels_of_different_ids_are_refused() -> None:
    case = random_case(np.random.default_rng(5), pictures=12)
    run, qrels = case.run("t2i"), case.qrels("t2i")
    other = Qrels(tuple(f"x{i}" for i in qrels.query_ids), qrels.item_ids, qrels.bounds, qrels.items)
    with pytest.raises(DataError, match=r"qrels are not in the run, for example ('xt\d+', ){3}\.\.\.") as error:
        ranks_of_run(run, other)
    assert str(error.value).startswith(f"{len(qrels.query_ids)} queries")
    fewer = Qrels(qrels.query_ids[:-1], qrels.item_ids, qrels.bounds[:-1], qrels.items[:-1])
    with pytest.raises(DataError, match=r"^1 queries of the run are not in the qrels"):
        ranks_of_run(run, fewer)
    elsewhere = Qrels(qrels.query_ids, tuple(f"y{i}" for i in qrels.item_ids), qrels.bounds, qrels.items)
    with pytest.raises(DataError, match=r"^12 relevant items are not in the gallery of 12, for example 'yp"):
        ranks_of_run(run, elsewhere)
    with pytest.raises(DataError, match=r"queries of the qrels have no embedding"):
        exact_ranks(embeddings("z", np.eye(3)), embeddings("p", np.eye(12)), qrels)


def test_cut_offs_start_at_one() -> None:
    ranks = ranks_of_run(
        run_of(("q",), ("a",), np.ones((1, 1), np.float32)), Qrels.from_pairs(("q",), ("a",), *[np.zeros(1, int)] * 2)
    )
    with pytest.raises(ConfigError, match=r"ks=\[0\]"):
        metrics_of(ranks, ks=[0])


def test_pictures_that_share_texts_take_two_products() -> None:
    """Near-duplicates: some texts have two right pictures, and some pictures have no text."""
    rng = np.random.default_rng(6)
    pictures, texts = embeddings("p", lattice(rng, 30)), embeddings("t", lattice(rng, 50))
    text, picture = (
        np.concatenate([np.arange(50), np.arange(9)]),
        np.concatenate([np.arange(50) // 2, 25 + np.arange(9) % 3]),
    )
    t2i = Qrels.from_pairs(texts.ids, pictures.ids, text, picture)
    i2t = Qrels.from_pairs(pictures.ids[:28], texts.ids, picture, text)
    scores = texts.matrix @ pictures.matrix.T
    found = exact_ranks_both(texts, pictures, t2i, i2t)
    assert found[0].ranks.tolist() == ranks_of_run(run_of(texts.ids, pictures.ids, scores), t2i).ranks.tolist()
    backward = run_of(pictures.ids[:28], texts.ids, np.ascontiguousarray(scores.T[:28]))
    assert found[1].ranks.tolist() == ranks_of_run(backward, i2t).ranks.tolist()


def test_a_rank_beyond_what_every_list_shows_is_not_a_known_median() -> None:
    """One query's list is shorter, and what it lost may stand at rank 2, before the 3 that another found."""
    index = np.array([[0, -1, -1], [1, 2, 0], [1, 2, 0]], np.int32)
    scores = np.where(index >= 0, np.array([3, 2, 1], np.float32), -np.inf).astype(np.float32)
    run = Run(tuple("qrs"), tuple("abc"), index, scores, gallery_size=20)
    qrels = Qrels.from_pairs(tuple("qrs"), tuple("abcd"), np.arange(3), np.array([3, 0, 0]))
    found = metrics_of(ranks_of_run(run, qrels), ks=(1,))
    assert "median_rank" not in found
    assert "mrr" not in found
    assert found["mrr_at_least"] == pytest.approx((1 / 20 + 2 / 3) / 3)
    assert found["mrr_at_most"] == pytest.approx((1 / 2 + 2 / 3) / 3)
