"""Every approximate kind against exact search, and items that come and go."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings, Index
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.open_saved import open_index
from picdesk.search.quantised import IvfPqFastScanIndex, IvfPqIndex, PqFastScanIndex
from tests.search.vectors import brute_force, clustered_vectors, embeddings, lists_of, overlap, unit

COUNT = 1000
KINDS: dict[str, Callable[[], FaissIndex]] = {
    "flat": FlatIndex,
    "hnsw": lambda: HnswIndex(m=16, ef_search=600),
    "ivf_flat": lambda: IvfFlatIndex(lists=16, probes=16),
    "ivf_pq": lambda: IvfPqIndex(lists=8, probes=8, code_bytes=8, refine="Flat", refine_factor=60),
    "ivf_pq_sq8": lambda: IvfPqIndex(lists=8, probes=8, code_bytes=16, rotate=False, refine="SQ8", refine_factor=30),
    "ivf_pq_turned": lambda: IvfPqIndex(lists=8, probes=8, code_bytes=8, refine="OPQ8_32,SQ8", refine_factor=60),
    "ivf_pq_fastscan": lambda: IvfPqFastScanIndex(lists=8, probes=8, refine="Flat", refine_factor=60),
    "pq_fastscan": lambda: PqFastScanIndex(refine_factor=60),
    "factory": lambda: FactoryIndex("IVF8,SQ8", {"nprobe": 8}),
    "rabitq": lambda: FactoryIndex("IVF8,RaBitQfs,RFlat", {"nprobe": 8, "k_factor_rf": 60}),
}
FLOOR = {"flat": 1.0, "factory": 0.97, "ivf_pq_sq8": 0.97, "ivf_pq_turned": 0.97}


@pytest.fixture(scope="module")
def gallery() -> Embeddings:
    return embeddings(clustered_vectors(COUNT, seed=1), "item", seed=1)


@pytest.fixture(scope="module")
def queries() -> Embeddings:
    return embeddings(clustered_vectors(100, seed=2), "query")


@pytest.mark.parametrize("kind", KINDS)
def test_searching_everywhere_finds_what_exact_search_finds(
    kind: str, gallery: Embeddings, queries: Embeddings
) -> None:
    index: Index = KINDS[kind]()
    index.build(gallery)
    found = lists_of(index, queries, 10)  # type: ignore[arg-type]
    assert overlap(found, brute_force(queries, gallery, 10)) >= FLOOR.get(kind, 0.999)


@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (12, 13))])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_survive_save_map_add_and_remove(kind: str, seed: int, tmp_path: Path) -> None:
    """Each item asks for itself: whatever was done before, the answer must be its own id."""
    rng = np.random.default_rng(seed)
    everything = embeddings(clustered_vectors(COUNT, seed, noise=1.0), "item", seed)
    order = rng.permutation(COUNT)
    first, later, gone = everything.take(order[:800]), everything.take(order[800:]), order[100:300]
    index = KINDS[kind]()
    index.build(first)
    index.save(tmp_path / "one")
    mapped = KINDS[kind]()
    mapped.load(tmp_path / "one", {"fingerprint": index.fingerprint})
    some = first.take(np.arange(0, 800, 4))  # all of them ask further down
    assert lists_of(mapped, some, 3) == lists_of(index, some, 3)
    mapped.remove([everything.ids[i] for i in gone])
    mapped.add(later)
    mapped.save(tmp_path / "one")
    again = open_index(tmp_path / "one")
    there = everything.take(order[~np.isin(order, gone)])
    assert set(again.ids) == set(there.ids)
    assert len(again.ids) == COUNT - 200
    own = lists_of(again, there, 1)
    assert np.mean([row == [item] for row, item in zip(own, there.ids, strict=True)]) >= FLOOR.get(kind, 0.995)
    removed = {everything.ids[i] for i in gone}
    lists = lists_of(again, everything.take(gone), 50)
    assert all(len(row) == 50 and not removed & set(row) for row in lists)
    if kind == "flat":
        assert lists == brute_force(everything.take(gone), there, 50)


def test_turning_finds_the_dimensions_that_tell() -> None:
    """Vectors of 12 dimensions, turned anyhow into 32: twelve bytes of the right directions do, of chance ones they do not."""
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(32, 32)))[0][:12]
    items, asked = (
        embeddings(unit(clustered_vectors(COUNT, seed, 12) @ turn), name) for seed, name in ((1, "i"), (2, "q"))
    )
    asked = asked.take(np.arange(300))
    exact = brute_force(asked, items, 10)

    def recall(refine: str) -> float:
        index = IvfPqIndex(lists=8, probes=8, code_bytes=8, rotate=False, refine=refine, refine_factor=100)
        index.build(items)
        return overlap(lists_of(index, asked, 10), exact)

    assert recall("OPQ4_12,SQ8") >= 0.97 > 0.9 > recall("RR12,SQ8")


def test_a_removed_item_may_come_back(gallery: Embeddings) -> None:
    for kind in ("flat", "hnsw", "ivf_flat"):
        index = KINDS[kind]()
        index.build(gallery)
        some = gallery.take(np.arange(5))
        index.remove(some.ids)
        index.add(some)
        assert lists_of(index, some, 1) == [[item] for item in some.ids]
        assert len(index.ids) == COUNT


def test_what_is_taken_in_and_out_shows_in_the_fingerprint(gallery: Embeddings) -> None:
    one, two = FlatIndex(), HnswIndex()
    one.build(gallery)
    two.build(gallery)
    whole = one.fingerprint
    assert two.fingerprint == whole
    one.remove([gallery.ids[0]])
    removed = one.fingerprint
    one.add(gallery.take(np.array([0])))
    assert len({whole, removed, one.fingerprint}) == 3


def test_building_twice_gives_the_same_lists(gallery: Embeddings, queries: Embeddings) -> None:
    lists = []
    for _ in range(2):
        index = HnswIndex(m=4, ef_construction=20, ef_search=10)
        index.build(gallery)
        lists.append(lists_of(index, queries, 10))
    assert lists[0] == lists[1]


def test_short_lists_are_padded(gallery: Embeddings, queries: Embeddings) -> None:
    index = IvfFlatIndex(lists=64, probes=1)
    index.build(gallery)
    run = index.search(queries, 200)
    padded = run.index < 0
    assert padded.any()
    assert (run.scores[padded] == -np.inf).all()
    assert (run.index[:, 0] >= 0).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FactoryIndex("nonsense"), "index factory 'nonsense': faiss cannot make it for 32 dimensions"),
        (lambda: FactoryIndex("HNSW16,PQ8"), "its metric is L2"),
        (lambda: FactoryIndex("Flat", {"nprobe": 3}), "index setting nprobe=3"),
        (lambda: IvfFlatIndex(lists=4096), "1000 items do not suffice to train it"),
        (lambda: IvfPqIndex(code_bytes=7, rotate=False), "faiss cannot make it for 32 dimensions"),
        (lambda: PqFastScanIndex(code_dims=5), r"index\.code_dims=5: it must divide the dimension, 32"),
        (lambda: HnswIndex(m=0), r"index\.m=0: it must be above 0"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    make: Callable[[], FaissIndex], said: str, gallery: Embeddings
) -> None:
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        make().build(gallery)
    assert "\n" not in str(caught.value)


def test_too_few_items_for_a_rotation_are_refused() -> None:
    """faiss learns it from fewer items than dimensions by writing beyond its memory, which ends the process."""
    few = embeddings(clustered_vectors(300, seed=1, dim=320), "few")
    with pytest.raises(
        DataError, match=r"300 items do not suffice to learn a rotation of 320 dimensions; .*rotate=false"
    ):
        IvfPqIndex(lists=4).build(few)
    plain = IvfPqIndex(lists=4, rotate=False)
    plain.build(few)
    assert overlap(lists_of(plain, few, 10), brute_force(few, few, 10)) > 0.9


def test_wrong_additions_and_removals_are_refused(gallery: Embeddings) -> None:
    index = HnswIndex()
    index.build(gallery)
    with pytest.raises(DataError, match="all 3 ids to add are there already"):
        index.add(gallery.take(np.arange(3)))
    with pytest.raises(DataError, match="dimension 8 for an index of 32"):
        index.add(embeddings(clustered_vectors(4, 1, dim=8), "new"))
    with pytest.raises(DataError, match="1 ids to remove are not there, for example 'nobody'"):
        index.remove(["nobody", gallery.ids[0]])
    with pytest.raises(DataError, match="empty index"):
        index.remove(gallery.ids)
    assert len(index.ids) == COUNT
    fixed = FactoryIndex("NSG8,Flat")
    fixed.build(gallery.take(np.arange(300)))
    with pytest.raises(ConfigError, match="items cannot be added"):
        fixed.add(embeddings(clustered_vectors(4, 1), "new"))


def test_default_lists_suit_the_number_of_items() -> None:
    index = IvfFlatIndex()
    assert [index.lists_for(n) for n in (10, 1_000, 100_000, 1_000_000)] == [1, 25, 1024, 4096]


@pytest.mark.parametrize("lists", [0, -1])
def test_no_lists_are_no_index(lists: int) -> None:
    with pytest.raises(ConfigError, match=f"lists={lists}"):
        IvfFlatIndex(lists=lists)
    with pytest.raises(ConfigError, match=f"lists={lists}"):
        IvfPqIndex(lists=lists)
