"""`evaluate.py task=encode`: the store is filled, by one process or by two ranks under Lightning, with the same features."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from picdesk.embedding.upkeep import verify
from picdesk.report.manifest import Manifest
from tests.conftest import PROJECT
from tests.data.samples import encode_image, put, put_csv
from tests.doors import run

Capture = pytest.CaptureFixture[str]


def job(folder: Path, store: str, *overrides: str) -> Path:
    """One door in a process of its own; the output dir of its job."""
    out = folder / "out" / "-".join([store, *overrides[:1]]).replace("=", "-")
    places = (f"paths.outputs={out}", f"paths.store={folder / store}", "logger=none", "bootstrap.resamples=50")
    command = [sys.executable, "evaluate.py", *overrides, *places]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    (manifest,) = out.rglob("manifest.json")
    return manifest.parent


@pytest.mark.slow
def test_two_ranks_fill_the_store_as_one_process_does(tmp_path: Path, small_data: Path) -> None:
    data = (f"data.root={small_data}", "part=all")
    one = job(tmp_path, "one", "task=encode", *data)
    two = job(tmp_path, "two", "task=encode", *data, "trainer=ddp", "trainer.devices=2")
    counts = [Manifest.read(folder / "manifest.json").counts for folder in (one, two)]
    assert counts[0] == counts[1]
    assert counts[0]["images_encoded"] > 100
    scored = [job(tmp_path, store, "task=evaluate", *data[:1], "split=all") for store in ("one", "two")]
    for folder in scored:
        again = Manifest.read(folder / "manifest.json").counts
        assert (again["images_encoded"], again["texts_encoded"]) == (0, 0)
    assert (scored[0] / "run.trec").read_bytes() == (scored[1] / "run.trec").read_bytes()
    assert [fault for path in (tmp_path / "two").iterdir() if path.is_dir() for fault in verify(path)] == []


def test_encoding_alone_leaves_nothing_to_encode(capfd: Capture, tmp_path: Path, small_data: Path) -> None:
    settings = (f"data.root={small_data}", f"paths.store={tmp_path / 'store'}", "backbone._target_=tests.tiny.Tiny")
    ran = run(capfd, tmp_path / "out", "evaluate", "task=encode", "part=test", *settings)
    assert ran.status == 0, ran.err
    assert "encoded 24 pictures and 24 texts on 1 ranks" in ran.out
    scored = run(capfd, tmp_path / "out", "evaluate", *settings, "bootstrap.resamples=50")
    counts = json.loads(scored.file("manifest.json"))["counts"]
    assert (counts["images_encoded"], counts["texts_encoded"]) == (0, 0)


def test_a_picture_above_max_pixels_is_refused_when_it_is_encoded(
    capfd: Capture, tmp_path: Path, small_data: Path
) -> None:
    settings = (f"data.root={small_data}", f"paths.store={tmp_path / 'store'}", "encode.max_pixels=100")
    ran = run(capfd, tmp_path / "out", "evaluate", "task=encode", *settings)
    assert ran.status == 2
    assert re.search(r"picture '\S+': \d+x\d+ is more than 100 pixels; check=full leaves such pictures out", ran.err)


@pytest.mark.parametrize(("prompt", "left"), [("title", "1.png#0"), ("caption", "0.png#0")])
def test_the_check_goes_by_the_prompt_of_the_config(capfd: Capture, tmp_path: Path, prompt: str, left: str) -> None:
    for n in range(4):
        put(tmp_path / f"{n}.png", encode_image(Image.new("RGB", (8, 8), (n, n, n))))
    rows = [("0.png", "", "a"), ("1.png", "b", ""), ("2.png", "c", "c"), ("3.png", "d", "d")]
    put_csv(tmp_path / "t.csv", ["image", "caption", "title"], rows)
    data = ("data=csv", f"data.root={tmp_path}", "data.file=t.csv", "data.title_column=title", "split=all")
    places = (f"paths.store={tmp_path / 'store'}", "data.max_bad_fraction=0.5")
    ran = run(capfd, tmp_path / "out", "evaluate", "task=check", *data, *places, f"prompt={prompt}")
    assert ran.status == 0, ran.err
    (report,) = (tmp_path / "out").rglob("check.json")
    found = {one["kind"]: one["items"] for one in json.loads(report.read_text())["findings"]}
    assert found["texts that the prompt leaves empty"] == [left]


def test_texts_that_the_model_does_not_see_are_told_everywhere(capfd: Capture, tmp_path: Path) -> None:
    for n in range(6):
        put(tmp_path / f"{n}.png", encode_image(Image.new("RGB", (8, 8), (40 * n, n, n))))
    long = "a small boat lies on the sand of a wide bay " * 20
    texts = [long, f"{long} at night", "\U0001f9ff", "\U0001f3f4 \U0001f9ff", "two dogs", "three cats"]
    put_csv(tmp_path / "t.csv", ["image", "caption"], [(f"{n}.png", text) for n, text in enumerate(texts)])
    data = ("data=csv", f"data.root={tmp_path}", "data.file=t.csv", "split=all", "part=all", "prompt=caption")
    data = (*data, f"paths.store={tmp_path / 'store'}", "bootstrap.resamples=20")
    looked = run(capfd, tmp_path / "out", "evaluate", "task=check", *data)
    assert looked.status == 0, looked.err
    (report,) = (tmp_path / "out").rglob("check.json")
    kinds = {one["kind"]: (one["items"], one["action"]) for one in json.loads(report.read_text())["findings"]}
    (cut,) = [found for kind, found in kinds.items() if kind.startswith("text longer than the 128 tokens that lite(")]
    (unknown,) = [found for kind, found in kinds.items() if kind.startswith("text of tokens that are unknown to lite(")]
    assert cut == (["0.png#0", "1.png#0"], "reported")
    assert unknown == (["2.png#0", "3.png#0"], "reported")
    told = "2 of 6 texts are longer than the 128 tokens that lite("
    for _ in range(2):  # the second time out of the store
        ran = run(capfd, tmp_path / "out", "evaluate", *data)
        assert ran.status == 0, ran.err
        assert told in ran.out
        assert json.loads(ran.file("manifest.json"))["counts"]["texts_cut"] == 2
        assert json.loads(ran.file("manifest.json"))["counts"]["texts_unknown"] == 2
        assert told in ran.file("index.html").decode()
    asked = run(capfd, tmp_path / "out", "retrieve", *data, f"query={long}")
    assert asked.status == 0, asked.err
    assert "1 of 1 texts is longer than the 128 tokens" in asked.out
