"""Similarities against people's judgments: rank correlation, choices, Flickr8k's own files, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from picdesk.errors import DataError
from picdesk.evaluation.agreement import choices_met, kendall
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures with a text each, vectors of known cosines, and ratings that go with them."""
    folder = tmp_path_factory.mktemp("judged")
    rng = np.random.default_rng(0)
    pictures, texts = rng.standard_normal((40, 8)), rng.standard_normal((40, 8))
    names = np.array([f"p{i:02}.jpg" for i in range(40)])
    np.savez(folder / "v.npz", image_names=names, image_embeddings=pictures, text_embeddings=texts)
    (folder / "captions.csv").write_text("\n".join(["image,caption", *(f"{n},thing {i}" for i, n in enumerate(names))]))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (texts, pictures)]
    cosine = unit[0] @ unit[1].T
    pairs = rng.integers(0, 40, (300, 2))
    said = np.round(4 * (cosine[pairs[:, 0], pairs[:, 1]] + 0.3 * rng.standard_normal(300)))
    rows = [f"{names[t]}#0,{names[p]},{r:g}" for (t, p), r in zip(pairs, said, strict=True)]
    (folder / "ratings.csv").write_text("\n".join(["text,picture,rating", *rows, "nobody#0,p01.jpg,3"]) + "\n")
    (folder / "none.csv").write_text("text,picture,rating\n")
    expert = [f"{names[p]}\t{names[t]}#0\t{r:g}\t{r:g}\t{r + 1:g}" for (t, p), r in zip(pairs, said, strict=True)]
    (folder / "Expert.txt").write_text("\n".join(expert) + "\n")
    crowd = [f"{names[p]}\t{names[t]}#0\t{(r + 8) / 16:g}\t1\t2" for (t, p), r in zip(pairs, said, strict=True)]
    (folder / "Crowd.txt").write_text("\n".join(crowd) + "\n")
    choices = [
        f"{names[t]}#0,{names[p]},{names[o]},{'a' if cosine[t, p] > cosine[t, o] else 'b'}"
        for t, p, o in rng.integers(0, 40, (100, 3))
        if p != o
    ]
    (folder / "choices.csv").write_text("\n".join(["text,picture,other,rating", *choices]) + "\n")
    np.save(folder / "expected.npy", [kendalltau(cosine[pairs[:, 0], pairs[:, 1]], said).statistic])
    return folder


def ask_task(capfd: Capture, outputs: Path, folder: Path, *more: str) -> Ran:
    data = (
        "data=npz",
        f"data.root={folder}",
        "data.file=v.npz",
        "data.image_names=image_names",
        "split=all",
        "part=all",
    )
    settings = ("prompt=caption", "backbone=precomputed", "backbone.dim=8", "bootstrap.resamples=100", "task=agreement")
    return run(capfd, outputs, "evaluate", *data, *settings, *more)


def newest(outputs: Path) -> dict[str, object]:
    path = max((outputs / "agreement").rglob("agreement.json"), key=lambda path: path.stat().st_mtime_ns)
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_ratings_of_a_table(capfd: Capture, outputs: Path, judged: Path) -> None:
    ran = ask_task(capfd, outputs, judged, f"agreement.file={judged / 'ratings.csv'}")
    assert ran.status == 0, ran.err
    found = newest(outputs)
    value, low, high = found["tau-b"]  # type: ignore[misc]
    assert value == pytest.approx(float(np.load(judged / "expected.npy")[0]), abs=0.01)
    assert low < value < high
    assert found["judgments"] == 300
    assert found["left_out"] == 1
    assert "1 of 301 judgments are not of this part" in ran.out + ran.err


@pytest.mark.parametrize(("form", "file", "count"), [("expert", "Expert.txt", 900), ("crowdflower", "Crowd.txt", 300)])
def test_flickr8ks_own_files(capfd: Capture, outputs: Path, judged: Path, form: str, file: str, count: int) -> None:
    ran = ask_task(capfd, outputs, judged, f"agreement.form={form}", f"agreement.file={judged / file}")
    assert ran.status == 0, ran.err
    found = newest(outputs)
    assert found["judgments"] == count
    assert found["tau-c"][0] > 0.3  # type: ignore[index]


def test_choices_that_follow_the_similarities_are_met(capfd: Capture, outputs: Path, judged: Path) -> None:
    ran = ask_task(capfd, outputs, judged, "agreement.form=pairs", f"agreement.file={judged / 'choices.csv'}")
    assert ran.status == 0, ran.err
    assert newest(outputs)["choices met"][0] == 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "agreement.file must be given"),
        (("agreement.file=gone.csv",), "agreement.file=gone.csv: no such file"),
        (("agreement.file=FOLDER/none.csv",), "none.csv: there is no judgment in it"),
        (("agreement.form=stars", "agreement.file=x"), "agreement.form=stars: choose one of table, pairs, expert, crowdflower"),
        (("agreement.file=FOLDER/ratings.csv", "agreement.text_column=t"), "no such column: agreement.text_column=t"),
        (("agreement.file=FOLDER/captions.csv", "agreement.text_column=image", "agreement.picture_column=image",
          "agreement.rating_column=caption"), "captions.csv line 2: 'thing 0' is no rating"),
        (("agreement.file=FOLDER/choices.csv", "agreement.form=expert"), "is no line of Flickr8k's expert judgments"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(
    capfd: Capture, outputs: Path, judged: Path, more: tuple[str, ...], told: str
) -> None:
    ran = ask_task(capfd, outputs, judged, *(one.replace("FOLDER", str(judged)) for one in more))
    assert ran.status == 2, ran.out
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_tau_is_scipys_and_its_interval_counts_pictures() -> None:
    rng = np.random.default_rng(0)
    picture = np.repeat(np.arange(30), 10)
    luck = np.repeat(rng.standard_normal(30), 10)
    scores, ratings = luck + 0.1 * rng.standard_normal(300), np.round(2 * luck)
    found = kendall(scores, ratings, picture, "c", resamples=200)
    assert found.value == pytest.approx(float(kendalltau(scores, ratings, variant="c").statistic))
    alone = kendall(scores, ratings, np.arange(300), "c", resamples=200)
    assert found.high - found.low > 1.5 * (alone.high - alone.low)
    with pytest.raises(DataError, match="all 300 ratings are the same"):
        kendall(scores, np.ones(300), picture)
    half = choices_met(np.ones(4), np.ones(4), np.ones(4, bool), np.arange(4), resamples=50)
    assert half.value == 0.5
    of_two = choices_met(np.ones(4), np.zeros(4), np.arange(4) < 2, np.array([0, 0, 1, 1]), resamples=50)
    assert (of_two.low, of_two.value, of_two.high) == (0.0, 0.5, 1.0), "two pictures, drawn with both of their choices"
