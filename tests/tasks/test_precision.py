"""The precision that `encode.precision=auto` stands for: a job is kept by it, and what is made from the job has it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from picdesk.embedding import forward
from picdesk.report.manifest import Manifest
from tests.doors import Ran, run
from tests.rerankers.stub_server import serving
from tests.tiny import Tiny, write_data

Capture = pytest.CaptureFixture[str]
PICTURES = 40


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with units for bf16, a backbone whose drift was measured, and few pictures that are many."""
    units(monkeypatch, True)
    monkeypatch.setattr(forward, "MANY", PICTURES)
    monkeypatch.setattr(Tiny, "drift", "it moved nothing to speak of")


def units(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(forward, "has_bf16_units", lambda: there)


def door(capfd: Capture, folder: Path, name: str, *overrides: str, pictures: int = PICTURES) -> Ran:
    data = write_data(folder / f"data{pictures}", pictures)
    which = ("data=parquet", f"data.root={data}", "data.caption_column=caption", "backbone._target_=tests.tiny.Tiny")
    ran = run(
        capfd, folder / "out", name, *which, f"paths.store={folder / 'store'}", "bootstrap.resamples=20", *overrides
    )
    assert ran.status == 0, ran.err
    return ran


def precision(ran: Ran) -> str:
    """What the job was kept by, in its config and in its manifest, which agree."""
    kept = yaml.safe_load(ran.file("config.yaml"))["encode"]["precision"]
    assert json.loads(Manifest.read(ran.folder / "manifest.json").settings["encode.precision"]) == kept
    return str(kept)


@pytest.mark.usefixtures("quick")
def test_many_pictures_are_encoded_in_bf16_and_few_in_fp32(capfd: Capture, tmp_path: Path) -> None:
    many = door(capfd, tmp_path, "evaluate", "split=all", "part=all")
    assert precision(many) == "bf16"
    assert "encode.precision=auto: bf16, as 40 pictures" in many.out + many.err
    assert "it moved nothing to speak of" in many.out + many.err
    few = door(capfd, tmp_path, "evaluate", "split=all", "part=all", pictures=PICTURES - 1)
    assert precision(few) == "fp32"
    assert "encode.precision=auto" not in few.out + few.err
    assert precision(door(capfd, tmp_path, "evaluate", "split=all", "part=all", "encode.precision=fp32")) == "fp32"


@pytest.mark.usefixtures("quick")
def test_a_part_is_encoded_as_the_whole(capfd: Capture, tmp_path: Path) -> None:
    """Else what a model learned from would be encoded otherwise than what it is asked for."""
    assert precision(door(capfd, tmp_path, "evaluate", "split=random_80_10_10", "part=test")) == "bf16"


def test_what_was_done_in_bf16_goes_on_in_it_where_auto_is_fp32(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    query = ("split=all", "query=red blue picture 7", f"save_index={tmp_path / 'index'}")
    made = door(capfd, tmp_path, "retrieve", *query)
    fitted = door(capfd, tmp_path, "train", "trainer.max_epochs=1")
    assert (precision(made), precision(fitted)) == ("bf16", "bf16")
    units(monkeypatch, False)
    shutil.rmtree(tmp_path / "store")
    query, evaluated = "query=red blue picture 7", fitted.folder / "manifest.json"
    ways = [("retrieve", f"index_dir={tmp_path / 'index'}", query), ("evaluate", f"ckpt={fitted.folder}")]
    for name, *overrides in [*ways, *((*way, "encode.precision=auto") for way in ways)]:
        ran = run(capfd, tmp_path / "out", name, *overrides, f"paths.store={tmp_path / 'store'}")
        assert ran.status == 0, ran.err
        assert precision(ran) == "bf16"
        evaluated = ran.folder / "manifest.json" if name == "evaluate" else evaluated
    again = run(capfd, tmp_path / "out", "evaluate", f"reproduce={evaluated}", f"paths.store={tmp_path / 'store'}")
    assert again.status == 0, again.err
    for name in ("metrics.json", "run.trec"):
        assert again.file(name) == (evaluated.parent / name).read_bytes(), "the same digits, where auto is fp32"


@pytest.mark.usefixtures("quick")
def test_what_nobody_measured_is_encoded_in_fp32(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ("split=all", "part=all")
    trained = door(capfd, tmp_path, "train", "trainer.max_epochs=1", "encode.precision=fp32")
    crossed = ("reranker=cross_backbone", f"reranker.ckpt={trained.folder}", "reranker.weight=0.5")
    assert precision(door(capfd, tmp_path, "evaluate", *whole, *crossed)) == "fp32"
    assert precision(door(capfd, tmp_path, "evaluate", *whole, "+trainer.num_nodes=2")) == "fp32"
    monkeypatch.setattr(forward, "REPORTED", PICTURES - 1)
    assert precision(door(capfd, tmp_path, "evaluate", *whole)) == "fp32", "their error bars would see it"


def test_an_index_in_bf16_of_a_checkpoint_in_fp32_is_asked_in_bf16(capfd: Capture, tmp_path: Path) -> None:
    """`auto` stands for how the gallery was encoded, whatever the checkpoint was made with."""
    fitted = door(capfd, tmp_path, "train", "trainer.max_epochs=1")
    built = door(
        capfd, tmp_path, "retrieve", "task=index_build", f"ckpt={fitted.folder}", f"index_dir={tmp_path / 'index'}",
        "encode.precision=bf16",
    )  # fmt: skip
    assert built.status == 0
    for more in ((), ("encode.precision=auto",)):
        asked = run(
            capfd, tmp_path / "out", "retrieve", f"index_dir={tmp_path / 'index'}", "query=red", *more,
            f"paths.store={tmp_path / 'store'}",
        )  # fmt: skip
        assert asked.status == 0, asked.err
        assert precision(asked) == "bf16"


def test_jobs_that_encode_nothing_are_kept_by_a_precision_too(capfd: Capture, tmp_path: Path, quick: None) -> None:
    made = door(capfd, tmp_path, "evaluate", "split=all", "part=all")
    files = (
        f"run_file={made.folder / 'run.trec'}",
        f"qrels_file={made.folder / 'qrels.trec'}",
        "bootstrap.resamples=20",
    )
    scored = run(capfd, tmp_path / "out", "evaluate", *files)
    assert scored.status == 0, scored.err
    assert precision(scored) == "fp32"
    (tmp_path / "asked.csv").write_text("article_id,article_title,article_tags\nn0,Headline,topic\n")
    with serving(lambda number, request: json.dumps({"captions": ["seen", "another"]})) as stub:
        model = ("language_model.model=stub", f"language_model.base_url={stub.url}", "writing.count=2")
        elsewhere = ("data=newsimages", f"data.root={tmp_path / 'nowhere'}")
        asked = ("task=write_captions", f"queries={tmp_path / 'asked.csv'}", *model, *elsewhere)
        written = run(capfd, tmp_path / "out", "retrieve", *asked)
    assert written.status == 0, written.err
    (kept,) = (tmp_path / "out").rglob("captions.json")
    assert precision(Ran(0, "", "", kept.parent)) == "fp32"


@pytest.mark.usefixtures("quick")
def test_jobs_of_a_sweep_are_kept_by_it_and_skipped_by_it(capfd: Capture, tmp_path: Path) -> None:
    sweep = (
        "split=all",
        "part=all",
        "-m",
        "seed=0,1",
        "hydra.sweep.dir=" + str(tmp_path / "sweep"),
        "skip_completed=true",
    )
    door(capfd, tmp_path, "evaluate", *sweep)
    configs = list((tmp_path / "sweep").glob("*/config.yaml"))
    assert [yaml.safe_load(path.read_text())["encode"]["precision"] for path in configs] == ["bf16", "bf16"]
    again = door(capfd, tmp_path, "evaluate", *sweep)
    assert (again.out + again.err).count("done before: ") == 2
