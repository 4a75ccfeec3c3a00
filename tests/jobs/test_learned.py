"""Pictures that look like what was learned from: kept out of a drawn split, and told apart where a split is given."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from picdesk.jobs import learned
from tests.doors import Ran, run, run_once
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
TINY = ("data=parquet", "data.caption_column=caption", "backbone._target_=tests.tiny.Tiny", "backbone.dim=8")
DRAWN = ("split=random_70_15_15",)
FIT = ("trainer.max_epochs=1", "training.batch_size=16", "bootstrap.resamples=50")
COPIES = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty pictures; the first six stand once more, byte for byte, as the last six."""

    def copy(captions: list[str], contents: list[bytes]) -> None:
        for i in range(2 * COPIES):
            contents[-1 - i] = contents[i]

    return write_data(tmp_path_factory.mktemp("data"), 80, copy)


@pytest.fixture
def fitted(capfd: Capture, data: Path, tmp_path: Path) -> Ran:
    """A fit on a drawn split, by the first test that asks; each has a copy of its own."""
    first = data / "out"
    ran = run_once(capfd, first, "train", *TINY, f"data.root={data}", *DRAWN, *FIT)
    own = tmp_path / ran.folder.relative_to(first)
    return replace(ran, folder=Path(shutil.copytree(ran.folder, own)))


def split_file(folder: Path) -> Path:
    """A split whose test part holds the copies and fourteen others."""
    names = [f"p{i:02}" for i in range(80)]
    split = {name: "test" if i >= 60 else "val" if i >= 50 else "train" for i, name in enumerate(names)}
    path = folder / "split.json"
    path.write_text(json.dumps(split))
    return path


def numbers(ran: Ran) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(ran.file("metrics.json"))
    return found


def test_a_given_split_is_reported_with_and_without_look_alikes(capfd: Capture, tmp_path: Path, data: Path) -> None:
    split = ("split=file", f"split.file={split_file(tmp_path)}")
    fitted = run(capfd, tmp_path, "train", *TINY, f"data.root={data}", *split, *FIT)
    again = run(capfd, tmp_path, "evaluate", f"ckpt={fitted.folder}", *FIT[2:])
    for ran in (fitted, again):
        assert ran.status == 0, ran.err
        whole = numbers(ran)
        kept = whole["without_look_alikes"]
        alike = kept["look_alikes"]
        assert COPIES <= alike < 20  # type: ignore[operator]  # some of the plain colours are near to others too
        for direction, texts in (("t2i", 2), ("i2t", 1)):
            assert whole[direction]["metrics"]["queries"] == 20 * texts
            assert kept[direction]["metrics"]["queries"] == (20 - alike) * texts  # type: ignore[operator]
            assert kept[direction]["metrics"]["gallery"] == whole[direction]["metrics"]["gallery"]
            low, high = kept[direction]["intervals"]["hits@1"]
            assert low <= kept[direction]["metrics"]["hits@1"] <= high
        said = f"{alike} of the 20 pictures have a look-alike in train or val. Without them: t2i hits@1"
        assert said in ran.out.replace("\n", " ")
        page = ran.file("index.html").decode()
        assert said in page
        assert "a look-alike in train or val" in page
    assert fitted.file("metrics.json") == again.file("metrics.json")
    apart = numbers(again)["without_look_alikes"]["t2i"]["metrics"]["hits@1"]  # type: ignore[index]
    other = run(capfd, tmp_path, "evaluate", f"ckpt={fitted.folder}", *FIT[2:], "seed=5")
    compared = run(capfd, tmp_path, "evaluate", "task=compare", f"dir={again.folder}", f"against={other.folder}")
    assert compared.status == 0, compared.err
    [page] = [path.parent / "index.html" for path in tmp_path.rglob("comparison.json")]
    assert page.read_text().count(", without look-alikes") >= 4
    board = run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={again.folder}")
    assert board.status == 0, board.err
    assert "t2i hits@1 without look-alikes" in (again.folder / "leaderboard.html").read_text()
    [line] = csv.DictReader((again.folder / "leaderboard.csv").read_text().splitlines())
    assert float(line["unseen/t2i/hits@1"]) == apart


def test_a_drawn_split_has_none_unless_groups_are_turned_off(
    capfd: Capture, tmp_path: Path, data: Path, fitted: Ran
) -> None:
    assert numbers(fitted)["without_look_alikes"]["look_alikes"] == 0
    assert "none of the 12 pictures has a look-alike in train or val" in fitted.out
    assert "split by groups of equal pictures, near-duplicates, equal texts" in fitted.file("index.html").decode()
    alone = run(capfd, tmp_path, "train", *TINY, f"data.root={data}", *DRAWN, *FIT, "split.groups=none")
    assert alone.status == 0, alone.err
    assert "split.groups=none: pictures that look alike" in alone.file("index.html").decode()
    assert numbers(alone)["without_look_alikes"]["look_alikes"] != 0
    check_that_it_is_had_again_without_the_key(capfd, tmp_path, alone, data)


def check_that_it_is_had_again_without_the_key(capfd: Capture, tmp_path: Path, old: Ran, data: Path) -> None:
    """A config of before there were groups has no such key; the pictures that its checkpoint learned from stay apart."""
    for path in (old.folder / "config.yaml", old.folder / "checkpoint" / "config.yaml"):
        saved = OmegaConf.load(path)
        del saved.split["groups"]
        OmegaConf.save(saved, path)
    manifest = json.loads(old.file("manifest.json"))
    del manifest["settings"]["split.groups"], manifest["digest"]
    manifest["files"].pop("config.yaml")
    (old.folder / "manifest.json").write_text(json.dumps(manifest))
    again = run(capfd, tmp_path, "evaluate", f"ckpt={old.folder}", f"data.root={data}", *FIT[2:])
    assert again.status == 0, again.err
    assert again.file("metrics.json") == old.file("metrics.json")
    same = run(capfd, tmp_path, "evaluate", f"reproduce={again.folder / 'manifest.json'}")
    assert same.status == 0, same.err
    assert "0 outside the tolerance" in same.out


def test_a_job_on_the_whole_data_set_decodes_nothing_to_draw_parts(
    capfd: Capture, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from picdesk.data import facts

    def refuse(picture: object) -> None:
        raise AssertionError("a look was taken")

    monkeypatch.setattr(facts, "take_look", refuse)
    ran = run(capfd, tmp_path, "evaluate", "task=encode", *TINY, f"data.root={data}", "part=all")
    assert ran.status == 0, ran.err
    assert "split by groups" not in ran.out


def test_another_data_set_is_compared_with_what_the_checkpoint_learned_from(
    capfd: Capture, tmp_path: Path, fitted: Ran
) -> None:
    generator = np.random.default_rng(9)

    def change(captions: list[str], contents: list[bytes]) -> None:
        order = generator.permutation(len(contents) // 2)
        contents[:] = [contents[2 * i + n] for i in order for n in range(2)]

    other = write_data(tmp_path / "other", 24, change)
    (other / "tiny.parquet").rename(other / "others.parquet")
    asked = (
        f"data.root={other}",
        "data.file=others.parquet",
        "split=all",
        "data=parquet",
        "data.caption_column=caption",
    )
    ran = run(capfd, tmp_path, "evaluate", f"ckpt={fitted.folder}", *asked, *FIT[2:])
    assert ran.status == 0, ran.err
    assert "have a look-alike in train or val of data=" in ran.out.replace("\n", " ")
    assert 0 < numbers(ran)["without_look_alikes"]["look_alikes"] <= 24  # type: ignore[operator]
    check_vectors_of(capfd, tmp_path, fitted.folder)


def check_vectors_of(capfd: Capture, outputs: Path, fitted: Path) -> None:
    """What made exported vectors, or is the text tower that answers over them, had learned from 68 of the 80."""
    made = run(
        capfd,
        outputs,
        "evaluate",
        "task=export",
        f"ckpt={fitted}",
        "part=all",
        "hydra.run.dir=" + str(outputs / "made"),
    )
    assert made.status == 0, made.err
    file = ("data.file=embeddings.npz", "data.image_names=image_names", "split=all", "part=all", "prompt=caption")
    given = ("data=npz", *file, "backbone=precomputed", "backbone.dim=8", *FIT[2:])
    for tower in ("null", "export", "latest"):
        ran = run(capfd, outputs, "evaluate", *given, f"data.root={outputs / 'made'}", f"backbone.text_ckpt={tower}")
        assert ran.status == 0, ran.err
        assert "68 of the 80 pictures of this part were learned from, or chosen by, when a checkpoint" in ran.out
    config = OmegaConf.load(ran.folder / "config.yaml")
    assert config.backbone.text_ckpt == str(fitted / "checkpoint" / "model.safetensors"), (
        "not the latest of another day"
    )
    (outputs / "made" / "manifest.json").unlink()
    ran = run(capfd, outputs, "evaluate", *given, f"data.root={outputs / 'made'}", f"backbone.text_ckpt={fitted}")
    assert ran.status == 0, ran.err
    assert "cannot be told: one of the two has no picture files" in ran.out


def test_what_the_checkpoint_of_a_reranker_learned_from_is_told_too(
    capfd: Capture, tmp_path: Path, data: Path, fitted: Ran
) -> None:
    """Fitted on another draw of the same data, it knows most of the pictures that are reported."""
    second = run(capfd, tmp_path / "7", "train", *TINY, f"data.root={data}", *DRAWN, "split.seed=7", *FIT)
    reranker = ("reranker=cross_backbone", f"reranker.ckpt={second.folder}")
    of_both = ("evaluate", f"ckpt={fitted.folder}", *reranker, *FIT[2:])
    for task in ((), ("task=tune_weights",)):
        ran = run(capfd, tmp_path / "out", *of_both, *task)
        assert ran.status == 0, ran.err
        assert "pictures of this part were learned from, or chosen by, when a checkpoint at work was trained" in ran.out
        assert numbers(ran)["without_look_alikes"]["look_alikes"] > 0  # type: ignore[operator]
    off = run(capfd, tmp_path / "out", *of_both, "reranker.weight=0")
    assert "were learned from" not in off.out, "it has no share in these numbers"


def test_what_the_start_of_a_fit_learned_from_is_told_of_its_end_too(
    capfd: Capture, tmp_path: Path, fitted: Ran
) -> None:
    """Fitted further on another draw of the same data; and again when the first checkpoint is gone."""
    end = run(capfd, tmp_path / "out", "train", f"ckpt={fitted.folder}", *DRAWN, "split.seed=7", *FIT)
    again = run(capfd, tmp_path / "out", "evaluate", f"ckpt={end.folder}", *FIT[2:])
    for ran in (end, again):
        assert ran.status == 0, ran.err
        assert "pictures of this part were learned from, or chosen by, when a checkpoint at work was trained" in ran.out
    assert again.file("metrics.json") == end.file("metrics.json")
    fitted.folder.rename(tmp_path / "gone")
    alone = run(capfd, tmp_path / "out", "evaluate", f"ckpt={end.folder}", *FIT[2:])
    assert alone.status == 0, alone.err
    said = alone.out.replace("\n", " ")
    assert f"had learned from cannot be told: ckpt={fitted.folder}" in said, said


def test_what_is_known_of_one_checkpoint_is_said_whatever_is_not_of_another(
    capfd: Capture, tmp_path: Path, fitted: Ran
) -> None:
    """Whose reranker was fitted on data that are gone, its own checkpoint may yet have learned from what it reports."""
    other = (f"data.root={write_data(tmp_path / 'other', 60)}", "data.name=other")
    gone = run(capfd, tmp_path / "of", "train", *TINY, *other, *DRAWN, *FIT)
    shutil.rmtree(tmp_path / "other")
    both = (f"ckpt={fitted.folder}", "reranker=cross_backbone", f"reranker.ckpt={gone.folder}")
    ran = run(capfd, tmp_path / "out", "evaluate", *both, "split.seed=7", *FIT[2:])
    assert ran.status == 0, ran.err
    assert "pictures of this part were learned from, or chosen by, when a checkpoint at work was trained" in ran.out
    assert "Whether further pictures of this part" in ran.out
    assert numbers(ran)["without_look_alikes"]["look_alikes"] > 0  # type: ignore[operator]


def test_jobs_of_a_sweep_look_it_up_once(
    capfd: Capture, tmp_path: Path, fitted: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, real = [], learned.look_up
    monkeypatch.setattr(learned, "look_up", lambda session, own: looked.append(own.digest) or real(session, own))
    asked = ("-m", f"ckpt={fitted.folder}", "top_k=5,6", "split.seed=1,2")
    swept = run(capfd, tmp_path, "evaluate", *asked, *FIT[2:])
    assert swept.status == 0, swept.err
    assert len(looked) == 2, "another split is another question, another search is none"
