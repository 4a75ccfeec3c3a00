"""System B: embeddings made elsewhere give the ranking of the model that made them, and nothing is guessed."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from picdesk.backbones.lite import Lite
from picdesk.trec.files import read_runs
from tests.backbones.tiny_models import make
from tests.doors import Ran, run
from tests.npz import arrays

Capture = pytest.CaptureFixture[str]
_KEPT: dict[str, Path] = {}


@pytest.fixture
def exported(capfd: Capture, outputs: Path, trained: Ran) -> Path:
    """The folder with the embeddings of the shared training job's test part."""
    if "folder" not in _KEPT:
        ran = run(capfd, outputs, "evaluate", "task=export", f"ckpt={trained.folder}")
        assert ran.status == 0, ran.err
        exports = (outputs / "export").rglob("embeddings.npz")
        _KEPT["folder"] = max(exports, key=lambda path: path.stat().st_mtime_ns).parent
    return _KEPT["folder"]


def arguments(folder: Path, *more: str, dim: int = 512) -> tuple[str, ...]:
    data = ("data=npz", f"data.root={folder}", "data.file=embeddings.npz", "data.image_names=image_names")
    return (*data, "split=all", "part=all", "prompt=caption", "backbone=precomputed", f"backbone.dim={dim}", *more)


def changed_copy(folder: Path, to: Path, **others: np.ndarray) -> Path:
    """A copy with other arrays."""
    to.mkdir()
    stored = arrays(folder / "embeddings.npz")
    np.savez(to / "embeddings.npz", **(stored | others))
    (to / "captions.csv").write_bytes((folder / "captions.csv").read_bytes())
    return to


def test_the_ranking_is_that_of_the_model(capfd: Capture, outputs: Path, trained: Ran, exported: Path) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(exported), "bootstrap.resamples=100")
    assert ran.status == 0, ran.err
    theirs, ours = read_runs(trained.folder / "run.trec"), read_runs(ran.folder / "run.trec")
    for direction in ("t2i", "i2t"):
        assert ours[direction].query_ids == theirs[direction].query_ids
        assert named_items(ours[direction]) == named_items(theirs[direction])
        np.testing.assert_allclose(ours[direction].scores, theirs[direction].scores, atol=1e-6)


def named_items(one) -> list[list[str]]:  # type: ignore[no-untyped-def]
    return [[one.item_ids[i] for i in row] for row in one.index]


def test_a_text_from_outside_needs_the_tower_that_made_the_vectors(
    capfd: Capture, outputs: Path, exported: Path
) -> None:
    ran = run(capfd, outputs, "retrieve", *arguments(exported), "query=a lion")
    assert ran.status == 2
    assert "backbone=precomputed knows the vectors of its data set alone" in ran.err
    assert "backbone.text_encoder" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_text_tower_of_another_width_is_refused(capfd: Capture, outputs: Path, exported: Path) -> None:
    tower = ("+backbone@backbone.text_encoder=lite", "backbone.text_encoder.dim=256")
    ran = run(capfd, outputs, "retrieve", *arguments(exported, *tower), "query=a lion")
    assert ran.status == 2
    assert "makes 256 numbers a text, the data set's vectors have backbone.dim=512" in ran.err


LITE = ("+backbone@backbone.text_encoder=lite", "backbone.text_encoder.dim=512", "data.limit=8")


def test_a_text_tower_that_did_not_make_the_vectors_is_refused(capfd: Capture, outputs: Path, exported: Path) -> None:
    for door, more in (("retrieve", ("query=a lion",)), ("evaluate", ())):
        ran = run(capfd, outputs, door, *arguments(exported, *LITE), "backbone.text_encoder.seed=7", *more)
        assert ran.status == 2, ran.out
        assert "backbone.text_encoder=lite(" in ran.err
        assert "another model made those" in ran.err
        assert len(ran.err.strip().splitlines()) == 1


def test_the_text_tower_that_made_the_vectors_answers_and_is_called_untrained(
    capfd: Capture, outputs: Path, exported: Path, tmp_path: Path
) -> None:
    tower = Lite(dim=512)
    with (exported / "captions.csv").open(newline="") as file:
        texts = [row["caption"] for row in csv.DictReader(file)]
    with torch.inference_mode():
        own = tower.embed("text", tower.text_trunk(**tower.tokenize(texts))).numpy()
    folder = changed_copy(exported, tmp_path / "own", text_embeddings=own)
    ran = run(capfd, outputs, "retrieve", *arguments(folder, *LITE), "query=a lion", "top_k=3")
    assert ran.status == 0, ran.err
    assert (ran.folder / "results.json").is_file()
    assert "is untrained, so its vectors of texts do not belong to those of the data set" in ran.out + ran.err


def test_one_text_too_few_is_refused(capfd: Capture, outputs: Path, exported: Path, tmp_path: Path) -> None:
    texts = arrays(exported / "embeddings.npz")["text_embeddings"]
    ran = run(
        capfd, outputs, "evaluate", *arguments(changed_copy(exported, tmp_path / "short", text_embeddings=texts[:-1]))
    )
    assert ran.status == 2
    assert f"{len(texts) - 1} rows in text_embeddings for {len(texts)} captions" in ran.err


def test_768_against_512_is_refused(capfd: Capture, outputs: Path, exported: Path, tmp_path: Path) -> None:
    texts = arrays(exported / "embeddings.npz")["text_embeddings"]
    wide = np.pad(texts, ((0, 0), (0, 256)))
    ran = run(capfd, outputs, "evaluate", *arguments(changed_copy(exported, tmp_path / "wide", text_embeddings=wide)))
    assert ran.status == 2
    assert "images are 512 wide, texts 768" in ran.err
    ran = run(capfd, outputs, "evaluate", *arguments(exported, dim=768))
    assert ran.status == 2
    assert "backbone.dim=768" in ran.err
    assert "have 512 numbers each" in ran.err


def test_repeated_names_are_named(capfd: Capture, outputs: Path, exported: Path, tmp_path: Path) -> None:
    names = arrays(exported / "embeddings.npz")["image_names"].copy()
    names[1] = names[0]
    folder = changed_copy(exported, tmp_path / "twice", image_names=names)
    ran = run(capfd, outputs, "evaluate", *arguments(folder, "task=check", "data.max_bad_fraction=0.5"))
    assert ran.status == 0, ran.err
    assert "has another vector in row 0; the first was kept" in report(outputs)


def test_other_lengths_are_normalised_and_said(capfd: Capture, outputs: Path, exported: Path, tmp_path: Path) -> None:
    images = arrays(exported / "embeddings.npz")["image_embeddings"]
    folder = changed_copy(exported, tmp_path / "long", image_embeddings=images * 7)
    run(capfd, outputs, "evaluate", *arguments(folder, "task=check"))
    said = "image vectors were of another length than 1 (7 to 7): normalised"
    assert said in report(outputs)
    ran = run(capfd, outputs, "evaluate", *arguments(folder), "bootstrap.resamples=100")
    assert ran.status == 0, ran.err
    assert said in ran.out


def report(outputs: Path) -> str:
    """The newest report of task=check."""
    return max(outputs.rglob("check.json"), key=lambda path: path.stat().st_mtime_ns).read_text()


def test_data_without_vectors_is_refused(capfd: Capture, outputs: Path, settings: tuple[str, ...]) -> None:
    ran = run(capfd, outputs, "evaluate", settings[0], "backbone=precomputed")
    assert ran.status == 2
    assert "data=demo has no image embeddings; use data=npz or data=clip_retrieval" in ran.err


def test_captions_are_those_that_were_encoded(exported: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((exported / "captions.csv").read_text())))
    assert len(rows) == len(arrays(exported / "embeddings.npz")["text_embeddings"])
    assert all(row["caption"].startswith("News headline:") for row in rows)


def test_an_export_of_one_direction_says_so(
    capfd: Capture, outputs: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    model = (settings[0], "backbone=transformers", f"backbone.model={make('siglip2', tmp_path / 'siglip2')}")
    for prompts, said in (("{query:'find: ',document:'shown: '}", True), ("{query:'find: ',document:'find: '}", False)):
        ran = run(capfd, outputs, "evaluate", "task=export", *model, f"backbone.prompts={prompts}")
        assert ran.status == 0, ran.err
        assert ("from picture to text is not what the model scores" in ran.out + ran.err) == said
