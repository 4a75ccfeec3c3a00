"""The LanceDB index: exact search's ids and fingerprints, filters asked by the database, what was damaged refused."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.filters.columns import Column, Columns
from picdesk.filters.language import parse_filter
from picdesk.interfaces import Embeddings, Index
from picdesk.retrieval.filtering import search_among
from picdesk.search.indexes import FlatIndex
from picdesk.search.lance.index import LanceIndex
from picdesk.search.lance.table import HINT, digests_in
from picdesk.search.open_saved import LANCE_NOTE, made_from, read_note, write_note
from picdesk.trec.runs import Run
from tests.filters.test_language import known_columns as some_known
from tests.filters.test_language import test_what_a_filter_keeps as by_hand
from tests.mutations import mutations
from tests.search.vectors import brute_force, clustered_vectors, embeddings, overlap

GALLERY = embeddings(clustered_vectors(900, seed=1), "item")
QUERIES = embeddings(clustered_vectors(40, seed=2), "query")
FILTERS = next(mark.args[1] for mark in by_hand.pytestmark)  # type: ignore[attr-defined]


def lists_of(run: Run) -> list[list[str]]:
    return [[run.item_ids[i] for i in row if i >= 0] for row in run.index]


def test_without_lancedb_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", none)
    with pytest.raises(ConfigError, match=r"install picdesk\[lancedb\] \(No module named 'lancedb'\)"):
        LanceIndex().build(GALLERY)


@pytest.fixture(autouse=True)
def _there(request: pytest.FixtureRequest) -> None:
    if "install" not in request.node.name:
        pytest.importorskip("lancedb", reason="lancedb is not installed (extra: lancedb)")


def test_it_gives_the_ids_and_the_fingerprints_of_exact_search(tmp_path: Path) -> None:
    index, exact = LanceIndex(), FlatIndex()
    assert isinstance(index, LanceIndex)
    both: tuple[Index, Index] = (index, exact)
    for one in both:
        one.build(GALLERY)
    assert lists_of(index.search(QUERIES, 10)) == brute_force(QUERIES, GALLERY, 10)
    np.testing.assert_allclose(index.search(QUERIES, 10).scores, exact.search(QUERIES, 10).scores, atol=2e-6)
    assert (index.ids, index.fingerprint) == (exact.ids, exact.fingerprint)
    for one in both:
        one.add(embeddings(clustered_vectors(20, seed=5), "more"))
        one.remove([GALLERY.ids[0], "more3"])
    assert (index.ids, index.fingerprint) == (exact.ids, exact.fingerprint)
    index.save(tmp_path, {"backbone": "b"})
    again = LanceIndex()
    again.load(tmp_path, {"backbone": "b", "dim": 32})
    for one in (index, again):
        assert lists_of(one.search(QUERIES, 10)) == lists_of(exact.search(QUERIES, 10))
    assert (set(again.ids), again.fingerprint) == (set(exact.ids), exact.fingerprint)
    assert made_from(tmp_path) == {"backbone": "b"}


def test_equal_pictures_are_ordered_by_id() -> None:
    same = embeddings(np.repeat(clustered_vectors(1, seed=5), 60, axis=0), "x")
    index = LanceIndex()
    index.build(Embeddings(same.ids[::-1], same.matrix))
    for top_k in (60, 5):
        assert lists_of(index.search(QUERIES, top_k)) == [sorted(same.ids)[:top_k]] * 40, "by id, where a list ends too"


@pytest.mark.parametrize(("wanted", "found"), FILTERS)
def test_the_database_keeps_what_our_own_reading_keeps(tmp_path: Path, wanted: str, found: str) -> None:
    index = LanceIndex()
    index.know(some_known())
    index.build(embeddings(clustered_vectors(5, seed=1), "p"))
    run = index.search_where(QUERIES.take(np.arange(1)), 5, parse_filter(wanted))
    assert "".join(sorted(item[1:] for item in lists_of(run)[0])) == found
    assert index.count_where(parse_filter(wanted)) == len(found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("n = 0", "01"), ("n = -0.0", "01"), ("n >= 0", "012"), ("n < 0", "3"), ("n in (0, 1)", "012")],
)
def test_minus_zero_is_zero(wanted: str, found: str) -> None:
    index = LanceIndex()
    known = columns(("p0", "p1", "p2", "p3"), n=["0", "-0.0", "1", "-1"])
    index.know(known)
    index.build(embeddings(clustered_vectors(4, seed=1), "p"))
    run = index.search_where(QUERIES.take(np.arange(1)), 4, parse_filter(wanted))
    assert "".join(sorted(item[1:] for item in lists_of(run)[0])) == found
    assert "".join(known.ids[i][1:] for i in np.flatnonzero(known.fulfilling(wanted))) == found


@pytest.mark.parametrize("wanted", ["price > 5", "credit > 5", "tags > 2021-01-01", "dat > 5"])
def test_it_refuses_what_our_own_reading_refuses(wanted: str) -> None:
    index = LanceIndex()
    index.know(some_known())
    index.build(embeddings(clustered_vectors(5, seed=1), "p"))
    with pytest.raises(ConfigError) as ours:
        some_known().fulfilling(wanted)
    with pytest.raises(ConfigError) as theirs:
        index.count_where(parse_filter(wanted))
    assert str(theirs.value).partition("; there are")[0] == str(ours.value).partition("; there are")[0].replace(
        ", ...", ""
    )


def columns(ids: tuple[str, ...], **said: list[str]) -> Columns:
    return Columns(ids, {name: Column.of(len(ids), enumerate(values)) for name, values in said.items()})


def test_items_come_with_their_columns_and_new_ones(tmp_path: Path) -> None:
    index = LanceIndex()
    index.know(columns(GALLERY.ids, year=[str(2000 + i % 20) for i in range(900)]))
    index.build(GALLERY)
    index.save(tmp_path)
    again = LanceIndex()
    again.load(tmp_path)
    more = embeddings(clustered_vectors(20, seed=5), "more")
    again.know(columns(more.ids, year=["2030"] * 20, credit=["O'Neill"] * 20))
    again.add(more)
    again.save(tmp_path)
    last = LanceIndex()
    last.load(tmp_path)
    assert [
        last.count_where(parse_filter(text)) for text in ("year > 2019", "credit = 'O''Neill'", "credit is empty")
    ] == [
        20,
        20,
        900,
    ]
    wanted = brute_force(QUERIES, GALLERY.take(np.flatnonzero(np.arange(900) % 20 == 7)), 10)
    assert lists_of(last.search_where(QUERIES, 10, parse_filter("year = 2007"))) == wanted
    admitted = np.array([item.startswith("more") for item in last.ids])
    assert lists_of(search_among(last, QUERIES, 10, admitted)) == brute_force(QUERIES, more, 10)


def test_approximate_kinds(tmp_path: Path) -> None:
    gallery = embeddings(clustered_vectors(3000, 3), "item")
    index = LanceIndex(kind="IVF_FLAT", params={"num_partitions": 16}, search_params={"nprobes": 16})
    index.build(gallery)
    assert overlap(lists_of(index.search(QUERIES, 10)), brute_force(QUERIES, gallery, 10)) == 1
    with pytest.raises(ConfigError, match=r"index\.kind=HNSW: choose one of FLAT"):
        LanceIndex(kind="HNSW")
    with pytest.raises(ConfigError, match=r"index\.search_params\.nprobe: choose one of nprobes"):
        LanceIndex(search_params={"nprobe": 3})
    with pytest.raises(ConfigError, match=r"index\.params: .*lists"):
        LanceIndex(kind="IVF_FLAT", params={"lists": 16}).build(gallery)


def test_what_does_not_fit_is_refused_by_its_key(tmp_path: Path) -> None:
    index = LanceIndex()
    with pytest.raises(DataError, match="nothing is in the index"):
        index.search(QUERIES, 10)
    index.build(GALLERY)
    index.save(tmp_path, {"backbone": "b"})
    with pytest.raises(DataError, match="backbone is 'b' there, 'c' here"):
        LanceIndex().load(tmp_path, {"backbone": "c"})
    with pytest.raises(DataError, match="kind is 'FLAT' there, 'IVF_FLAT' here"):
        LanceIndex(kind="IVF_FLAT").load(tmp_path)
    with pytest.raises(DataError, match="900 ids to add are there already"):
        index.add(GALLERY)
    with pytest.raises(DataError, match="1 ids to remove are not there"):
        index.remove(["nobody"])
    with pytest.raises(MissingFileError, match=r"lance\.json: no such file"):
        LanceIndex().load(tmp_path / "none")


def test_a_change_that_was_not_saved_is_no_part_of_the_index(tmp_path: Path) -> None:
    index = LanceIndex()
    index.build(GALLERY)
    index.save(tmp_path)
    index.add(embeddings(clustered_vectors(20, seed=5), "more"))  # and here the process ends
    again = LanceIndex()
    again.load(tmp_path)
    assert len(again.ids) == 900
    again.remove([GALLERY.ids[0]])
    again.save(tmp_path)
    last = LanceIndex()
    last.load(tmp_path)
    assert set(last.ids) == set(GALLERY.ids[1:])


def test_whatever_was_damaged_is_refused(tmp_path: Path) -> None:
    index = LanceIndex()
    index.know(columns(GALLERY.ids[:50], year=["2000"] * 50))
    index.build(GALLERY.take(np.arange(50)))
    index.save(tmp_path)
    files = [path for path in (tmp_path / "lance-0").rglob("*") if path.is_file() and path.name != HINT]
    assert len(files) >= 3
    count = 0
    for path in [tmp_path / LANCE_NOTE, *files]:
        content = path.read_bytes()
        for name, damaged in mutations(content, 25):
            if damaged == content.rstrip(b"\n"):
                continue
            path.write_bytes(damaged)
            with pytest.raises(DataError):
                LanceIndex().load(tmp_path)
            count += bool(name)
        path.unlink()
        with pytest.raises(MissingFileError):
            LanceIndex().load(tmp_path)
        path.write_bytes(content)
    assert count > 100
    wanted = lists_of(index.search(QUERIES, 10))
    [hint] = (tmp_path / "lance-0").rglob(HINT)
    for name, damaged in mutations(hint.read_bytes(), 25):  # it is under no checksum, and decides nothing
        hint.write_bytes(damaged)
        again = LanceIndex()
        again.load(tmp_path)
        assert lists_of(again.search(QUERIES, 10)) == wanted, name


def test_a_table_at_an_address_of_its_own(tmp_path: Path) -> None:
    index = LanceIndex(str(tmp_path / "db"), "mine")
    index.build(GALLERY)
    index.save(tmp_path / "index")
    assert not list((tmp_path / "index").glob("lance-*"))
    again = LanceIndex(str(tmp_path / "db"), "mine")
    again.load(tmp_path / "index")
    assert lists_of(again.search(QUERIES, 10)) == brute_force(QUERIES, GALLERY, 10)
    with pytest.raises(ConfigError, match=r"table 'mine' is there already; .* index\.replace=true"):
        LanceIndex(str(tmp_path / "db"), "mine").build(GALLERY)
    shutil.rmtree(tmp_path / "db")
    with pytest.raises(ConfigError, match="LanceDB says"):
        LanceIndex(str(tmp_path / "db"), "mine").load(tmp_path / "index")


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("how", ["absolute", "climbing", "link"])
def test_a_note_leads_to_no_table_elsewhere(tmp_path: Path, how: str, inside: bool) -> None:
    """Neither to one whose files it knows, nor to one whose address it names."""
    index = LanceIndex()
    index.build(GALLERY)
    index.save(tmp_path / "own")
    shutil.copytree(tmp_path / "own", tmp_path / "sent")
    shutil.rmtree(tmp_path / "sent" / "lance-0")
    own = tmp_path / "own" / "lance-0"
    names = {"absolute": str(own), "climbing": "../own/lance-0", "link": "lance-0"}
    if how == "link":
        (tmp_path / "sent" / "lance-0").symlink_to(own)
    note = read_note(tmp_path / "sent", LANCE_NOTE)
    write_note(tmp_path / "sent", note | {"uri": names[how]} | ({} if inside else {"files": {}}), LANCE_NOTE)
    with pytest.raises((ConfigError, DataError), match=r"lies elsewhere.*index\.uri=|no folder of a table inside it"):
        LanceIndex().load(tmp_path / "sent")


@pytest.mark.parametrize("odd", [{"files": None}, {"version": "1"}, {"dim": None}, {"columns": []}])
def test_a_note_that_says_something_else_is_refused(tmp_path: Path, odd: dict[str, object]) -> None:
    index = LanceIndex()
    index.build(GALLERY)
    index.save(tmp_path)
    write_note(tmp_path, read_note(tmp_path, LANCE_NOTE) | odd, LANCE_NOTE)
    with pytest.raises(DataError, match=f"{next(iter(odd))}: not what the note of an index says"):
        LanceIndex().load(tmp_path)


def test_a_table_that_brings_models_is_refused(tmp_path: Path) -> None:
    """LanceDB would load them, code of theirs allowed, when something is added."""
    index = LanceIndex()
    index.build(GALLERY)
    index.save(tmp_path)
    note = read_note(tmp_path, LANCE_NOTE)
    place = tmp_path / note["uri"]
    database = importlib.import_module("lancedb").connect(str(place))
    rows = database.open_table(note["collection"]).to_arrow()
    model = {"name": "sentence-transformers", "model": {"name": str(tmp_path)}}
    told = [{**model, "source_column": "id", "vector_column": "more"}]
    sent = rows.replace_schema_metadata({"embedding_functions": json.dumps(told)})
    made = database.create_table(note["collection"], sent, mode="overwrite")
    write_note(tmp_path, note | {"version": made.version, "files": digests_in(place)}, LANCE_NOTE)
    with pytest.raises(DataError, match="embedding functions of LanceDB"):
        LanceIndex().load(tmp_path)
