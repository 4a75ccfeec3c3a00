"""`forget_on=`: a second data set is scored before and after the fit, and stands beside the gain."""

import json
from pathlib import Path

import pytest

from tests.doors import run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


def settings(folder: Path, other: Path) -> tuple[str, ...]:
    fit = ("trainer.max_epochs=2", "training.batch_size=16", "bootstrap.resamples=20", "optimizer.lr=0.1")
    data = ("data=parquet", f"data.root={folder}", "data.caption_column=caption", "prompt=caption")
    own = ("data.caption_column=caption", "data.title_column=null", "data.tags_column=null")
    gate = ("forget_on=demo", f"forget_on.data.root={other}", "forget_on.data.file=tiny.parquet")
    gate += (*(f"forget_on.{setting}" for setting in own), "~forget_on.data.more_columns")
    return (*data, *fit, *gate, "backbone._target_=tests.tiny.Tiny")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    def reworded(captions: list[str], contents: list[bytes]) -> None:
        captions[:] = [f"{text[::-1]} once more" for text in captions]

    return write_data(tmp_path / "one"), write_data(tmp_path / "other", pictures=30, change=reworded)


def test_what_was_gained_and_what_was_lost(capfd: Capture, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    ran = run(capfd, tmp_path / "out", "train", *settings(*folders))
    assert ran.status == 0, ran.err
    metrics = json.loads(ran.file("metrics.json"))
    second = metrics["forget_on"]
    assert (second["data"], second["part"]) == ("demo", "test")
    assert second["before"]["t2i"]["gallery"] == second["after"]["t2i"]["gallery"] == 6, "a fifth of 30"
    assert second["before"] != second["after"]
    was, now = (second[side]["t2i"]["hits@1"] for side in ("before", "after"))
    line = f"demo (forget_on): t2i hits@1 {was:.3f} to {now:.3f} ({now - was:+.3f})"
    compared = json.loads(ran.file("manifest.json"))["compared"]
    gained = (compared["before"]["t2i/hits@1"], metrics["t2i"]["metrics"]["hits@1"])
    told = f"parquet (trained on): t2i hits@1 {gained[0]:.3f} to {gained[1]:.3f} ({gained[1] - gained[0]:+.3f})"
    page = ran.file("index.html").decode()
    for text in (ran.out, page):
        assert line in text.replace("\n", " ")
        assert told in text.replace("\n", " ")
        assert "Text to picture, second data set demo" in text
    assert (compared["forget_on before"]["t2i/hits@1"], compared["forget_on after"]["t2i/hits@1"]) == (was, now)


def test_the_second_data_set_is_part_of_what_makes_a_job_the_same(
    capfd: Capture, tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    given = (*settings(*folders), "trainer.max_epochs=1")
    run(capfd, tmp_path / "out", "train", *given)
    same = run(capfd, tmp_path / "out", "train", *given, "skip_completed=true")
    assert "done before" in same.out

    def other_words(captions: list[str], contents: list[bytes]) -> None:
        captions[0] += " !"

    write_data(folders[1], pictures=30, change=other_words)
    changed = run(capfd, tmp_path / "out", "train", *given, "skip_completed=true")
    assert "done before" not in changed.out


def test_without_it_nothing_is_said(capfd: Capture, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    given = [setting for setting in settings(*folders) if "forget_on" not in setting]
    ran = run(capfd, tmp_path / "out", "train", *given, "trainer.max_epochs=1")
    assert ran.status == 0, ran.err
    assert "forget_on" not in json.loads(ran.file("metrics.json"))
    assert "second data set" not in ran.out
