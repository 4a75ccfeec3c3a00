"""Each correction against its formula, against another implementation, and on made data whose hubs are known."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.evaluation.metrics import exact_ranks, metrics_of
from picdesk.interfaces import Embeddings
from picdesk.search.auto import AutoIndex
from picdesk.search.corrected import Augmented, Corrected, blocks_of, gate_of, with_bias, with_gate
from picdesk.search.corrections import (
    Bank,
    Correction,
    Csls,
    DynamicInvertedSoftmax,
    InvertedSoftmax,
    Nnn,
    Plain,
    Sinkhorn,
    settings_to_try,
)
from picdesk.search.indexes import FlatIndex, HnswIndex
from picdesk.trec.runs import Qrels
from tests.evaluation.ranking_cases import embeddings

RULES = [Nnn(k=8), Csls(k=5), InvertedSoftmax(15), DynamicInvertedSoftmax(15), Sinkhorn(15)]
named = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def similar(seed: int = 0, items: int = 60, bank: int = 90, dim: int = 16) -> tuple[Embeddings, Embeddings, Embeddings]:
    """Gallery, queries, bank: random unit vectors."""
    rng = np.random.default_rng(seed)
    sizes = (("p", items), ("t", 40), ("b", bank))
    gallery, queries, others = (embeddings(name, rng.standard_normal((n, dim))) for name, n in sizes)
    return gallery, queries, others


def corrected_index(rule: Correction, gallery: Embeddings, bank: Embeddings, index: object = None) -> Corrected:
    own = FlatIndex() if index is None else index
    own.build(gallery)  # type: ignore[attr-defined]
    known = Bank.of(bank.matrix)
    return Corrected(own, rule, known, rule.fit(known, blocks_of(gallery.matrix)))  # type: ignore[arg-type]


def order_of(scores: np.ndarray) -> list[list[int]]:
    return np.argsort(-scores, axis=1).tolist()  # type: ignore[no-any-return]


def by_formula(rule: Correction, q: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The papers' own formulas, on the whole matrices."""
    s, bank = (q @ g.T).astype(np.float64), (b @ g.T).astype(np.float64)
    if isinstance(rule, Csls):
        r_q, r_g = np.sort(s, axis=1)[:, -rule.k :].mean(1), np.sort(bank, axis=0)[-rule.k :].mean(0)
        return np.asarray(2 * s - r_q[:, None] - r_g)
    if isinstance(rule, Nnn):
        return np.asarray(s - rule.weight * np.sort(bank, axis=0)[-rule.k :].mean(0))
    assert isinstance(rule, InvertedSoftmax)
    inverted = np.exp(rule.beta * s) / np.exp(rule.beta * bank).sum(0)
    if isinstance(rule, DynamicInvertedSoftmax):
        active = np.isin(s.argmax(1), np.unique(bank.argmax(1)))
        return np.where(active[:, None], inverted, s)
    if isinstance(rule, Sinkhorn):
        kernel = np.exp(rule.beta * bank)
        u = np.ones(len(b))
        for _ in range(rule.rounds):
            v = 1 / (kernel.T @ u)
            u = 1 / (kernel @ v)
        return np.asarray(np.exp(rule.beta * s) / (kernel.T @ u))
    return np.asarray(inverted)


@named
def test_the_order_is_that_of_the_formula(rule: Correction) -> None:
    gallery, queries, bank = similar()
    run = corrected_index(rule, gallery, bank).search(queries, len(gallery.ids))
    expected = by_formula(rule, queries.matrix, gallery.matrix, bank.matrix)
    assert run.index.tolist() == order_of(expected)
    assert run.index.tolist() != order_of(queries.matrix @ gallery.matrix.T)


def test_nnn_is_that_of_its_authors() -> None:
    nnn = pytest.importorskip("nnn", reason="nnn-retrieval is not installed (extra: dev)")
    gallery, queries, bank = similar(3)
    retriever = nnn.NNNRetriever(gallery.dim)
    theirs = nnn.NNNRanker(retriever, gallery.matrix, bank.matrix, alternate_ks=8, alternate_weight=0.75)
    scores, found = theirs.search(queries.matrix, 10)
    ours = corrected_index(Nnn(k=8, weight=0.75), gallery, bank)
    run = ours.search(queries, 10)
    assert run.index.tolist() == found.tolist()
    np.testing.assert_allclose(run.scores - ours.fitted.centre, scores, atol=1e-6)


def test_sinkhorn_gives_every_item_and_every_query_of_the_bank_the_same_share() -> None:
    gallery, _, bank = similar()
    rule = Sinkhorn(beta=10, rounds=60)
    known = Bank.of(bank.matrix)
    found = rule.fit(known, blocks_of(gallery.matrix))
    plan = np.exp(10 * (bank.matrix @ gallery.matrix.T - found.bias - found.centre) + found.rows[:, None])
    np.testing.assert_allclose(plan.sum(0), 1, rtol=1e-4)
    np.testing.assert_allclose(plan.sum(1) / plan.sum(1).mean(), 1, rtol=1e-4)


def clip_like(hubs: int, seed: int = 0) -> tuple[Embeddings, Embeddings, Embeddings, Qrels]:
    """400 pictures with one text each and 1,500 texts of others, two cones apart; `hubs` pictures lean towards all texts."""
    rng = np.random.default_rng(seed)
    cone = rng.standard_normal(32)
    meaning = rng.standard_normal((400, 32))
    pictures = meaning.copy()
    pictures[:hubs] += 2.0 * cone
    texts = meaning + 0.9 * rng.standard_normal((400, 32)) + cone
    bank = embeddings("b", rng.standard_normal((1500, 32)) * 1.3 + cone)
    gallery, queries = embeddings("p", pictures), embeddings("t", texts)
    at = np.arange(400)
    return gallery, queries, bank, Qrels.from_pairs(queries.ids, gallery.ids, at, at)


def hits(rule: Correction | None, gallery: Embeddings, queries: Embeddings, bank: Embeddings, qrels: Qrels) -> float:
    if rule is None:
        return metrics_of(exact_ranks(queries, gallery, qrels))["hits@1"]
    one = corrected_index(rule, gallery, bank)
    gate = gate_of(queries, one.index, one.fitted)
    ranks = exact_ranks(with_gate(queries, gate), with_bias(gallery, one.fitted), qrels)
    return metrics_of(ranks)["hits@1"]


@named
def test_equal_items_are_told_apart_by_their_ids_alone(rule: Correction) -> None:
    gallery, queries, bank = similar(items=301, bank=77, dim=96)
    twice = np.random.default_rng(1).permutation(301)[:200].reshape(2, 100)
    gallery.matrix[twice[1]] = gallery.matrix[twice[0]]
    index = corrected_index(rule, gallery, bank)
    fitted = index.fitted
    assert (fitted.bias[twice[0]] == fitted.bias[twice[1]]).all()
    assert fitted.gated is None or (fitted.gated[twice[0]] == fitted.gated[twice[1]]).all()
    run, other = index.search(queries, 301), dict(np.concatenate([twice.T, twice.T[:, ::-1]]).tolist())
    for found in run.index.tolist():
        for here, after in pairwise(found):
            if other.get(here) == after:
                assert gallery.ids[here] < gallery.ids[after]
    nearest = (gallery.matrix[twice[0, :5]] @ bank.matrix.T).argmax(axis=1)
    paired = Bank.of(bank.matrix, twice[0, :5], nearest)  # what a row of the bank asks for is told apart from its equal
    apart = rule.fit(paired, blocks_of(gallery.matrix))
    assert (apart.bias[twice[0, 5:]] == apart.bias[twice[1, 5:]]).all()
    assert (apart.bias[twice[0, :5]] < apart.bias[twice[1, :5]]).all()


@named
def test_known_hubs_are_put_in_their_place(rule: Correction) -> None:
    """Twelve pictures lean towards every text: without them on top, texts find their own."""
    made = clip_like(hubs=12)
    plain, corrected = hits(None, *made), hits(rule, *made)
    free = hits(None, *clip_like(hubs=0))
    assert plain < free - 0.1
    assert corrected - plain > 0.6 * (free - plain)


@named
def test_where_there_are_no_hubs_no_more_than_noise_is_lost(rule: Correction) -> None:
    made = clip_like(hubs=0)
    plain = hits(None, *made)
    assert hits(rule, *made) > plain - 2 * np.sqrt(plain * (1 - plain) / 400)


@named
def test_candidates_of_an_approximate_index_are_ordered_by_the_same_scores(rule: Correction) -> None:
    gallery, queries, bank = similar()
    exact = corrected_index(rule, gallery, bank).search(queries, len(gallery.ids))
    near = corrected_index(rule, gallery, bank, HnswIndex(ef_search=256)).search(queries, len(gallery.ids))
    assert near.index.tolist() == exact.index.tolist()
    np.testing.assert_allclose(near.scores, exact.scores, atol=1e-6)
    assert near.exact is False


@named
def test_exact_search_stays_exact_where_auto_chose_it(rule: Correction) -> None:
    gallery, queries, bank = similar(items=300)
    chosen = AutoIndex(candidates=[FlatIndex()])
    run = corrected_index(rule, gallery, bank, chosen).search(queries, 5)
    wanted = corrected_index(rule, gallery, bank).search(queries, 5)
    np.testing.assert_array_equal(run.index, wanted.index)
    assert run.exact
    assert not corrected_index(rule, gallery, bank, HnswIndex()).search(queries, 5).exact


@named
def test_similarities_can_be_had_again(rule: Correction) -> None:
    gallery, queries, bank = similar()
    one = corrected_index(rule, gallery, bank)
    run = one.search(queries, 7)
    plain = np.take_along_axis(queries.matrix @ gallery.matrix.T, run.index.astype(np.int64), axis=1)
    np.testing.assert_allclose(one.similarity(queries, run), plain, atol=1e-5)


@named
def test_saved_opened_added_to_and_taken_from(rule: Correction, tmp_path: Path) -> None:
    gallery, queries, bank = similar()
    some, more = gallery.take(np.arange(50)), gallery.take(np.arange(50, 60))
    first = corrected_index(rule, some, bank)
    first.save(tmp_path, {"scores": rule.description()})
    opened = Corrected(FlatIndex(), rule, first.bank, first.fitted)
    opened.load(tmp_path)
    assert opened.search(queries, 9).index.tolist() == first.search(queries, 9).index.tolist()
    opened.add(more)
    assert opened.ids == gallery.ids
    if not isinstance(rule, Sinkhorn | DynamicInvertedSoftmax):  # for which all items depend on all
        whole = corrected_index(rule, gallery, bank).search(queries, 9)
        assert opened.search(queries, 9).index.tolist() == whole.index.tolist()
    opened.remove(more.ids)
    assert opened.search(queries, 9).index.tolist() == first.search(queries, 9).index.tolist()


def test_another_rule_another_index_and_no_file_are_refused(tmp_path: Path) -> None:
    gallery, _, bank = similar()
    one = corrected_index(Nnn(k=8), gallery, bank)
    one.save(tmp_path / "one")
    with pytest.raises(DataError, match=r"was fitted by scores=nnn k=8 weight=0.75, and asked for is csls k=10"):
        Corrected(FlatIndex(), Csls(), one.bank, one.fitted).load(tmp_path / "one")
    other = FlatIndex()
    other.build(gallery.take(np.arange(20)))
    other.save(tmp_path / "one")
    with pytest.raises(DataError, match="of another index than this one"):
        Corrected(FlatIndex(), Nnn(k=8), one.bank, one.fitted).load(tmp_path / "one")
    other.save(tmp_path / "two")
    with pytest.raises(MissingFileError, match="saved without a correction"):
        Corrected(FlatIndex(), Nnn(k=8), one.bank, one.fitted).load(tmp_path / "two")
    (tmp_path / "one" / "correction.npz").write_bytes(b"PK\x03\x04no")
    other.save(tmp_path / "three")
    (tmp_path / "three" / "correction.npz").write_bytes(b"PK\x03\x04no")
    with pytest.raises(DataError, match="not what the bank says of an index"):
        Corrected(FlatIndex(), Nnn(k=8), one.bank, one.fitted).load(tmp_path / "three")


@named
def test_a_query_of_the_bank_does_not_count_against_the_item_that_it_is_about(rule: Correction) -> None:
    """Pictures of train have their own captions in the bank, which are near to them for the best of reasons."""
    gallery, _, bank = similar()
    own = Embeddings(tuple(f"o{i}" for i in range(5)), gallery.matrix[:5])
    both = np.concatenate([bank.matrix, own.matrix])
    without = rule.fit(Bank.of(bank.matrix), blocks_of(gallery.matrix))
    told = rule.fit(Bank.of(both, np.arange(5), 90 + np.arange(5)), blocks_of(gallery.matrix))
    naive = rule.fit(Bank.of(both), blocks_of(gallery.matrix))
    shift = [np.abs((one.bias - without.bias)[:5]).max() for one in (told, naive)]
    assert shift[0] < 0.25 * shift[1]


def test_what_makes_no_sense_is_refused() -> None:
    for make, told in (
        (lambda: Nnn(k=0), "scores.k=0"),
        (lambda: InvertedSoftmax(beta=0), "scores.beta=0: above 0"),
        (lambda: Sinkhorn(rounds=0), "scores.rounds=0"),
        (lambda: Csls(bank="test"), "scores.bank=test: choose one of train, val; the reported queries themselves"),
        (lambda: Csls(most=-1), "scores.most=-1"),
    ):
        with pytest.raises(ConfigError, match=told):
            make()
    with pytest.raises(DataError, match=r"scores\.bank: there is no query"):
        Bank.of(np.zeros((0, 4), np.float32))


def test_what_is_tried_and_what_is_told() -> None:
    assert not Plain().active
    assert len(settings_to_try(Nnn())) == 24
    assert settings_to_try(Plain()) == [{}]
    assert Nnn(weight=0).weight == 0, "which is plain"
    assert Nnn(transductive=True).description() == "nnn k=128 weight=0.75 TRANSDUCTIVE"
    assert isinstance(with_bias(similar()[0], corrected_index(Csls(), *similar()[::2]).fitted), Augmented)
