"""Exact search against a brute force that one can read."""

import faiss
import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings
from picdesk.search import making
from picdesk.search.indexes import FlatIndex
from tests.search.vectors import brute_force, clustered_vectors, embeddings, lists_of, unit


def gallery_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "smooth":
        return unit(rng.normal(size=(700, 48)))
    if kind == "copies":
        few = unit(rng.normal(size=(60, 48)))
        return few[rng.integers(0, 60, 700)]
    if kind == "signs":
        return (rng.choice([-1.0, 1.0], size=(700, 16)) / 4).astype(np.float32)
    return np.repeat(unit(rng.normal(size=(1, 48))), 700, axis=0)


@pytest.mark.parametrize("kind", ["smooth", "copies", "signs", "collapsed"])
@pytest.mark.parametrize("top_k", [1, 10, 137, 700])
@pytest.mark.parametrize("count", [3, 90])
def test_equals_brute_force_to_the_id(kind: str, top_k: int, count: int) -> None:
    rng = np.random.default_rng(3)
    gallery = embeddings(gallery_of(kind, rng), "item", seed=1)
    queries = embeddings(gallery_of("signs" if kind == "signs" else "smooth", rng)[:count], "query")
    index = FlatIndex()
    index.build(gallery)
    assert lists_of(index, queries, top_k) == brute_force(queries, gallery, top_k)


def test_order_does_not_depend_on_batch_or_on_the_order_of_the_gallery() -> None:
    rng = np.random.default_rng(5)
    gallery = embeddings(gallery_of("copies", rng), "item")
    queries = embeddings(unit(rng.normal(size=(64, 48))), "query")
    index, turned = FlatIndex(), FlatIndex()
    index.build(gallery)
    turned.build(gallery.take(rng.permutation(len(gallery.ids))))
    together = lists_of(index, queries, 25)
    one_by_one = [lists_of(index, queries.take(np.array([i])), 25)[0] for i in range(64)]
    assert together == one_by_one == lists_of(turned, queries, 25)


def test_equal_items_have_equal_scores() -> None:
    rng = np.random.default_rng(6)
    gallery = embeddings(gallery_of("copies", rng), "item")
    index = FlatIndex()
    index.build(gallery)
    run = index.search(embeddings(unit(rng.normal(size=(40, 48))), "query"), 30)
    for row, scores in zip(run.index, run.scores, strict=True):
        groups = {gallery.matrix[i].tobytes() for i in row}
        assert len(set(scores.tolist())) == len(groups)


@pytest.mark.parametrize("count", [1, 18, 400])
@pytest.mark.parametrize("dim", [384, 512, 768])
def test_equal_coordinates_tie_in_a_batch_of_every_size(count: int, dim: int) -> None:
    """Their float32 sums drift the furthest, by another amount in the last columns of a product."""
    one = unit(np.full((1, dim), 0.1))
    index = FlatIndex()
    index.build(embeddings(np.repeat(one, 65, axis=0), "item"))
    run = index.search(embeddings(np.repeat(one, count, axis=0), "query"), 65)
    assert np.unique(run.scores).size == 1
    assert (run.index == np.argsort(run.item_ids)).all()


def test_run_says_what_was_searched_and_clips_to_the_gallery() -> None:
    gallery = embeddings(unit(np.random.default_rng(0).normal(size=(5, 8))), "item")
    index = FlatIndex()
    index.build(gallery)
    run = index.search(embeddings(gallery.matrix[:2], "query"), 50)
    assert (run.gallery_size, run.depth, run.item_ids) == (5, 5, gallery.ids)
    assert run.index.dtype == np.int32
    assert run.scores.dtype == np.float32


def test_mistakes_are_named() -> None:
    index = FlatIndex()
    three = embeddings(unit(np.ones((3, 8)) + np.eye(3, 8)), "item")
    with pytest.raises(DataError, match="build it from a gallery or load it first"):
        index.search(three, 1)
    with pytest.raises(DataError, match="gallery is empty"):
        index.build(Embeddings((), np.empty((0, 8), np.float32)))
    index.build(three)
    with pytest.raises(DataError, match="queries of dimension 4, gallery of 8"):
        index.search(embeddings(unit(np.eye(2, 4)), "query"), 1)
    with pytest.raises(ConfigError, match="top_k=0"):
        index.search(three, 0)


def test_room_is_made_once_for_all_that_comes_in_shards() -> None:
    """A vector that doubles when it is full would hold up to three times what is in it."""
    index, gallery = FlatIndex(), embeddings(clustered_vectors(300, 1), "i")
    index.start(gallery.matrix[:10], 300)
    room = index.faiss.codes.data()
    for start in range(0, 300, 70):
        index.extend(gallery.take(np.arange(start, min(start + 70, 300))))
        assert int(index.faiss.codes.data()) == int(room), "it moved"
    index.finish()
    whole = FlatIndex()
    whole.build(gallery)
    assert index.fingerprint == whole.fingerprint
    assert lists_of(index, gallery, 5) == lists_of(whole, gallery, 5)


def test_a_few_queries_are_multiplied_together() -> None:
    assert faiss.cvar.distance_compute_blas_threshold <= making.TOGETHER * faiss.omp_get_max_threads()


@pytest.mark.parametrize(("was", "is_now"), [(making.ALONE, making.TOGETHER), (20, 20), (800, 800)])
def test_only_the_count_that_is_known_is_changed(was: int, is_now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", was)
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: 1)
    making.multiply_early()
    assert faiss.cvar.distance_compute_blas_threshold == is_now
