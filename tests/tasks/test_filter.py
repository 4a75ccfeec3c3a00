"""`filter=` at the doors and from Python: over a data set, in every kind of saved index, in an evaluation."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import picdesk
from picdesk.errors import ConfigError
from picdesk.filters.kept import place_of
from picdesk.search.open_saved import made_from
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]
TINY = "backbone._target_=tests.tiny.Tiny"
FILTER = "filter=date > 2021-01-01 and credit = 'O''Neill, Reuters'"
KEPT = {f"photo{i:02}.jpg" for i in range(24) if i % 12 > 0 and i % 3 == 0}


def photographs(folder: Path, first: int = 0, count: int = 24) -> tuple[str, ...]:
    """Photographs with a day of January (1 to 12) and one of three credits each."""
    folder.mkdir()
    agencies = ("O'Neill, Reuters", "dpa", "")
    lines = ["image,caption,credit,date"]
    for i in range(first, first + count):
        Image.new("RGB", (16, 12), ((10 * i) % 256, (255 - 7 * i) % 256, 60)).save(folder / f"photo{i:02}.jpg")
        lines.append(f'photo{i:02}.jpg,colour number {i},"{agencies[i % 3]}",2021-01-{i % 12 + 1:02}')
    (folder / "captions.csv").write_text("\n".join([*lines, ""]))
    more = ("data.more_columns.credit=credit", "data.more_columns.date=date")
    return ("data=csv", f"data.root={folder}", "data.file=captions.csv", *more, TINY, "split=all")


def retrieve(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    return run(
        capfd, folder / "out", "retrieve", "top_k=24", "run_depth=24", f"paths.store={folder / 'store'}", *overrides
    )


def found_ids(ran: Ran) -> list[set[str]]:
    assert ran.status == 0, ran.err + ran.out
    return [{item["id"] for item in row["results"]} for row in json.loads(ran.file("results.json"))]


@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf_flat", "auto", "lancedb"])
def test_over_a_data_set_and_over_a_saved_index(capfd: Capture, tmp_path: Path, index: str) -> None:
    if index == "lancedb":
        pytest.importorskip("lancedb", reason="lancedb is not installed (extra: lancedb)")
    own = (*photographs(tmp_path / "photos"), f"index={index}")
    (tmp_path / "asked.txt").write_text("a colour\nred, and blue\n")
    asked = f"queries={tmp_path / 'asked.txt'}"
    made = retrieve(capfd, tmp_path, asked, *own, FILTER, f"save_index={tmp_path / 'index'}")
    assert found_ids(made) == [KEPT, KEPT]
    assert "filter=date > 2021-01-01 and credit = 'O''Neill, Reuters': 6 of 24 items" in made.out + made.err
    assert "O&#39;&#39;Neill" in made.file("index.html").decode()
    shutil.rmtree(tmp_path / "photos")  # the saved index has its columns with it
    again = retrieve(capfd, tmp_path, asked, f"index_dir={tmp_path / 'index'}", FILTER)
    assert found_ids(again) == [KEPT, KEPT]
    assert (
        found_ids(retrieve(capfd, tmp_path, asked, f"index_dir={tmp_path / 'index'}"))
        == [{f"photo{i:02}.jpg" for i in range(24)}] * 2
    )
    nobody = (f"index_dir={tmp_path / 'index'}", "filter=credit = 'nobody'", "min_score=0.1")
    nothing = retrieve(capfd, tmp_path, asked, *nobody)
    assert found_ids(nothing) == [set(), set()]
    assert "0 of 24 items" in nothing.out + nothing.err
    assert "min_score" not in nothing.out + nothing.err  # there is no best that would score too little


def test_words_and_vectors_together(capfd: Capture, tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="lancedb is not installed (extra: lancedb)")
    own = (*photographs(tmp_path / "photos"), "index=lancedb", "index.words=[credit]")
    rerank = ("reranker=lexical", "reranker.fields=[credit]", "reranker.weight=1", "top_k=3", "run_depth=10")
    asked, saved = "query=by O'Neill for Reuters", f"{tmp_path / 'index'}"
    made = retrieve(capfd, tmp_path, asked, *own, *rerank, f"save_index={saved}")
    by_credit = {f"photo{i:02}.jpg" for i in range(0, 24, 3)}
    near = found_ids(retrieve(capfd, tmp_path, asked, *own[:-2], "index=lancedb", "top_k=3", "run_depth=10"))[0]
    assert (found_ids(made)[0] - near) & by_credit, "one that words find and vectors do not"
    assert found_ids(retrieve(capfd, tmp_path, asked, f"index_dir={saved}", *rerank)) == found_ids(made)
    scored = run(
        capfd, tmp_path / "out", "evaluate", *own[:-1], "index.words=[caption]", f"paths.store={tmp_path / 'store'}"
    )
    one_line(scored, "index.words=caption: the queries that are scored are made of it")
    fine = run(capfd, tmp_path / "out", "evaluate", *own, "part=all", f"paths.store={tmp_path / 'store'}")
    assert fine.status == 0, fine.err


@pytest.mark.parametrize("index", ["flat", "lancedb"])
def test_items_come_and_go_with_their_columns(capfd: Capture, tmp_path: Path, index: str) -> None:
    if index == "lancedb":
        pytest.importorskip("lancedb", reason="lancedb is not installed (extra: lancedb)")
    own, saved = (*photographs(tmp_path / "photos"), f"index={index}"), f"index_dir={tmp_path / 'index'}"
    assert retrieve(capfd, tmp_path, "task=index_build", *own, saved).status == 0
    more = photographs(tmp_path / "more", 24, 12)
    assert retrieve(capfd, tmp_path, "task=index_add", *more[:-2], saved).status == 0
    ask = ("query=a colour", saved, "top_k=40", "run_depth=40", FILTER)
    both = KEPT | {"photo27.jpg", "photo30.jpg", "photo33.jpg"}
    assert found_ids(retrieve(capfd, tmp_path, *ask)) == [both]
    assert retrieve(capfd, tmp_path, "task=index_remove", saved, "ids=[photo27.jpg,photo03.jpg]").status == 0
    assert found_ids(retrieve(capfd, tmp_path, *ask)) == [both - {"photo27.jpg", "photo03.jpg"}]
    facts = made_from(tmp_path / "index")
    kept = place_of(tmp_path / "index", facts["columns"])
    assert [path.name for path in (tmp_path / "index").glob("columns-*")] == [kept.name]
    kept.write_bytes(kept.read_bytes()[:-1])
    if index == "flat":  # the table has its columns itself
        one_line(retrieve(capfd, tmp_path, *ask), kept.name, "checksum", "build the index again")


def test_texts_are_filtered_by_what_is_said_of_them(capfd: Capture, tmp_path: Path) -> None:
    own = photographs(tmp_path / "photos")
    image = f"image={tmp_path / 'photos' / 'photo05.jpg'}"
    assert found_ids(retrieve(capfd, tmp_path, image, *own, FILTER)) == [{f"{name}#0" for name in KEPT}]


def test_an_evaluation_is_of_the_pictures_that_fulfil_it(capfd: Capture, tmp_path: Path) -> None:
    own = (*photographs(tmp_path / "photos"), "bootstrap.resamples=50", f"paths.store={tmp_path / 'store'}")
    ran = run(capfd, tmp_path / "out", "evaluate", *own, FILTER)
    assert ran.status == 0, ran.err
    listed = {line.split()[2] for line in ran.file("run.trec").decode().splitlines() if line.startswith("t2i")}
    assert listed == KEPT
    whole = run(capfd, tmp_path / "out", "evaluate", *own)
    assert json.loads(ran.file("metrics.json"))["t2i"] != json.loads(whole.file("metrics.json"))["t2i"]
    none = run(capfd, tmp_path / "out", "evaluate", *own, "filter=credit='nobody'")
    one_line(none, "filter=credit='nobody'", "none of the 24 pictures")


def test_mistakes_are_one_line(capfd: Capture, tmp_path: Path) -> None:
    own = photographs(tmp_path / "photos")
    wrong = retrieve(capfd, tmp_path, "query=x", *own, "filter=dat > 2021-01-01")
    one_line(wrong, "no column dat", "caption, credit, date, id", "did you mean date?")
    one_line(
        retrieve(capfd, tmp_path, "query=x", *own, "filter=date >"),
        "filter=date >",
        "a number, a date such as 2021-01-01",
    )
    one_line(retrieve(capfd, tmp_path, "query=x", *own, "filter=caption > 5"), "caption holds no numbers")
    trains = run(capfd, tmp_path / "out", "train", *own, "filter=date > 2021-01-01")
    one_line(trains, "task=train takes no filter")


def test_from_python(tmp_path: Path) -> None:
    own = photographs(tmp_path / "photos")
    outputs = (f"paths.outputs={tmp_path / 'out'}", f"paths.store={tmp_path / 'store'}", "plugins=[tests]")
    system = picdesk.load("lite", *own, *outputs)
    rows = system.search("a colour", k=24, filter="date > 2021-01-01 and credit contains 'reuters'")
    assert {row.id for row in rows} == KEPT
    assert {row.fields["credit"] for row in rows} == {"O'Neill, Reuters"}
    assert [len(rows) for rows in system.search_many(["a", "b"], filter="id = 'photo01.jpg'")] == [1, 1]
    with pytest.raises(ConfigError, match="no column price"):
        system.search("a colour", filter="price > 5")
    gallery = system.gallery("pictures")
    assert gallery.fulfilling("credit is empty").sum() == 8
    run = system.system.search(system.asks(["a colour"]), gallery, k=3, filter="credit = 'dpa'")
    assert {int(run.item_ids[i][5:7]) % 3 for i in run.index[0]} == {1}
