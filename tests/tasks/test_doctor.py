"""What a job will need, told before it begins."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.backbones.tiny_models import make
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


def told_needs(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(next(ran.folder.rglob("doctor.json")).read_text())
    return found


def test_what_is_missing_is_told_at_once_with_what_to_do(capfd: Capture, tmp_path: Path) -> None:
    asked = ("task=doctor", "experiment=system_a", f"paths.data_root={tmp_path}", "queries=none.csv")
    ran = run(capfd, tmp_path / "out", "evaluate", *asked)
    assert ran.status == 1
    found = {need["what"]: need for need in told_needs(ran)}
    weights = found["the weights laion2b_s39b_b160k of ViT-bigG-14"]
    assert not weights["there"]
    assert "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k" in weights["remedy"]
    assert weights["size"] == pytest.approx(10.16e9, rel=0.01)
    assert "give reranker.model=FOLDER" in found["the model Salesforce/blip-itm-base-coco"]["remedy"]
    assert not found["the folder of the data set"]["there"]
    assert not found["what it names"]["there"]
    assert found["the device cpu"]["there"]
    assert "missing: the folder of the data set (data.root)" in ran.err + ran.out
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_brackets_in_a_name_are_only_that(capfd: Capture, tmp_path: Path) -> None:
    outputs = tmp_path / "out[/b]"
    asked = ("task=doctor", "data=folder", f"data.root={tmp_path}/[bold]")
    ran = run(capfd, outputs, "evaluate", *asked)
    assert ran.status == 1
    assert "out[/b]" in "".join(part.strip("│ ") for part in ran.out.split())


def test_nothing_is_missing_where_everything_is_there(capfd: Capture, tmp_path: Path) -> None:
    model = make("clip", tmp_path / "clip")
    (tmp_path / "pictures").mkdir()
    data = ("data=folder", f"data.root={tmp_path / 'pictures'}", "split=all")
    ran = run(
        capfd, tmp_path / "out", "evaluate", "task=doctor", *data, "backbone=transformers", f"backbone.model={model}"
    )
    assert ran.status == 0, ran.out
    found = {need["key"]: need for need in told_needs(ran)}
    assert found["backbone.model"]["size"] == (model / "model.safetensors").stat().st_size
    open_one = run(capfd, tmp_path / "open", "evaluate", "task=doctor", "data=csv", "backbone=lite")
    assert open_one.status == 1
    assert {need["key"] for need in told_needs(open_one) if not need["there"]} == {"data.root"}


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("reranker=vlm_judge", "language_model=endpoint"), "reranker.language_model.key_variable"),
        (("reranker=cross_encoder",), "reranker.model"),
        (("reranker=several", "reranker.use=[itm]"), "reranker.parts.itm.model"),
        (("backbone=sentence_transformers",), "backbone.model"),
        (("encode.device=cuda:9",), "encode.device"),
    ],
)
def test_each_part_says_what_it_lacks(
    capfd: Capture, tmp_path: Path, overrides: tuple[str, ...], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    ran = run(capfd, tmp_path / "out", "evaluate", "task=doctor", *overrides)
    assert ran.status == 1
    assert key in {need["key"] for need in told_needs(ran) if not need["there"]}


def test_what_a_checkpoint_brings_counts_as_the_configs_own(capfd: Capture, tmp_path: Path) -> None:
    model, out = make("clip", tmp_path / "clip"), tmp_path / "out"
    data = ("data=parquet", "data.caption_column=caption", f"data.root={write_data(tmp_path / 'data', 60)}")
    fit = ("trainer.max_epochs=1", "training.batch_size=16", "bootstrap.resamples=50")
    own = ("backbone=transformers", f"backbone.model={model}")
    fitted = run(capfd, out, "train", *data, *own, *fit, "hydra.run.dir=" + str(out / "sweep" / "job"))
    assert fitted.status == 0, fitted.err
    weights = out / "sweep" / "job" / "checkpoint" / "model.safetensors"
    assert weights.is_file()
    no_sweep = run(capfd, out, "evaluate", "task=doctor", "ckpt=best", f"hydra.run.dir={tmp_path / 'none'}")
    assert no_sweep.status == 1
    assert "missing: the checkpoint (ckpt): ckpt=best: no sweep of train.py" in no_sweep.err + no_sweep.out
    (out / "sweep" / "multirun.yaml").touch()
    for ckpt in ("latest", "best", str(out / "sweep")):
        ran = run(capfd, out, "evaluate", "task=doctor", f"ckpt={ckpt}", f"hydra.run.dir={tmp_path / 'doctor'}")
        assert ran.status == 0, ran.out
        found = {need["key"]: need for need in json.loads((tmp_path / "doctor" / "doctor.json").read_text())}
        assert (found["ckpt"]["place"], found["ckpt"]["size"]) == (str(weights), weights.stat().st_size)
        assert found["backbone.model"]["place"] == str(model)
        assert found["data.root"]["place"] == str(tmp_path / "data")
    shutil.rmtree(model)
    gone = run(capfd, tmp_path / "gone", "evaluate", "task=doctor", f"ckpt={weights}")
    assert gone.status == 1
    assert {need["key"] for need in told_needs(gone) if not need["there"]} == {"backbone.model"}
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    damaged = run(capfd, tmp_path / "damaged", "evaluate", "task=doctor", f"ckpt={weights}", "data=demo")
    found = {need["key"]: need for need in told_needs(damaged)}
    assert "changed or damaged since it was saved" in found["ckpt"]["remedy"]


@pytest.mark.parametrize("ckpt", ["latest", "best", "nowhere"])
def test_no_checkpoint_is_one_more_thing_that_is_missing(capfd: Capture, tmp_path: Path, ckpt: str) -> None:
    reranker = ("reranker=cross_backbone", f"reranker.ckpt={ckpt}")
    ran = run(capfd, tmp_path / "out", "evaluate", "task=doctor", f"ckpt={ckpt}", *reranker, "data=csv")
    assert ran.status == 1
    missing = {need["key"]: need["remedy"] for need in told_needs(ran) if not need["there"]}
    assert missing.keys() == {"data.root", "ckpt", "reranker.ckpt"}
    assert missing["ckpt"].startswith(f"ckpt={ckpt}: no ")
