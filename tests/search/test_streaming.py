"""Building from shards, in memory and on disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.interfaces import Embeddings
from picdesk.search.base import sample_of
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.fingerprints import fingerprint_of
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.open_saved import open_index
from picdesk.search.quantised import IvfPqIndex
from picdesk.search.streaming import build_on_disk
from tests.search.vectors import brute_force, clustered_vectors, embeddings, lists_of, overlap

GALLERY = embeddings(clustered_vectors(1200, seed=1), "item")
QUERIES = embeddings(clustered_vectors(50, seed=2), "query")


def shards() -> Iterator[Embeddings]:
    for rows in (range(500), range(500, 501), range(501, 1200)):
        yield GALLERY.take(np.array(rows))


@pytest.mark.parametrize("make", [FlatIndex, HnswIndex, lambda: IvfFlatIndex(lists=8, probes=8)])
def test_shards_give_the_index_of_the_whole(make: Callable[[], FaissIndex]) -> None:
    index, whole = make(), make()
    index.build_from_shards(shards, sample=1200)
    whole.build(GALLERY)
    assert index.ids == GALLERY.ids
    assert index.fingerprint == whole.fingerprint == fingerprint_of(GALLERY)
    assert lists_of(index, QUERIES, 10) == lists_of(whole, QUERIES, 10)


@pytest.mark.parametrize(
    ("make", "floor"),
    [(lambda: IvfFlatIndex(lists=8, probes=8), 1.0), (lambda: FactoryIndex("IVF8,SQ8", {"nprobe": 8}), 0.97)],
)
def test_lists_on_disk_answer_like_lists_in_memory(
    make: Callable[[], FaissIndex], floor: float, tmp_path: Path
) -> None:
    index = build_on_disk(make(), shards, tmp_path / "one", {"backbone": "abc"}, sample=600)
    (tmp_path / "one").rename(tmp_path / "moved")
    moved = open_index(tmp_path / "moved", {"backbone": "abc", "fingerprint": fingerprint_of(GALLERY)})
    assert lists_of(moved, QUERIES, 10) == lists_of(index, QUERIES, 10)
    assert overlap(lists_of(moved, QUERIES, 10), brute_force(QUERIES, GALLERY, 10)) >= floor
    names = sorted(path.name for path in (tmp_path / "moved").iterdir())
    assert names == ["header.json", "ids-0.jsonl", "index-0.faiss", "lists-0.ivfdata"]
    moved.remove(moved.ids[:3])
    assert not set(GALLERY.ids[:3]) & {item for row in lists_of(moved, GALLERY.take(np.arange(3)), 5) for item in row}
    with pytest.raises(ConfigError, match="its lists stay on disk"):
        moved.add(embeddings(clustered_vectors(3, 9), "new"))
    with pytest.raises(ConfigError, match="cannot be saved elsewhere"):
        moved.save(tmp_path / "other")


def test_building_on_disk_again_leaves_one_whole_index(tmp_path: Path) -> None:
    build_on_disk(IvfFlatIndex(lists=4), shards, tmp_path)
    build_on_disk(IvfFlatIndex(lists=8), shards, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["header.json", "ids-1.jsonl", "index-1.faiss", "lists-1.ivfdata"]
    assert open_index(tmp_path).recipe == {"lists": 8}


def test_damaged_lists_are_refused(tmp_path: Path) -> None:
    build_on_disk(IvfFlatIndex(lists=4), shards, tmp_path)
    path = tmp_path / "lists-0.ivfdata"
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:1000], b"", whole[:5000] + b"x" + whole[5001:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"lists-0\.ivfdata"):
            open_index(tmp_path)


def test_what_cannot_stay_on_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has more than inverted lists"):
        build_on_disk(IvfPqIndex(lists=4, code_bytes=8), shards, tmp_path)
    with pytest.raises(DataError, match="the shards hold no vectors"):
        FlatIndex().build_from_shards(lambda: iter(()))


def test_the_sample_is_even_over_all_shards() -> None:
    counts = np.zeros(1200)
    place = {row.tobytes(): i for i, row in enumerate(GALLERY.matrix)}
    for seed in range(60):
        drawn, seen = sample_of(shards, 200, seed)
        assert (seen, drawn.shape) == (1200, (200, 32))
        rows = [place[row.tobytes()] for row in drawn]
        assert len(set(rows)) == 200
        counts[rows] += 1
    assert abs(counts[:500].mean() - 10) < 0.6
    assert abs(counts[501:].mean() - 10) < 0.6
    assert len(sample_of(shards, 5000)[0]) == 1200
