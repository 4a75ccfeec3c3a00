"""A run cut at some depth, with its tail, scores exactly as the whole order does, and so does its file."""

from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import Success
from tests.evaluation.ranking_cases import Case, captions, embeddings, lattice

from picdesk.errors import DataError
from picdesk.evaluation.metrics import Ranks, add_tail, exact_ranks_both, metrics_of, ranks_of_run
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.trec.files import read_qrels, read_runs, write_qrels, write_runs
from picdesk.trec.runs import Qrels, Run


def tied_case(seed: int) -> tuple[Case, dict[Direction, Ranks]]:
    """Inner products of eight levels or so, all exact, and the exact ranks in both directions."""
    rng = np.random.default_rng(seed)
    picture_of = captions(rng, int(rng.integers(8, 40)))
    pictures = embeddings("p", lattice(rng, int(picture_of.max()) + 1))
    flips = np.where(rng.random((len(picture_of), 16)) < rng.uniform(0, 0.4), -1, 1)
    texts = embeddings("t", pictures.matrix[picture_of] * flips)
    case = Case(texts.ids, pictures.ids, picture_of, texts.matrix @ pictures.matrix.T)
    exact = exact_ranks_both(texts, pictures, case.qrels("t2i"), case.qrels("i2t"), side=7)
    return case, dict(zip(DIRECTIONS, exact, strict=True))


@pytest.mark.parametrize("seed", range(60))
def test_list_and_tail_tell_every_rank(seed: int, tmp_path: Path) -> None:
    case, exact = tied_case(seed)
    runs, qrels = {}, {}
    for direction in DIRECTIONS:
        qrels[direction] = case.qrels(direction)
        whole = ranks_of_run(case.run(direction), qrels[direction], direction)
        assert whole.ranks.tolist() == exact[direction].ranks.tolist()
        cut = case.run(direction, depth=1 + seed % 12)
        runs[direction] = add_tail(cut, exact[direction], qrels[direction])
        assert_tail_is_outside(runs[direction])
        told = ranks_of_run(runs[direction], qrels[direction], direction)
        assert told.ranks.tolist() == whole.ranks.tolist()
        assert told.depth == whole.depth
    write_runs(tmp_path / "run.trec", runs)
    write_qrels(tmp_path / "qrels.trec", qrels)
    read, judged = read_runs(tmp_path / "run.trec"), read_qrels(tmp_path / "qrels.trec")
    for direction in DIRECTIONS:
        again = ranks_of_run(read[direction], judged[direction], direction)
        assert metrics_of(again) == metrics_of(exact[direction])
        assert intervals(again, resamples=50) == intervals(exact[direction], resamples=50)
    write_runs(tmp_path / "again.trec", read)
    assert (tmp_path / "again.trec").read_bytes() == (tmp_path / "run.trec").read_bytes()


def assert_tail_is_outside(run: Run) -> None:
    lengths = (run.index >= 0).sum(axis=1)
    assert (run.tail.rank > lengths[run.tail.query]).all()
    assert (run.tail.rank <= run.gallery_size).all()
    assert not (run.index[run.tail.query] == run.tail.item[:, None]).any()
    keys = run.tail.query.astype(np.int64) * (run.gallery_size + 1) + run.tail.rank
    assert (np.diff(keys) > 0).all()
    last = np.where(run.index >= 0, run.scores, np.inf).min(axis=1)
    assert (run.tail.score < last[run.tail.query]).all()
    assert (np.diff(run.tail.score)[np.diff(run.tail.query) == 0] <= 0).all()


def test_a_settled_list_stays_whole() -> None:
    """Where nothing is equal, only what is missing goes to the tail."""
    rng = np.random.default_rng(0)
    picture_of = captions(rng, 50)
    pictures = embeddings("p", rng.standard_normal((50, 16)))
    texts = embeddings("t", pictures.matrix[picture_of] + 0.3 * rng.standard_normal((len(picture_of), 16)))
    case = Case(texts.ids, pictures.ids, picture_of, texts.matrix @ pictures.matrix.T)
    ranks, _ = exact_ranks_both(texts, pictures, case.qrels("t2i"), case.qrels("i2t"))
    cut = case.run("t2i", depth=5)
    run = add_tail(cut, ranks, case.qrels("t2i"))
    assert np.array_equal(run.index, cut.index)
    assert len(run.tail.rank) == (ranks.ranks > 5).sum() > 0
    assert run.tail.rank.min() == 6


def test_a_list_by_another_engine_is_believed_for_what_it_lists() -> None:
    """A reranker put the right picture last of three, and a lossy index missed one that is really second."""
    case, exact = tied_case(3)
    whole = case.run("t2i", depth=3)
    scores = np.tile(np.array([30, 20, 10], np.float32), (len(whole.query_ids), 1))
    flags = np.ones(len(whole.query_ids), bool)
    turned = whole.index[:, ::-1].copy()
    reranked = Run(whole.query_ids, whole.item_ids, turned, scores, whole.gallery_size, reranked=flags)
    run = add_tail(reranked, exact["t2i"], case.qrels("t2i"))
    assert np.array_equal(run.index, reranked.index)
    place = {q: np.flatnonzero(row == case.picture_of[q]) for q, row in enumerate(run.index)}
    told = ranks_of_run(run, case.qrels("t2i"))
    for q, at in place.items():
        assert told.ranks[q] == at[0] + 1 if len(at) else told.ranks[q] > 3


@pytest.mark.parametrize("seed", range(5))
def test_tools_that_look_at_scores_alone_find_no_more_in_a_list_than_it_holds(seed: int, tmp_path: Path) -> None:
    """Fused scores of a list go down to 0, far below the similarities of what the list does not hold."""
    case, exact = tied_case(seed)
    runs, wanted = {}, {}
    for direction in DIRECTIONS:
        cut, qrels = case.run(direction, depth=4), case.qrels(direction)
        fused = np.tile(np.array([1, 0.5, 0.2, 0], np.float32), (len(cut.query_ids), 1))
        every = np.ones(len(cut.query_ids), bool)
        lists = replace(cut, index=cut.index[:, [2, 0, 3, 1]], scores=fused, reranked=every)
        runs[direction] = add_tail(lists, exact[direction], qrels)
        assert_tail_is_outside(runs[direction])
        told = metrics_of(ranks_of_run(runs[direction], qrels, direction), ks=(1, 2, 3, 4))
        wanted[direction] = [told[f"hits@{k}"] for k in (1, 2, 3, 4)]
    write_runs(tmp_path / "run.trec", runs)
    write_qrels(tmp_path / "qrels.trec", {direction: case.qrels(direction) for direction in DIRECTIONS})
    judged = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")))
    ranked = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    for direction in DIRECTIONS:
        own = [one for one in judged if one.query_id.startswith(direction)]
        found = ir_measures.pytrec_eval.calc_aggregate([Success @ k for k in (1, 2, 3, 4)], own, ranked)
        assert [found[Success @ k] for k in (1, 2, 3, 4)] == pytest.approx(wanted[direction])


def test_ties_at_the_end_of_a_reranked_list_stay_within_it() -> None:
    """Eight pictures; candidates that a reranker scored 9, 1, 1, of which the middle one is right: rank 3, not its old 7."""
    qrels = Qrels.from_pairs(("q",), tuple("abcdefgh"), np.array([0]), np.array([1]))
    index, scores, flags = np.array([[5, 1, 6]], np.int32), np.array([[9, 1, 1]], np.float32), np.ones(1, bool)
    run = Run(("q",), tuple("abcdefgh"), index, scores, 8, reranked=flags)
    exact = Ranks(
        "t2i", ("q",), qrels.bounds, np.array([7], np.int32), 8, 8, np.zeros(1, np.int64), np.array([0.2], np.float32)
    )
    told = add_tail(run, exact, qrels)
    assert (told.index.tolist(), told.tail.rank.tolist()) == ([[5, 6, -1]], [3])
    assert ranks_of_run(told, qrels).ranks.tolist() == [3]


def test_two_missing_items_never_share_a_rank() -> None:
    """Similarity ranks 1, 2 and 2 of items that another engine's list of two does not hold."""
    qrels = Qrels.from_pairs(("p", "q"), tuple("abcdefgh"), np.array([0, 1, 1, 1]), np.array([7, 2, 3, 4]))
    index, scores = np.array([[0, 1], [0, 1]], np.int32), np.array([[9, 8], [9, 8]], np.float32)
    ranks, own = np.array([8, 1, 2, 2], np.int32), np.array([0.1, 0.9, 0.8, 0.8], np.float32)
    exact = Ranks("t2i", ("p", "q"), qrels.bounds, ranks, 8, 8, np.arange(2), own)
    told = add_tail(Run(("p", "q"), tuple("abcdefgh"), index, scores, 8, reranked=np.ones(2, bool)), exact, qrels)
    assert told.tail.rank.tolist() == [8, 3, 4, 5]


def test_a_run_that_does_not_say_who_made_it_is_refused() -> None:
    """Scores that look like those of the search are no proof of it."""
    case, exact = tied_case(1)
    foreign = replace(case.run("t2i", depth=2), exact=None)
    with pytest.raises(DataError, match="does not say whether its lists are those of a search"):
        add_tail(foreign, exact["t2i"], case.qrels("t2i"))


def test_ranks_of_other_qrels_are_refused() -> None:
    case, exact = tied_case(1)
    with pytest.raises(DataError, match="are not those of these qrels"):
        add_tail(case.run("t2i", depth=2), exact["i2t"], case.qrels("t2i"))
    told = ranks_of_run(case.run("t2i"), case.qrels("t2i"))
    with pytest.raises(DataError, match="come without scores"):
        add_tail(case.run("t2i", depth=2), told, case.qrels("t2i"))
