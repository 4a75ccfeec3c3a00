"""System E: captions between texts and pictures. No picture twice, every caption encoded once, a threshold that says so."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from picdesk.collection import Collection
from picdesk.data.sources import NoPictures
from picdesk.interfaces import Embeddings
from picdesk.search.grouping import at_least, best_part_run
from picdesk.tasks.captioner import given_captions
from picdesk.trec.files import read_runs
from picdesk.trec.runs import Run
from tests.data.samples import colour, jpeg, put
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]
CAPTIONS = {
    "dog.jpg": ["a dog runs over the grass", "a brown dog running in a field", "the dog is outside"],
    "boat.jpg": ["a boat sails on the sea", "a sailing ship in the water", "people on a yacht"],
    "car.jpg": ["a red car on a road", "an automobile drives along the street", "a car in traffic"],
}
ARGUMENTS = (
    "data=csv",
    "data.file=captions.csv",
    "data.picture_column=image",
    "data.caption_column=caption",
    "part=all",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    for n, name in enumerate(CAPTIONS):
        put(folder / name, jpeg(colour(n)))
    with (folder / "captions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "caption"])
        writer.writerows([name, text] for name, texts in CAPTIONS.items() for text in texts)
    return folder


def call(capfd: Capture, outputs: Path, data: Path, door: str, *more: str) -> Ran:
    given = (*ARGUMENTS, f"data.root={data}", "split=all", "prompt=caption", "backbone=sentences", *more)
    return run(capfd, outputs, door, *given, "bootstrap.resamples=50")


def test_both_directions_through_the_captions(capfd: Capture, outputs: Path, data: Path) -> None:
    ran = call(capfd, outputs, data, "evaluate", "task=captioner", "min_score=0.3")
    assert ran.status == 0, ran.err
    metrics = json.loads(ran.file("metrics.json"))
    assert metrics["t2i"]["metrics"]["hits@1"] == 1
    assert metrics["i2t"]["metrics"]["hits@1"] == 1
    assert metrics["t2i"]["metrics"]["gallery"] == 3
    assert metrics["i2t"]["metrics"]["gallery"] == 6
    assert metrics["captions"]["pictures"] == 3
    assert metrics["min_score"]["answered"] == 1
    found = read_runs(ran.folder / "run.trec")["t2i"]
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.index), "a picture comes twice"
    counts = json.loads(ran.file("manifest.json"))["counts"]
    assert counts["texts_encoded"] == 9
    again = call(capfd, outputs, data, "evaluate", "task=captioner")
    assert json.loads(again.file("manifest.json"))["counts"]["texts_encoded"] == 0


def test_a_caption_file_stands_for_the_captioner(capfd: Capture, outputs: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "said.csv"
    file.write_text("image,caption\ndog.jpg,people on a yacht\nboat.jpg,the dog is outside\ncar.jpg,a car in traffic\n")
    ran = call(capfd, outputs, data, "evaluate", "task=captioner", f"captions_file={file}")
    assert ran.status == 0, ran.err
    metrics = json.loads(ran.file("metrics.json"))
    assert metrics["i2t"]["metrics"]["hits@1"] == pytest.approx(1 / 3), "dog and boat were said the other way round"
    assert "1 captions are not searched" in ran.out, "car.jpg's own words must not find themselves"
    assert metrics["i2t"]["metrics"]["gallery"] == 5


def test_bleu_is_sacrebleus(capfd: Capture, outputs: Path, data: Path) -> None:
    from sacrebleu.metrics.bleu import BLEU

    ran = call(capfd, outputs, data, "evaluate", "task=captioner")
    told = json.loads(ran.file("metrics.json"))["captions"]
    texts = list(CAPTIONS.values())
    expected = BLEU().corpus_score([t[0] for t in texts], [[t[1] for t in texts], [t[2] for t in texts]])
    assert told["bleu"] == pytest.approx(expected.score)
    assert told["interval"][0] <= told["bleu"] <= told["interval"][1]


def test_a_threshold_leaves_weak_answers_out_and_says_so(capfd: Capture, outputs: Path, data: Path) -> None:
    ran = call(capfd, outputs, data, "retrieve", "query=a dog on a lawn", "min_score=0.4", "top_k=3")
    assert ran.status == 0, ran.err
    found = json.loads(ran.file("results.json"))[0]["results"]
    assert [item["id"] for item in found] == ["dog.jpg"]
    assert found[0]["score"] >= 0.4
    none = call(capfd, outputs, data, "retrieve", "query=quarterly earnings of a bank", "min_score=0.9")
    assert none.status == 0, none.err
    assert "nothing scores min_score=0.9 or more; the best has" in none.out
    assert json.loads(none.file("results.json"))[0]["results"] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,caption\nnobody.jpg,a dog\n", "none of its 1 pictures is in data=csv"),
        ("image,caption\ndog.jpg,a\ndog.jpg,b\n", "picture 'dog.jpg' has two captions"),
        ("id,caption\n1,a dog\n", "no picture column"),
        ("image,caption\n", "no queries in it"),
    ],
)
def test_unusable_caption_files(
    capfd: Capture, outputs: Path, data: Path, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "said.csv").write_text(content)
    ran = call(capfd, outputs, data, "evaluate", "task=captioner", f"captions_file={tmp_path / 'said.csv'}")
    assert ran.status == 2
    assert said in ran.err
    assert "captions_file=" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_another_backbone_is_refused(capfd: Capture, outputs: Path, settings: tuple[str, ...]) -> None:
    ran = run(capfd, outputs, "evaluate", settings[0], "task=captioner")
    assert ran.status == 2
    assert "task=captioner needs backbone=captioner or backbone=sentences" in ran.err


def test_one_caption_a_picture_is_refused(capfd: Capture, outputs: Path, settings: tuple[str, ...]) -> None:
    ran = run(capfd, outputs, "evaluate", settings[0], "task=captioner", "backbone=sentences")
    assert ran.status == 2
    assert "one caption a picture leaves none to compare with" in ran.err


def test_a_picture_scores_by_its_best_caption_and_appears_once() -> None:
    rng = np.random.default_rng(0)

    def unit(n: int) -> np.ndarray:
        rows = rng.normal(size=(n, 16)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    queries, parts = Embeddings(("a", "b"), unit(2)), Embeddings(tuple(f"p{i}" for i in range(40)), unit(40))
    owner = rng.integers(0, 12, 40)
    names = tuple(f"w{i:02}" for i in range(13))
    found = best_part_run(queries, parts, owner, names, 5)
    for q in range(2):
        plain = {
            w: max(float(queries.matrix[q] @ parts.matrix[i]) for i in np.flatnonzero(owner == w)) for w in set(owner)
        }
        best = sorted(plain, key=lambda w: -plain[w])[:5]
        assert found.index[q].tolist() == best
        np.testing.assert_allclose(found.scores[q], [plain[w] for w in best], rtol=1e-5)
    cut = at_least(found, float(found.scores[0, 2]))
    assert (cut.index[0] >= 0).sum() == 3
    assert at_least(found, None) is found


def test_a_bound_beyond_all_scores_is_one() -> None:
    found = Run(("q",), ("a", "b"), np.array([[0, 1]], np.int32), np.array([[0.5, 0.25]], np.float32), 2)
    assert at_least(found, -1e300).index.tolist() == [[0, 1]]
    assert at_least(found, 1e300).index.tolist() == [[-1, -1]]


def test_two_jobs_are_compared_and_a_changed_caption_file_is_seen(
    capfd: Capture, outputs: Path, data: Path, tmp_path: Path
) -> None:
    """One caption of each picture asks, so the queries are not those of the data set, and no card is shown."""
    told = tmp_path / "said.csv"
    jobs = []
    for last in ("a car", "an ice cream"):
        told.write_text(f"image,caption\ndog.jpg,a dog on grass\nboat.jpg,a boat at sea\ncar.jpg,{last}\n")
        jobs.append(call(capfd, outputs, data, "evaluate", "task=captioner", f"captions_file={told}"))
        assert jobs[-1].status == 0, jobs[-1].err
    one, other = (json.loads(job.file("manifest.json"))["weights"]["captions_file"] for job in jobs)
    assert one != other
    compared = run(capfd, outputs, "evaluate", "task=compare", f"dir={jobs[0].folder}", f"against={jobs[1].folder}")
    assert compared.status == 0, compared.err
    assert any("Only one caption of each picture asks" in page.read_text() for page in outputs.rglob("index.html"))


def test_captions_of_no_picture_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = Collection("x", ("a.jpg", "b.jpg"), NoPictures(2), (), (), np.empty(0, np.int64))
    file = tmp_path / "said.csv"
    file.write_text("image,caption\na.jpg,one\nz.jpg,two\n")
    assert given_captions(str(file), part) == {0: "one"}
    assert "1 of 2 captions are of no picture of this part: 'z.jpg'" in caplog.text
    assert "no caption for 1 of 2 pictures" in caplog.text
