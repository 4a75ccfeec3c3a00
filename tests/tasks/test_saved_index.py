"""Saved indexes at the door: written by one job, searched by another without the embeddings, refused by key, changed in place."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from picdesk.files import LOCK
from picdesk.report.manifest import Manifest
from tests.commands.test_mistakes import one_line
from tests.conftest import PROJECT
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
QUERY = "query=red blue picture 7"


def retrieve(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    return run(capfd, folder / "out", "retrieve", "top_k=10", f"paths.store={folder / 'store'}", *overrides)


def over(folder: Path, pictures: int = 40, name: str = "data") -> tuple[str, ...]:
    data = write_data(folder / name, pictures)
    tiny = "backbone._target_=tests.tiny.Tiny"
    return ("data=parquet", f"data.root={data}", "data.caption_column=caption", "split=all", tiny)


def results(ran: Ran) -> list[dict[str, object]]:
    assert ran.status == 0, ran.err + ran.out
    found: list[dict[str, object]] = json.loads(ran.file("results.json"))
    return found


def pictures_as_files(folder: Path, pictures: int, first: int = 0) -> None:
    """Pictures of one colour as files named new<number>.png, without texts."""
    from PIL import Image

    folder.mkdir(parents=True)
    for i in range(first, first + pictures):
        Image.new("RGB", (12, 12), ((37 * i) % 256, (91 * i) % 256, (53 * i) % 256)).save(folder / f"new{i}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def saved(capfd: Capture, place: Path) -> Path:
    """An index of 40 pictures, saved once, for jobs that are refused."""
    if not (place / "index").exists():
        results(retrieve(capfd, place, QUERY, *over(place), f"save_index={place / 'index'}"))
    return place / "index"


@pytest.mark.parametrize("index", ["flat", "hnsw", "auto"])
def test_what_one_job_saves_another_searches(capfd: Capture, tmp_path: Path, index: str) -> None:
    made = retrieve(capfd, tmp_path, QUERY, *over(tmp_path), f"index={index}", f"save_index={tmp_path / 'index'}")
    shutil.rmtree(tmp_path / "store")  # there are no embeddings any more
    again = retrieve(capfd, tmp_path, QUERY, f"index_dir={tmp_path / 'index'}")
    assert results(again) == results(made)
    counts = Manifest.read(again.folder / "manifest.json").counts
    assert (counts["images_encoded"], counts["images_reused"], counts["texts_encoded"]) == (0, 0, 1)
    assert again.file("index.html").count(b"data:image/jpeg;base64") >= 5, "pictures are shown out of the data set"


def test_a_few_pictures_need_no_split(capfd: Capture, tmp_path: Path) -> None:
    """A folder too small to be split is searched, looked over and added whole; what is scored has to have a part."""
    pictures_as_files(tmp_path / "three", 3)
    pictures_as_files(tmp_path / "one", 1, first=3)
    tiny, index = "backbone._target_=tests.tiny.Tiny", tmp_path / "index"
    three = ("data=folder", f"data.root={tmp_path / 'three'}")
    assert len(results(retrieve(capfd, tmp_path, QUERY, *three, tiny, f"save_index={index}"))) == 1
    one = ("data=folder", f"data.root={tmp_path / 'one'}")
    added = retrieve(capfd, tmp_path, "task=index_add", f"index_dir={index}", *one)
    assert added.status == 0, added.err
    assert json.loads(next(tmp_path.rglob("index.json")).read_bytes())["count"] == 4
    checked = run(capfd, tmp_path / "out", "evaluate", "task=check", *three)
    assert checked.status == 0, checked.err
    found = json.loads(next(tmp_path.rglob("check.json")).read_bytes())
    assert "3 pictures are too few: val would be empty" in found["notes"][-1]
    one_line(run(capfd, tmp_path / "out", "evaluate", *three, tiny), "val would be empty", "split=all takes them all")


def test_without_the_data_set_items_are_shown_by_their_ids(capfd: Capture, tmp_path: Path) -> None:
    made = retrieve(capfd, tmp_path, QUERY, *over(tmp_path), f"save_index={tmp_path / 'index'}")
    shutil.rmtree(tmp_path / "data")
    again = retrieve(capfd, tmp_path, QUERY, f"index_dir={tmp_path / 'index'}")
    assert "shown by their ids alone" in again.out
    ids = [[(item["id"], item["score"]) for item in row["results"]] for row in results(made)]  # type: ignore[attr-defined]
    assert [[(item["id"], item["score"]) for item in row["results"]] for row in results(again)] == ids  # type: ignore[attr-defined]


def test_texts_are_searched_for_a_picture(capfd: Capture, tmp_path: Path) -> None:
    pictures_as_files(tmp_path / "asked", 1)
    image = f"image={tmp_path / 'asked' / 'new0.png'}"
    made = retrieve(capfd, tmp_path, image, *over(tmp_path), f"save_index={tmp_path / 'index'}")
    again = retrieve(capfd, tmp_path, image, f"index_dir={tmp_path / 'index'}")
    assert results(again) == results(made)
    one_line(
        retrieve(capfd, tmp_path, QUERY, f"index_dir={tmp_path / 'index'}"), "is an index of texts: it finds find=texts"
    )


REFUSED = {
    "another backbone": (("+backbone.trunk_seed=1",), ("image_trunk is",)),
    "other heads": (("backbone.seed=1",), ("heads is",)),
    "another dimension": (("backbone.dim=6",), ("dim is 512 there, 6 here",)),
    "another precision": (("encode.precision=bf16",), ("precision is 'fp32' there, 'bf16' here",)),
    "another prompt": (("prompt=template", "prompt.template='a photo of {caption}'"), ("prompt is 'caption' there",)),
    "another kind": (("index=hnsw",), ("kind is 'flat' there, 'hnsw' here",)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_by_its_key(capfd: Capture, tmp_path: Path, saved: Path, what: str) -> None:
    overrides, words = REFUSED[what]
    one_line(retrieve(capfd, tmp_path, QUERY, f"index_dir={saved}", *overrides), "does not fit", *words)


def test_another_count_is_refused_where_a_data_set_is_named(capfd: Capture, tmp_path: Path, saved: Path) -> None:
    fewer = over(tmp_path, 30, "fewer")
    one_line(retrieve(capfd, tmp_path, QUERY, f"index_dir={saved}", *fewer[:3]), "count: 10 of its 40")


@pytest.mark.parametrize("kind", [("index=flat",), ("index=ivf_flat", "index.lists=4"), ("index=hnsw",)])
def test_built_in_shards_is_built_at_once(
    capfd: Capture, tmp_path: Path, kind: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from picdesk.tasks import index_jobs

    data = over(tmp_path)
    made = retrieve(capfd, tmp_path, QUERY, *data, *kind, f"save_index={tmp_path / 'one'}")
    monkeypatch.setattr(index_jobs, "AT_ONCE", 7)
    built = retrieve(capfd, tmp_path, "task=index_build", *data, *kind, f"index_dir={tmp_path / 'two'}")
    assert built.status == 0, built.err
    assert "it holds 40 items now" in built.out
    one, two = (json.loads((tmp_path / name / "header.json").read_text()) for name in ("one", "two"))
    assert one["made_from"] == two["made_from"]
    again = retrieve(capfd, tmp_path, QUERY, f"index_dir={tmp_path / 'two'}")
    found: list[Any] = [results(answer)[0]["results"] for answer in (made, again)]
    assert [item["id"] for item in found[0]] == [item["id"] for item in found[1]]
    for item, other in zip(*found, strict=True):  # a product of 7 rows may round otherwise than one of 40
        assert item["score"] == pytest.approx(other["score"], abs=1e-6)


def test_lists_may_stay_on_disk(capfd: Capture, tmp_path: Path) -> None:
    data = over(tmp_path)
    made = retrieve(capfd, tmp_path, QUERY, *data)
    ivf = ("index=ivf_flat", "index.lists=4", "on_disk=true", f"index_dir={tmp_path / 'index'}")
    assert retrieve(capfd, tmp_path, "task=index_build", *data, *ivf).status == 0
    assert list((tmp_path / "index").glob("lists-*.ivfdata"))
    all_lists = (*ivf[:2], "index.probes=4", ivf[3])
    assert results(retrieve(capfd, tmp_path, QUERY, *all_lists)) == results(made)
    wrong = retrieve(capfd, tmp_path, "task=index_build", *data, "index=hnsw", *ivf[2:])
    one_line(wrong, "index=hnsw", "cannot stay on disk")


def test_items_come_and_go(capfd: Capture, tmp_path: Path) -> None:
    retrieve(capfd, tmp_path, QUERY, *over(tmp_path), f"save_index={tmp_path / 'index'}", "index=hnsw")
    saved = f"index_dir={tmp_path / 'index'}"
    pictures_as_files(tmp_path / "new", 5)
    own = ("data=folder", f"data.root={tmp_path / 'new'}")
    added = retrieve(capfd, tmp_path, "task=index_add", saved, *own)
    assert added.status == 0, added.err
    assert "it holds 45 items now" in added.out
    found = retrieve(capfd, tmp_path, QUERY, saved, "run_depth=45", "top_k=45")
    ids = [item["id"] for item in results(found)[0]["results"]]  # type: ignore[attr-defined]
    assert {"new0.png", "new4.png"} <= set(ids)
    assert len(ids) == 45
    one_line(retrieve(capfd, tmp_path, "task=index_add", saved, *own), "new0.png")
    gone = retrieve(capfd, tmp_path, "task=index_remove", saved, f"ids=[{ids[0]},{ids[1]}]")
    assert gone.status == 0, gone.err
    left = results(retrieve(capfd, tmp_path, QUERY, saved, "run_depth=45", "top_k=45"))[0]["results"]
    assert [item["id"] for item in left] == ids[2:]  # type: ignore[attr-defined]
    one_line(retrieve(capfd, tmp_path, "task=index_remove", saved, f"ids=[{ids[0]}]"), "1 ids to remove are not there")


def test_ids_to_remove_are_what_was_typed(capfd: Capture, tmp_path: Path, saved: Path) -> None:
    for typed, told in (("p01p02", "1 ids .*'p01p02'"), ("[1.10,1_000,true]", "3 ids .*'1.10', '1_000', 'true'")):
        ran = retrieve(capfd, tmp_path, "task=index_remove", f"index_dir={saved}", f"ids={typed}")
        one_line(ran, "to remove are not there")
        assert re.search(told, ran.err), ran.err


@pytest.mark.parametrize("task", ["index_add", "index_remove"])
def test_one_job_at_a_time_changes_an_index(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Another job waits from before the index is read until it is written: tried at the steps in between."""
    from picdesk.tasks import index_jobs

    made = retrieve(capfd, tmp_path, QUERY, *over(tmp_path), f"save_index={tmp_path / 'index'}")
    first = results(made)[0]["results"][0]["id"]  # type: ignore[index]
    tried: list[bool] = []

    def watched(name: str) -> None:
        whole = getattr(index_jobs, name)

        def step(*given: Any) -> Any:
            tried.append(is_free(tmp_path / "index"))
            return whole(*given)

        monkeypatch.setattr(index_jobs, name, step)

    watched("made_from")
    watched("Job")
    pictures_as_files(tmp_path / "new", 5)
    what = (f"ids=[{first}]",) if task == "index_remove" else ("data=folder", f"data.root={tmp_path / 'new'}")
    assert retrieve(capfd, tmp_path, f"task={task}", f"index_dir={tmp_path / 'index'}", *what).status == 0
    assert tried == [False, False]
    assert is_free(tmp_path / "index")


def is_free(folder: Path) -> bool:
    """Whether nobody changes the folder."""
    with (folder / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_damaged_index_is_one_line(capfd: Capture, tmp_path: Path) -> None:
    retrieve(capfd, tmp_path, QUERY, *over(tmp_path), f"save_index={tmp_path / 'index'}")
    (path,) = (tmp_path / "index").glob("index-*.faiss")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    one_line(
        retrieve(capfd, tmp_path, QUERY, f"index_dir={tmp_path / 'index'}"),
        path.name,
        "checksum",
        "build the index again",
    )


@pytest.mark.parametrize("index", [(), ("index=ivf_flat", "index.lists=4", "on_disk=true")])
def test_a_config_that_lost_its_end_is_damaged(capfd: Capture, tmp_path: Path, index: tuple[str, ...]) -> None:
    folder = tmp_path / "index"
    made = retrieve(capfd, tmp_path, "task=index_build", *over(tmp_path), *index, f"index_dir={folder}")
    assert made.status == 0
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text[: text.rstrip().rindex("\n") + 1])
    one_line(retrieve(capfd, tmp_path, QUERY, f"index_dir={folder}"), "config.yaml", "its last line is missing")


@pytest.mark.parametrize("key", ["index_dir", "save_index"])
def test_a_folder_that_holds_anything_else_stays_as_it_is(capfd: Capture, tmp_path: Path, key: str) -> None:
    ask = "task=index_build" if key == "index_dir" else QUERY
    files = {
        "columns-2024.parquet": "a",
        "ids-7.jsonl": "b",
        "index-old.faiss": "c",
        "header.json": "{}",
        "config.yaml": "d",
    }
    data = over(tmp_path)
    for number, name in enumerate(files):
        own = tmp_path / f"own{number}"
        own.mkdir()
        for other in files if number == 0 else [name]:
            (own / other).write_text(files[other])
        one_line(retrieve(capfd, tmp_path, ask, *data, f"{key}={own}"), f"{key}={own}", "nor a saved index")
        assert {path.name: path.read_text() for path in own.iterdir()} == (
            files if number == 0 else {name: files[name]}
        )


def test_what_somebody_puts_beside_an_index_stays(capfd: Capture, tmp_path: Path) -> None:
    folder, data = tmp_path / "index", over(tmp_path)
    assert retrieve(capfd, tmp_path, "task=index_build", *data, f"index_dir={folder}").status == 0
    for name in ("columns-2024.parquet", "ids-7.jsonl", "index-old.faiss", "notes.txt"):
        (folder / name).write_text("own")
    for kind in (("index=ivf_flat", "index.lists=4", "on_disk=true"), ("index=flat",)):
        assert retrieve(capfd, tmp_path, "task=index_build", *data, *kind, f"index_dir={folder}").status == 0
    own = {path.name for path in folder.iterdir() if path.is_file() and path.read_bytes() == b"own"}
    assert own == {"columns-2024.parquet", "ids-7.jsonl", "index-old.faiss", "notes.txt"}
    left = sorted(path.name.split("-")[0] for path in folder.iterdir() if path.name not in own)
    assert left == [".lock", "columns", "config.yaml", "header.json", "ids", "index"], (
        "one index, and nothing of former ones"
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("task=index_build",), ("index_dir must be given",)),
        (("task=index_drop",), ("task=index_drop", "index_add, index_build, index_remove")),
        (("task=search",), ("task=search", "index_build")),
        (("task=index_add",), ("index_dir must be given",)),
        (("task=index_build", "index_dir=x", "gallery=sounds"), ("gallery=sounds", "pictures, texts")),
        ((QUERY, "index_dir=/nowhere/index"), ("/nowhere/index", "no saved index")),
    ],
)
def test_mistakes_are_one_line(
    capfd: Capture, tmp_path: Path, overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    one_line(retrieve(capfd, tmp_path, *overrides), *words)


def test_removing_needs_ids_and_adding_needs_data(capfd: Capture, tmp_path: Path, saved: Path) -> None:
    one_line(retrieve(capfd, tmp_path, "task=index_remove", f"index_dir={saved}"), "ids must be given")
    one_line(retrieve(capfd, tmp_path, "task=index_add", f"index_dir={saved}"), "name what is to be added")


@pytest.mark.slow
def test_the_whole_path_in_milvus(tmp_path: Path) -> None:
    """Each job in a process of its own, as the file of milvus-lite belongs to one process at a time."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (extra: milvus)")
    data, saved = over(tmp_path)[:-1], f"index_dir={tmp_path / 'index'}"

    def job(*overrides: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
        places = (f"paths.outputs={tmp_path / 'out'}", f"paths.store={tmp_path / 'store'}", "logger=none", "top_k=10")
        done = subprocess.run(
            [sys.executable, "retrieve.py", *overrides, *places],
            cwd=PROJECT, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        files = sorted((tmp_path / "out").rglob("results.json"), key=lambda path: path.stat().st_mtime_ns)
        found = json.loads(files[-1].read_text()) if files else []
        return [item["id"] for row in found for item in row["results"]], done

    exact, _ = job(QUERY, *data)
    found, done = job(QUERY, *data, "index=milvus", f"index.uri={tmp_path / 'one.db'}")
    assert (found, done.returncode) == (exact, 0), done.stderr
    _, done = job("task=index_build", *data, "index=milvus", f"index.uri={tmp_path / 'm.db'}", saved)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "store")
    _, done = job(QUERY, saved)
    assert done.returncode == 2, "an address is never taken from a saved config"
    assert "index.uri must be given" in done.stderr
    saved_there = (saved, "index=milvus", f"index.uri={tmp_path / 'm.db'}")
    found, done = job(QUERY, *saved_there)
    assert (found, done.returncode) == (exact, 0), done.stderr
    _, done = job(QUERY, *saved_there, "backbone.seed=1")
    assert done.returncode == 2
    assert "does not fit: heads is" in done.stderr.splitlines()[-1]
    _, done = job("task=index_remove", *saved_there, f"ids=[{exact[0]}]")
    assert done.returncode == 0, done.stderr
    found, done = job(QUERY, *saved_there)
    assert found[:9] == exact[1:], done.stderr
