"""Index folders: every damage refused in one line, no crash, and never the wrong index."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import DataError, MissingFileError, UserError
from picdesk.files import digest_of, file_digest
from picdesk.interfaces import Embeddings
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.open_saved import made_from, open_index, write_note
from picdesk.search.quantised import IvfPqIndex
from tests.search.vectors import clustered_vectors, embeddings, lists_of

MADE_FROM = {"backbone": "abc", "prompt": "caption", "precision": "fp32"}
KINDS: dict[str, Callable[[], FaissIndex]] = {
    "flat": FlatIndex,
    "hnsw": HnswIndex,
    "ivf_flat": lambda: IvfFlatIndex(lists=4),
    "ivf_pq": lambda: IvfPqIndex(lists=4, code_bytes=8, rotate=True),
}


@pytest.fixture(scope="module")
def gallery() -> Embeddings:
    return embeddings(clustered_vectors(400, seed=1), "item")


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, gallery: Embeddings) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    index = KINDS[request.param]()
    index.build(gallery)
    index.save(folder, MADE_FROM)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "index"))


def refuse(folder: Path, said: str = ".") -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_index(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["index-0.faiss", "ids-0.jsonl", "header.json"])
def test_flipped_bits_are_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    places = {0, 4, 8, 16, 33, len(whole) - 1, *rng.integers(0, len(whole), 60).tolist()}
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        (folder / name).write_bytes(broken)
        refuse(folder)
    (folder / name).write_bytes(whole)
    open_index(folder)


@pytest.mark.parametrize("name", ["index-0.faiss", "ids-0.jsonl", "header.json"])
def test_cut_lengthened_foreign_and_missing_files_are_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for content in (b"", whole[:1], whole[: len(whole) // 2], whole[:-2], whole + b"\0", pointer, whole[::-1]):
        (folder / name).write_bytes(content)
        refuse(folder)
    (folder / name).unlink()
    with pytest.raises(MissingFileError):
        open_index(folder)
    (folder / name).mkdir()
    with pytest.raises(MissingFileError):
        open_index(folder)


def change(folder: Path, edit: Callable[[dict], object]) -> None:
    """Rewrite the header and make its checksum right again, as somebody might by hand."""
    header = json.loads((folder / "header.json").read_text())
    edit(header)
    header.pop("checksum", None)
    (folder / "header.json").write_text(json.dumps(header | {"checksum": digest_of(header)}))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda h: h.update(dim=31), "dim is 32, the header says 31"),
        (lambda h: h.update(count=399), "count is 400, the header says 399"),
        (lambda h: h.update(places=7), "places is 400, the header says 7"),
        (lambda h: h.update(metric="l2"), "metric is 'inner_product', the header says 'l2'"),
        (lambda h: h.update(format="picdesk-index-0"), "format is 'picdesk-index-0'"),
        (lambda h: h.pop("recipe"), "keys differ from those of an index: .'recipe'."),
        (lambda h: h.update(more=1), "keys differ from those of an index: .'more'."),
        (lambda h: h["files"].pop("ids"), "keys differ"),
        (lambda h: h["files"]["index"].update(name="../index-0.faiss"), "names a file outside it"),
        (lambda h: h["files"]["index"].update(bytes=5), "5 were written"),
        (lambda h: h["files"]["index"].update(sha256="0" * 64), "its checksum differs"),
        (lambda h: h["files"]["index"].pop("sha256"), "its checksum differs"),
        (lambda h: h["files"].update(index="index-0.faiss"), "a header needs tables"),
        (lambda h: h.update(recipe=[]), "a header needs tables"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(folder: Path, edit: Callable[[dict], object], said: str) -> None:
    change(folder, edit)
    refuse(folder, said)


def test_ids_of_another_index_are_refused(folder: Path) -> None:
    path = folder / "ids-0.jsonl"
    lines = path.read_text().splitlines()
    for text, said in (
        ("\n".join(lines[:-1]), "count is 399"),
        ("\n".join([*lines[:-1], "7"]), "not an id"),
        ("\n".join([*lines[:-1], lines[0]]), "stand more than once"),
        ("\n".join([*lines[:-1], "{"]), "not a list of ids"),
    ):
        path.write_text(text)
        facts = {"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}
        change(folder, lambda header, facts=facts: header["files"].update(ids=facts))  # type: ignore[misc]
        refuse(folder, said)


@pytest.mark.parametrize(
    ("key", "value"),
    [("backbone", "def"), ("prompt", "title"), ("precision", "bf16"), ("dim", 64), ("count", 401),
     ("metric", "l2"), ("fingerprint", "0" * 64), ("split", "test")],
)  # fmt: skip
def test_each_key_that_differs_is_named(folder: Path, key: str, value: object) -> None:
    with pytest.raises(DataError, match=f"does not fit: {key} is .* there, {value!r} here; build the index again"):
        open_index(folder, {**MADE_FROM, key: value})
    open_index(folder, MADE_FROM)


def test_all_keys_that_differ_are_named_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match="backbone is 'abc' there, 'def' here; prompt is 'caption' there, 'title' here"):
        open_index(folder, {"backbone": "def", "prompt": "title", "precision": "fp32"})


def test_another_kind_or_recipe_is_refused(tmp_path: Path, gallery: Embeddings) -> None:
    index = HnswIndex(m=16)
    index.build(gallery)
    index.save(tmp_path)
    with pytest.raises(DataError, match="kind is 'hnsw' there, 'flat' here"):
        FlatIndex().load(tmp_path)
    with pytest.raises(DataError, match="m is 16 there, 32 here"):
        HnswIndex(m=32).load(tmp_path)
    HnswIndex(m=16, ef_search=7).load(tmp_path)


def test_saving_again_leaves_one_whole_index(folder: Path) -> None:
    first = open_index(folder)
    first.remove([first.ids[0]])
    first.save(folder, MADE_FROM)
    assert sorted(path.name for path in folder.iterdir()) == ["header.json", "ids-1.jsonl", "index-1.faiss"]
    assert open_index(folder).ids == first.ids
    first.save(folder, MADE_FROM)
    assert len(list(folder.iterdir())) == 3
    assert len(open_index(folder).ids) == 399


def test_a_stopped_save_leaves_the_old_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(folder)
    before = lists_of(index, embeddings(clustered_vectors(20, 3), "query"), 5)
    index.remove([index.ids[0]])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("picdesk.search.index_files.write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        index.save(folder, MADE_FROM)
    assert lists_of(open_index(folder), embeddings(clustered_vectors(20, 3), "query"), 5) == before


def test_a_folder_that_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no header\.json there"):
        open_index(tmp_path / "nowhere")
    for text in ("[]", "{}", "null", "3", "{", "\ufeff{}"):
        (tmp_path / "header.json").write_text(text)
        with pytest.raises(DataError, match="not the header of an index"):
            open_index(tmp_path)


def test_odd_ids_come_back_as_they_were(tmp_path: Path) -> None:
    odd = ("a\nb", "ü", "", '"quoted"', "\u2028", "null", "x" * 5000)
    index = FlatIndex()
    index.build(Embeddings(odd, clustered_vectors(len(odd), 1)))
    index.save(tmp_path)
    assert open_index(tmp_path).ids == odd


@pytest.mark.slow
def test_a_killed_save_leaves_a_whole_index(tmp_path: Path) -> None:
    """The process is killed at a random moment while it saves again and again; the folder must hold one whole index."""
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.search.vectors import clustered_vectors, embeddings\n"
        "from picdesk.search.indexes import FlatIndex\n"
        "made = [FlatIndex(), FlatIndex()]\n"
        "for index, count in zip(made, (3000, 5000)): index.build(embeddings(clustered_vectors(count, 1, dim=128), 'item'))\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for index in made: index.save(sys.argv[1])\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + 0.3 * float(rng.random()))
        child.kill()
        child.communicate()
        assert len(open_index(tmp_path).ids) in (3000, 5000)


def test_a_collection_kept_where_an_index_lay_is_not_taken_for_that_index(tmp_path: Path, gallery: Embeddings) -> None:
    index = FlatIndex()
    index.build(gallery)
    index.save(tmp_path, MADE_FROM)
    write_note(tmp_path, {"uri": "x.db", "collection": "c", "made_from": {"backbone": "other"}})
    assert made_from(tmp_path) == {"backbone": "other"}
    assert [path.name for path in tmp_path.iterdir()] == ["milvus.json"]
