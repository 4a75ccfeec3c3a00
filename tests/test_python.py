"""What a notebook does: the same numbers as the doors, and the documented lines run."""

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import picdesk
from picdesk.assembly.opening import compose_config
from tests.conftest import PROJECT, borrow_features
from tests.doors import Ran

TINY = "tests.tiny.Tiny"


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.fixture
def latest(trained: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The shared training job as `latest`, whatever other tests have trained."""
    folder = tmp_path / "outputs" / "train" / "day" / "time"
    shutil.copytree(trained.folder, folder)
    monkeypatch.setenv("PICDESK_OUTPUTS", str(tmp_path / "outputs"))
    return replace(trained, folder=folder)


def numbers(job: Ran) -> dict[str, dict[str, float]]:
    content = json.loads(job.file("metrics.json"))
    return {direction: content[direction]["metrics"] for direction in ("t2i", "i2t")}


def test_a_system_reaches_the_numbers_of_its_job_to_the_digit(latest: Ran) -> None:
    system = picdesk.load("latest")
    scores = system.evaluate("test")
    assert scores.metrics == numbers(latest)
    assert picdesk.open_job(latest.folder).scores().metrics == numbers(latest)
    rows = system.search("a ship", k=5)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert list(rows.to_pandas().columns) == ["id", "score", "rank", "path", "title"]
    assert rows[0].title
    assert rows[0].score >= rows[4].score
    known = system.dataset.collection
    like = system.search(picture=known.pictures.read(3), k=1, find="pictures")
    assert like[0].id == known.picture_ids[3], "a picture is nearest to itself"
    mixed = system.search("a ship", picture=known.pictures.read(3), share=1.0, k=1, find="pictures")
    assert mixed[0].id == known.picture_ids[3], "a share of 1 is the picture alone"


@pytest.fixture
def encoded(latest: Ran, features: Path) -> Ran:
    """The same, with nothing to encode."""
    borrow_features(features, latest.folder.parents[2] / "store")
    return latest


def test_the_documented_lines_run(encoded: Ran, capfd: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}
    for block in blocks((PROJECT / "docs" / "python.md").read_text(encoding="utf-8")):
        exec(block, known)
    hits = numbers(encoded)["t2i"]["hits@1"]
    assert f"| hits@1 | {hits:.3f} [" in capfd.readouterr().out
    assert known["vectors"].shape[0] == 2


def test_the_lines_of_the_readme_and_the_notebook_run(encoded: Ran, capfd: pytest.CaptureFixture[str]) -> None:
    readme = blocks((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert len(readme) == 1
    notebook = json.loads((PROJECT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    for lines in ("\n".join(readme), "\n".join(cells)):
        exec(lines, {})
        assert f"| hits@1 | {numbers(encoded)['i2t']['hits@1']:.3f} [" in capfd.readouterr().out


def test_rerankers_have_the_names_by_which_they_are_chosen(encoded: Ran) -> None:
    system = picdesk.load("latest", "reranker=captions", "reranker.weight=0.2")
    kept = system.search("a ship", k=3)
    assert [row.score for row in system.search("a ship", k=3, weights={"captions": 0.2})] == [row.score for row in kept]
    assert [row.score for row in system.search("a ship", k=3, weights={"captions": 0.9})] != [row.score for row in kept]
    with pytest.raises(picdesk.ConfigError, match=r"reranker\.weight=x"):
        picdesk.load("latest", "reranker=captions", "reranker.weight=x")


def test_threads_may_ask_at_once(encoded: Ran) -> None:
    system = picdesk.load("latest")

    def ask(i: int) -> list[list[str]]:
        return [[row.id for row in system.search(f"quick {i} {j} fox", k=3)] for j in range(5)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert found == [ask(i) for i in range(4)]


LOST = "/nowhere/photo.jpg"
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    **{
        f"k={k!r}": (lambda s, k=k: s.search("a", k=k), f"k={k!r}: a whole number, 1 or more")
        for k in (0, -1, float("nan"), "3", 1.5, True, None)
    },
    "k of many": (lambda s: s.search_many(["a"], k=-5), "k=-5: a whole number"),
    "a number asks": (lambda s: s.search(5), "query=5: a text is needed"),
    "two texts ask": (lambda s: s.search(["a", "b"]), "query=['a', 'b']: a text is needed"),
    "half a character": (lambda s: s.search("\ud800"), "query='\\ud800': half a character"),
    "nothing asks": (lambda s: s.search(), "nothing is asked"),
    "no such picture": (lambda s: s.search(picture=LOST), f"picture={LOST}: no such file"),
    "a folder": (lambda s: s.search(picture="/tmp"), "picture='/tmp': cannot be read"),
    "an array": (
        lambda s: s.search(picture=np.zeros((3, 3, 3), "uint8")),
        "its content as bytes, or an image of Pillow",
    ),
    "a mode of no file": (
        lambda s: s.search(picture=Image.new("HSV", (3, 3))),
        "cannot be read (cannot write mode HSV",
    ),
    "a text file": (lambda s: s.search(picture=__file__), f"picture '{__file__}': not a picture"),
    "a filter of another kind": (lambda s: s.search("a", filter=5), "filter=5: a text is needed"),
    "weights of another kind": (lambda s: s.search("a", weights=[1]), "weights=[1]: a table is needed"),
    "no share": (lambda s: s.search("a", picture=LOST, share="x"), f"picture={LOST}"),
    "find of another kind": (lambda s: s.search("a", find=[]), "find=[]: choose one of pictures, texts"),
    "one text for many": (lambda s: s.search_many("abc"), "queries='abc': a list of texts is needed"),
    "one text to encode": (lambda s: s.encode_texts("abc"), "texts='abc': a list of texts is needed"),
    "one picture to encode": (lambda s: s.encode_images(LOST), f"pictures='{LOST}': a list of pictures is needed"),
    "bytes to encode": (lambda s: s.encode_images(b"abc"), "pictures=b'abc': a list of pictures is needed"),
    "no text among many": (lambda s: s.encode_texts(["a", 5]), "texts[1]=5: a text is needed"),
    "an unknown key": (lambda s: picdesk.load("latest", "foo=1"), "foo is not a config option"),
    "no override": (lambda s: picdesk.load("latest", "foo"), "'foo' is not KEY=VALUE"),
    "a value of another kind": (lambda s: picdesk.load("latest", "top_k=many"), "top_k=many: a whole number is wanted"),
    "a question": (
        lambda s: picdesk.load("latest", "filter=year > 2000"),
        "year > 2000: a system that is loaded is asked by",
    ),
    "an index beside": (
        lambda s: picdesk.load("latest", "index_dir=there"),
        "index_dir=there: a saved index is loaded by its",
    ),
    "data of another kind": (lambda s: picdesk.load("latest", data=5), "data=5: a picdesk.Dataset is needed"),
    "a job by a number": (lambda s: picdesk.open_job(5), "folder=5: the name of a file or a folder"),
    "a frame that is none": (
        lambda s: picdesk.Dataset.from_pandas(5, "/tmp"),
        "frame: wanted a pandas.DataFrame, found the number 5",
    ),
}


def test_mistakes_are_one_line(encoded: Ran) -> None:
    system = picdesk.load("latest")
    for what, (ask, told) in WRONG.items():
        with pytest.raises(picdesk.UserError) as caught:
            ask(system)
        assert told in str(caught.value), what
        assert "\n" not in str(caught.value), what
    assert len(system.search_many(text for text in ("a", "b"))) == 2, "whatever gives texts"
    assert len(system.search("a", k=np.int64(3))) == 3


MEASURED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "a text": (("abc", [0]), {}, "scores='abc': a matrix of numbers is needed"),
    "complex numbers": ((np.ones((2, 2)) * 1j, [0, 1]), {}, "real numbers are needed"),
    "rows of several lengths": (([[1, 2], [3]], [0, 1]), {}, "scores: no array of rows of one length"),
    "three sides": (((np.ones((2, 2)),) * 3, [0, 1]), {}, "3 sides of embeddings: a pair is needed"),
    "ids in one text": ((np.eye(2), [0, 1]), {"text_ids": "ab"}, "text_ids='ab': a list of ids is needed"),
    "no resamples": ((np.eye(2), [0, 1]), {"resamples": 0}, "resamples=0: a whole number, 1 or more"),
    "a level out of range": ((np.eye(2), [0, 1]), {"level": 2}, "level=2: a share"),
    "no seed": ((np.eye(2), [0, 1]), {"seed": -1}, "seed=-1: a whole number, 0 or more"),
    "cut-offs of another kind": ((np.eye(2), [0, 1]), {"ks": 5}, "measure.ks=5: a list of whole numbers"),
}


@pytest.mark.parametrize("what", MEASURED)
def test_what_cannot_be_measured_is_one_line(what: str) -> None:
    given, named, told = MEASURED[what]
    with pytest.raises(picdesk.UserError, match=re.escape(told)):
        picdesk.measure(*given, **named)


def test_a_metric_alone_is_a_list_of_one() -> None:
    scores = picdesk.measure(np.eye(3), [0, 1, 2], resamples=20, names="mrr")
    assert list(scores["t2i"].metrics) == ["hits@1", "hits@5", "hits@10", "mrr", "queries", "gallery"]
    with pytest.raises(picdesk.DataError, match="b=5: the scores of a system are needed"):
        picdesk.compare(scores, 5)  # type: ignore[arg-type]


def test_a_matrix_is_measured_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.1], [0.4, 0.6, 0.5], [0.1, 0.2, 0.7]])
    scores = picdesk.measure(similarity, [0, 1, 2, 2], resamples=50)
    assert scores["t2i"].metrics["hits@1"] == 3 / 4, "the third text has its picture second"
    assert scores["t2i"].metrics["mrr"] == (1 + 1 + 1 / 2 + 1) / 4
    assert scores["i2t"].metrics["hits@1"] == 1.0
    relevant = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]], bool)
    owned = picdesk.measure(similarity, relevant, about=[0, 1, 2, 2], resamples=50)
    assert owned["t2i"].ranks.cluster.tolist() == scores["t2i"].ranks.cluster.tolist()
    assert owned["t2i"].ranks.relevant_counts.tolist() == [1, 2, 2, 2]
    assert len(set(picdesk.measure(similarity, relevant, resamples=50)["t2i"].ranks.cluster.tolist())) == 2
    with pytest.raises(
        picdesk.DataError, match=r"about of shape \(3,\): the position of a picture for each of 4 texts"
    ):
        picdesk.measure(similarity, relevant, about=[0, 1, 2])
    with pytest.raises(picdesk.DataError, match="about: positions from 0 to 2 are needed"):
        picdesk.measure(similarity, relevant, about=[0, 1, 2, 3])
    objects = picdesk.measure(similarity.astype(object), [0, 1, 2, 2], resamples=50)
    assert objects["t2i"].metrics == scores["t2i"].metrics
    tied = picdesk.measure(np.zeros((3, 3)), [0, 1, 2], resamples=50)
    assert tied["t2i"].metrics["hits@1"] == 0.0, "ties count against the system"
    with pytest.raises(picdesk.DataError, match="relevant"):
        picdesk.measure(similarity, [0, 1, 2, 3])


def test_grades_of_a_matrix_count() -> None:
    similarity = np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.9]])
    grades = np.array([[1, 3, 0], [0, 0, 2]])
    found = picdesk.measure(similarity, grades, resamples=50, names=["ndcg"], ks=np.array([1, 2]))
    best = 3 + 1 / np.log2(3)
    assert found["t2i"].metrics["ndcg@2"] == pytest.approx(((1 + 3 / np.log2(3)) / best + 1) / 2)
    assert found["i2t"].qrels.grades is not None
    about = picdesk.measure(similarity, grades, about=[0, 2], resamples=50, names=["ndcg"], ks=[1, 2])
    assert about["t2i"].metrics == found["t2i"].metrics
    for odd in (np.nan, -1.0, 0.5):
        with pytest.raises(picdesk.DataError, match="grades from 0 to 1000000 in whole numbers"):
            picdesk.measure(similarity, np.where(grades == 2, odd, grades), resamples=50)


def test_metrics_are_chosen_by_name() -> None:
    similarity = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.1], [0.4, 0.6, 0.5], [0.1, 0.2, 0.7]])
    scores = picdesk.measure(similarity, [0, 1, 2, 2], resamples=50, names=["map@r", "rsum", "mean_recall"], ks=[2])
    assert list(scores["i2t"].metrics) == ["hits@1", "hits@2", "map@r", "queries", "gallery"]
    assert scores["i2t"].metrics["map@r"] == pytest.approx((1 + 1 + 1) / 3), (
        "both texts of the third picture come first"
    )
    assert scores.joint["mean_recall@2"].value == 1.0
    hits = {name: [np.mean(scores[d].ranks.first <= k) for k in (1, 5, 10)] for name, d in (("t", "t2i"), ("i", "i2t"))}
    assert scores.joint["rsum"].value == pytest.approx(100 * sum(hits["t"] + hits["i"]))
    assert "| rsum |" in scores.table()
    frame = scores.to_pandas()
    assert set(frame[frame.direction == "both"].metric) == {"rsum", "mean_recall@1", "mean_recall@2"}
    with pytest.raises(picdesk.ConfigError, match=r"measure\.names=hit: choose of hits, recall, ndcg"):
        picdesk.measure(similarity, [0, 1, 2, 2], names=["hit"])
    with pytest.raises(picdesk.ConfigError, match=r"measure\.ks=\[0\]"):
        picdesk.measure(similarity, [0, 1, 2, 2], ks=[0])


def test_embeddings_are_measured_as_their_matrix_is() -> None:
    draw = np.random.default_rng(0)
    texts, pictures, of = draw.normal(size=(30, 8)), draw.normal(size=(12, 8)), draw.integers(0, 12, 30)
    by_vectors = picdesk.measure((texts, pictures), of, resamples=50)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (texts, pictures)]
    by_matrix = picdesk.measure(unit[0] @ unit[1].T, of, resamples=50)
    assert by_vectors.metrics == by_matrix.metrics
    apart = picdesk.compare(by_vectors, by_matrix, resamples=50)
    assert apart["t2i"]["hits@1"].interval.value == 0


def test_a_folder_and_a_frame_are_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{name}.png")
    frame = pd.DataFrame({"file": ["red.png", "blue.png"], "text": ["a red square", "a blue square"]})
    of_frame = picdesk.Dataset.from_pandas(frame, tmp_path, picture_column="file", caption_column="text")
    assert of_frame.collection.picture_ids == ("red.png", "blue.png")
    assert repr(of_frame) == "<picdesk data set frame: 2 pictures, 2 texts; train 0, val 0, test 2>"
    with pytest.raises(picdesk.ConfigError, match="from_pandas: picture_colum is no key of it; did"):
        picdesk.Dataset.from_pandas(frame, tmp_path, picture_colum="file")
    with pytest.raises(picdesk.ConfigError, match="from_csv: root is no key of it; there are name, folder, "):
        picdesk.Dataset.from_csv(tmp_path / "a.csv", root="x")
    assert of_frame.prompts(of_frame.part("test")) == ["a red square", "a blue square"]
    monkeypatch.setenv("PICDESK_OUTPUTS", str(tmp_path / "outputs"))
    system = picdesk.load("lite", "plugins=[tests]", f"backbone._target_={TINY}", data=of_frame)
    assert len(system.search("a red square")) == 2
    assert system.index(tmp_path).search("anything", k=1)[0].path.endswith(".png")


def test_editors_and_mypy_are_told_that_there_are_types() -> None:
    assert (Path(picdesk.__file__).parent / "py.typed").is_file()
    assert "py.typed" in (PROJECT / "pyproject.toml").read_text()


def test_a_source_that_is_nothing_is_told() -> None:
    with pytest.raises(picdesk.ConfigError, match=r"no backbone: .*lite"):
        picdesk.load("nothing_of_that_name")


def test_what_an_experiment_set_in_a_replaced_option_is_left_out() -> None:
    assert "seed" not in compose_config(["experiment=finetune_flickr8k_best", "split=official"]).split
