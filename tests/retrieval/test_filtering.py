"""A filtered search finds what a search over the admitted items alone would, in every kind of index."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.interfaces import Embeddings
from picdesk.retrieval.filtering import looking_deeper, search_among
from picdesk.search.auto import AutoIndex
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.quantised import IvfPqIndex, PqFastScanIndex
from picdesk.trec.runs import Run
from tests.search.vectors import brute_force, clustered_vectors, embeddings, overlap

GALLERY = embeddings(clustered_vectors(3000, seed=1), "item")
QUERIES = embeddings(clustered_vectors(30, seed=2), "query")
SHARES = (0.5, 0.1, 0.01, 0.001)
KINDS: dict[str, Callable[[], Any]] = {
    "hnsw": HnswIndex,
    "ivf_flat": lambda: IvfFlatIndex(lists=32, probes=4),
    "ivf_pq": lambda: IvfPqIndex(lists=32, probes=4, code_bytes=16, refine="Flat"),
    "pq_fastscan": PqFastScanIndex,
    "factory": lambda: FactoryIndex("IVF32,SQ8", {"nprobe": 4}),
    "auto": lambda: AutoIndex(candidates=[HnswIndex(), IvfFlatIndex(lists=32, probes=8)]),
}


def admitting(share: float) -> np.ndarray:
    """Items that cluster: those most like one direction, so that they are not spread evenly."""
    likeness = GALLERY.matrix @ clustered_vectors(1, seed=9)[0]
    return np.asarray(likeness >= np.sort(likeness)[-max(1, round(share * len(likeness)))])


def lists_of(run: Run) -> list[list[str]]:
    return [[run.item_ids[i] for i in row if i >= 0] for row in run.index]


@pytest.mark.parametrize("share", SHARES)
def test_exact_search_among_some_is_exact(share: float) -> None:
    index = FlatIndex()
    index.build(GALLERY)
    admitted = admitting(share)
    wanted = brute_force(QUERIES, GALLERY.take(np.flatnonzero(admitted)), 10)
    for run in (search_among(index, QUERIES, 10, admitted), looking_deeper(index, QUERIES, len(wanted[0]), admitted)):
        assert lists_of(run) == wanted
        assert run.item_ids == GALLERY.ids
    alone = FlatIndex()
    alone.build(GALLERY.take(np.flatnonzero(admitted)))
    np.testing.assert_allclose(
        search_among(index, QUERIES, 10, admitted).scores, alone.search(QUERIES, 10).scores, atol=1e-6
    )


@cache
def built(kind: str) -> Any:
    """An index over the gallery, for tests that leave it as it is."""
    index = KINDS[kind]()
    index.build(GALLERY)
    return index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", SHARES)
def test_approximate_search_among_some_fills_its_lists(kind: str, share: float) -> None:
    index = built(kind)
    admitted = admitting(share)
    before = lists_of(index.search(QUERIES, 10))
    run = search_among(index, QUERIES, 10, admitted)
    some = GALLERY.take(np.flatnonzero(admitted))
    assert all(len(row) == min(10, len(some.ids)) for row in lists_of(run))
    assert {item for row in lists_of(run) for item in row} <= set(some.ids)
    assert overlap(lists_of(run), brute_force(QUERIES, some, 10)) >= 0.9
    assert lists_of(index.search(QUERIES, 10)) == before, "more lists were looked into, and that stayed so"


def test_where_nothing_is_admitted_nothing_is_found() -> None:
    index = FlatIndex()
    index.build(GALLERY)
    run = search_among(index, QUERIES, 10, np.zeros(3000, bool))
    assert lists_of(run) == [[]] * 30


def test_equal_pictures_are_ordered_by_id_among_some_too() -> None:
    matrix = np.repeat(clustered_vectors(1, seed=5), 50, axis=0)
    same = Embeddings(tuple(f"x{i:02}" for i in range(50)), np.ascontiguousarray(matrix))
    index = FlatIndex()
    index.build(same)
    admitted = np.arange(50) % 7 == 3
    run = search_among(index, QUERIES, 3, admitted)
    assert lists_of(run) == [["x03", "x10", "x17"]] * 30


def test_milvus_searches_among_some(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (extra: milvus)")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (extra: milvus)")
    from picdesk.search.milvus import MilvusIndex

    index = MilvusIndex(str(tmp_path / "m.db"))
    index.build(GALLERY)
    for share in SHARES:
        admitted = admitting(share)
        wanted = brute_force(QUERIES, GALLERY.take(np.flatnonzero(admitted)), 10)
        assert lists_of(search_among(index, QUERIES, 10, admitted)) == wanted
    index.close()
