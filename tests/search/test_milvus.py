"""The Milvus index on milvus-lite, and what it says when there is no Milvus. Skipped where pymilvus is not installed."""

import importlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.interfaces import Embeddings, Index
from picdesk.search import milvus_client
from picdesk.search.fingerprints import fingerprint_of
from picdesk.search.indexes import FlatIndex
from picdesk.search.milvus import MilvusIndex
from picdesk.search.milvus_client import Collection
from tests.search.vectors import brute_force, clustered_vectors, embeddings, overlap

GALLERY = embeddings(clustered_vectors(900, seed=1), "item")
QUERIES = embeddings(clustered_vectors(40, seed=2), "query")


def lists_of(index: MilvusIndex, queries: Embeddings, top_k: int) -> list[list[str]]:
    run = index.search(queries, top_k)
    return [[run.item_ids[i] for i in row if i >= 0] for row in run.index]


def test_without_pymilvus_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", none)
    with pytest.raises(ConfigError, match=r"install picdesk\[milvus\] \(No module named 'pymilvus'\)"):
        MilvusIndex(str(tmp_path / "m.db"))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (extra: milvus)")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (extra: milvus)")
    return str(tmp_path / "deep" / "m.db")


def test_flat_in_milvus_gives_the_ids_of_exact_search(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index: Index = MilvusIndex(uri)
    index.build(GALLERY)
    run = index.search(QUERIES, 10)
    assert run.gallery_size == 900
    assert run.item_ids == GALLERY.ids
    assert [[run.item_ids[i] for i in row] for row in run.index] == brute_force(QUERIES, GALLERY, 10)
    exact = FlatIndex()
    exact.build(GALLERY)
    assert index.fingerprint == exact.fingerprint
    np.testing.assert_allclose(run.scores, exact.search(QUERIES, 10).scores, atol=1e-6)
    same = tuple(f"same{i:02}" for i in reversed(range(60)))
    index.add(Embeddings(same, np.repeat(QUERIES.matrix[:1], 60, axis=0)))
    asked, plain = [], Collection.search

    def count(self: Collection, queries: NDArray[np.float32], limit: int, *given: Any) -> list[list[tuple[str, float]]]:
        asked.append((len(queries), limit))
        return plain(self, queries, limit, *given)

    monkeypatch.setattr(Collection, "search", count)
    assert lists_of(index, QUERIES, 5)[0] == sorted(same)[:5], "equal vectors by id, where a list ends too"
    assert [limit for _, limit in asked] == [21, 42, 84]
    assert asked[0][0] == 40 > 20 > asked[1][0] >= asked[2][0], "and others are not asked for again"


@pytest.mark.slow
def test_ten_thousand_vectors_exact_and_approximate(uri: str) -> None:
    gallery, queries = (
        embeddings(clustered_vectors(10_000, 3, dim=64), "item"),
        embeddings(clustered_vectors(100, 4, dim=64), "query"),
    )
    wanted = brute_force(queries, gallery, 10)
    flat = MilvusIndex(uri)
    flat.build(gallery)
    assert lists_of(flat, queries, 10) == wanted
    params = {"M": 16, "efConstruction": 200}
    hnsw = MilvusIndex(uri, "graph", kind="HNSW", params=params, search_params={"ef": 100})
    hnsw.build(gallery)
    assert overlap(lists_of(hnsw, queries, 10), wanted) >= 0.95


def test_a_stopped_build_goes_on_where_it_ended(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, sizes = Collection.insert, []

    def insert(self: Collection, ids: tuple[str, ...], vectors: np.ndarray) -> None:
        if len(sizes) == 3:
            raise KeyboardInterrupt
        sizes.append(len(ids))
        whole(self, ids, vectors)

    monkeypatch.setattr(Collection, "insert", insert)
    first = MilvusIndex(uri, "one", batch=200)
    with pytest.raises(KeyboardInterrupt):
        first.build(GALLERY)
    first.close()
    with pytest.raises(DataError, match="state is 'filling' there, 'whole' here"):
        MilvusIndex(uri, "one").load("unused")
    sizes.clear()
    second = MilvusIndex(uri, "one", batch=200)
    second.build(GALLERY)
    assert sizes == [200, 100]
    assert lists_of(second, QUERIES, 5) == brute_force(QUERIES, GALLERY, 5)
    sizes.clear()
    second.build(GALLERY)
    assert sizes == []


def test_another_gallery_under_the_same_name_is_refused(uri: str) -> None:
    MilvusIndex(uri, "one").build(GALLERY)
    other = GALLERY.take(np.arange(100))
    with pytest.raises(
        DataError, match=r"holds another index: fingerprint is '.*name another one or set index\.replace"
    ):
        MilvusIndex(uri, "one").build(other)
    with pytest.raises(DataError, match="kind is 'FLAT' there, 'HNSW' here"):
        MilvusIndex(uri, "one", kind="HNSW").build(GALLERY)
    replaced = MilvusIndex(uri, "one", replace=True)
    replaced.build(other)
    assert lists_of(replaced, other, 1) == [[item] for item in other.ids]
    MilvusIndex(uri).build(GALLERY)
    MilvusIndex(uri).build(other)


def test_saved_facts_are_compared_key_by_key(uri: str, tmp_path: Path) -> None:
    made_from = {"backbone": "abc", "prompt": "caption", "precision": "fp32"}
    index = MilvusIndex(uri)
    index.build(GALLERY)
    made = index._collection.client.describe_index(index._collection.name, "vector")
    assert (made["index_type"], made["metric_type"]) == ("FLAT", "IP")
    index.save(tmp_path, made_from)
    index.close()
    again = MilvusIndex(uri)
    again.load(tmp_path, {**made_from, "fingerprint": fingerprint_of(GALLERY), "dim": 32, "count": 900})
    run = again.search(QUERIES, 3)
    assert set(run.item_ids) < set(GALLERY.ids)
    assert run.gallery_size == 900
    assert lists_of(again, QUERIES, 3) == brute_force(QUERIES, GALLERY, 3)
    assert set(again.ids) == set(GALLERY.ids)
    for key, value in (("backbone", "def"), ("precision", "bf16"), ("dim", 64), ("metric", "l2"), ("count", 901)):
        with pytest.raises(DataError, match=f"does not fit: {key} is .* there, {value!r} here"):
            MilvusIndex(uri).load(tmp_path, {**made_from, key: value})
    with pytest.raises(MissingFileError, match=r"milvus\.json: no such file"):
        MilvusIndex(uri).load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="there is no collection 'nobody'"):
        MilvusIndex(uri, "nobody").load(tmp_path)


def test_items_come_and_go_and_are_seen_at_once(uri: str) -> None:
    first, later = GALLERY.take(np.arange(600)), GALLERY.take(np.arange(600, 900))
    index = MilvusIndex(uri)
    index.build(first)
    before = index.fingerprint
    index.add(later)
    assert lists_of(index, later, 1) == [[item] for item in later.ids]
    index.remove(first.ids[:50])
    assert lists_of(index, QUERIES, 20) == brute_force(QUERIES, GALLERY.take(np.arange(50, 900)), 20)
    assert index.fingerprint != before
    assert index.search(QUERIES, 1).gallery_size == 850
    with pytest.raises(DataError, match="ids to add are there already, for example 'item"):
        index.add(GALLERY.take(np.array([600])))
    with pytest.raises(DataError, match="1 ids to remove are not there, for example 'nobody'"):
        index.remove(["nobody"])
    with pytest.raises(DataError, match="dimension 8 for an index of 32"):
        index.add(embeddings(clustered_vectors(3, 1, dim=8), "new"))


def test_what_others_put_in_meanwhile_is_not_found_until_it_is_opened_again(uri: str, tmp_path: Path) -> None:
    gallery, queries = GALLERY.take(np.arange(200)), QUERIES.take(np.arange(10))
    writer, reader = MilvusIndex(uri), MilvusIndex(uri)
    writer.build(gallery)
    writer.save(tmp_path)
    reader.load(tmp_path)
    assert len(reader.ids) == 200
    writer.add(Embeddings(tuple(f"new{i}" for i in range(40)), QUERIES.matrix))  # each query's nearest
    assert lists_of(reader, queries, 10) == brute_force(queries, gallery, 10)
    assert [len(found) for found in lists_of(reader, queries, 200)] == [200] * 10
    writer.remove(gallery.ids[:190])
    assert {item for found in lists_of(reader, queries, 20) for item in found} == set(gallery.ids[190:])
    reader.load(tmp_path)
    assert [found[0] for found in lists_of(reader, queries, 5)] == [f"new{i}" for i in range(10)]


@pytest.mark.parametrize("name", ["o'brien.jpg", 'zoo "hi".jpg', "z\\b.jpg", 'it\'s "so"', "two\nlines", "a\x1f\rb"])
def test_an_id_is_what_it_is_whatever_signs_are_in_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(milvus_client, "PAGE", 3)
    index = MilvusIndex(uri)
    index.build(GALLERY.take(np.arange(20)))
    index.add(Embeddings((name,), QUERIES.matrix[:1]))
    with pytest.raises(DataError, match="are there already"):
        index.add(Embeddings((name,), QUERIES.matrix[:1]))
    assert lists_of(index, QUERIES, 1)[0] == [name]
    index.save(tmp_path)
    again = MilvusIndex(uri)
    again.load(tmp_path)
    assert sorted(again.ids) == sorted(index.ids)
    index.remove([name])
    assert name not in index.ids
    assert lists_of(index, QUERIES, 1)[0] != [name]


def test_someone_elses_collection_is_left_alone(uri: str) -> None:
    index = MilvusIndex(uri, "theirs")
    index._collection.client.create_collection("theirs", dimension=32)
    with pytest.raises(DataError, match="'theirs' was not made by picdesk"):
        index.build(GALLERY)


def test_mistakes_are_told_in_one_line(uri: str) -> None:
    index = MilvusIndex(uri)
    with pytest.raises(DataError, match="nothing is in the index"):
        index.search(QUERIES, 1)
    with pytest.raises(DataError, match="1 ids are empty or above 1024 bytes"):
        index.build(Embeddings(("x" * 2000,), clustered_vectors(1, 1)))
    index.build(GALLERY)
    with pytest.raises(ConfigError, match="top_k=20000"):
        index.search(QUERIES, 20000)
    with pytest.raises(DataError, match="queries of dimension 8, gallery of 32"):
        index.search(embeddings(clustered_vectors(3, 1, dim=8), "query"), 1)
    index._collection.client.drop_collection(index._collection.name)
    with pytest.raises(ConfigError, match="Milvus says: "):
        index.search(QUERIES, 1)


def test_a_server_that_is_away_is_one_line(uri: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=f"index.uri=http://127.0.0.1:{port}: no Milvus answers there") as caught:
        MilvusIndex(f"http://127.0.0.1:{port}", timeout=2)
    assert "\n" not in str(caught.value)


def test_a_wrong_token_is_one_line(uri: str) -> None:
    grpc = importlib.import_module("grpc")

    class Refuse(grpc.GenericRpcHandler):  # type: ignore[misc,name-defined]
        def service(self, details: object) -> object:
            def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:  # type: ignore[name-defined]
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")
                return b""

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(2), handlers=(Refuse(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(ConfigError, match="Milvus refuses us; is MILVUS_TOKEN right") as caught:
            MilvusIndex(f"http://127.0.0.1:{port}", token="root:wrong", timeout=3).build(GALLERY)
        assert "\n" not in str(caught.value)
    finally:
        server.stop(0)
