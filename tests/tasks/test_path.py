"""The whole path, as a user walks it: train, evaluate, score the files again, sweep, retrieve."""

import json
from pathlib import Path

import pytest

from picdesk.report.manifest import Manifest
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]


def test_training_leaves_what_reproduces_it(trained: Ran) -> None:
    assert trained.status == 0, trained.err
    assert {"config.yaml", "metrics.json", "manifest.json", "run.trec", "qrels.trec", "index.html", "checkpoint"} <= {
        path.name for path in trained.folder.iterdir()
    }
    manifest = Manifest.read(trained.folder / "manifest.json")
    manifest.check_files(trained.folder)
    assert manifest.counts["images_encoded"] + manifest.counts["images_reused"] >= 120
    for row in ("untrained", "trained", "chance", "hits@1", "median rank"):
        assert row in trained.out
    assert str(trained.folder / "index.html") in trained.out
    assert "epoch  0" in trained.out, "the start is scored before the first step"


def test_a_fit_cut_short_within_its_first_epoch_is_scored(
    capfd: Capture, outputs: Path, settings: tuple[str, ...]
) -> None:
    ran = run(capfd, outputs, "train", *settings, "+trainer.max_steps=1")
    assert ran.status == 0, ran.err
    assert [line[:8] for line in ran.out.splitlines() if "val hits@1" in line] == ["epoch  0", "epoch  1"]


def test_evaluate_gives_the_metrics_that_training_printed(capfd: Capture, outputs: Path, trained: Ran) -> None:
    again = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", "bootstrap.resamples=200")
    assert again.status == 0, again.err
    assert again.folder != trained.folder
    assert again.file("metrics.json") == trained.file("metrics.json")
    assert again.file("run.trec") == trained.file("run.trec")


def test_the_files_alone_give_them_once_more(capfd: Capture, outputs: Path, trained: Ran) -> None:
    files = (f"run_file={trained.folder}/run.trec", f"qrels_file={trained.folder}/qrels.trec")
    again = run(capfd, outputs, "evaluate", *files, "bootstrap.resamples=200")
    assert again.status == 0, again.err
    found, reported = (json.loads(ran.file("metrics.json")) for ran in (again, trained))
    reported.pop("without_look_alikes")  # files do not say what was learned from
    assert found == reported


@pytest.mark.parametrize("model", [True, False])
def test_narrower_intervals_are_told(capfd: Capture, outputs: Path, trained: Ran, model: bool) -> None:
    files = (f"run_file={trained.folder}/run.trec", f"qrels_file={trained.folder}/qrels.trec")
    asked = (f"ckpt={trained.folder}",) if model else files
    ran = run(capfd, outputs, "evaluate", *asked, "bootstrap.resamples=200", "bootstrap.level=0.5")
    assert ran.status == 0, ran.err
    for told in (ran.out + ran.err, ran.file("index.html").decode()):
        assert told.count("intervals of the metrics are of 0.5, as bootstrap.level has it") == 1


def test_same_seed_same_bytes_other_seed_others(
    capfd: Capture, outputs: Path, settings: tuple[str, ...], trained: Ran
) -> None:
    twin = run(capfd, outputs, "train", *settings)
    other = run(capfd, outputs, "train", *settings, "seed=1")
    for name in ("metrics.json", "run.trec", "checkpoint/model.safetensors"):
        assert twin.file(name) == trained.file(name)
        assert other.file(name) != trained.file(name)


def test_nothing_is_encoded_twice(capfd: Capture, outputs: Path, trained: Ran) -> None:
    again = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", "top_k=12")
    assert Manifest.read(again.folder / "manifest.json").counts["images_encoded"] == 0
    assert Manifest.read(again.folder / "manifest.json").counts["texts_encoded"] == 0


def test_a_sweep_gives_a_job_each(capfd: Capture, outputs: Path, trained: Ran) -> None:
    swept = run(
        capfd, outputs, "evaluate", "-m", "index=flat", "prompt=title,headline_topics", f"ckpt={trained.folder}"
    )
    assert swept.status == 0, swept.err
    folders = sorted(path for path in swept.folder.parent.iterdir() if path.is_dir())
    assert len(folders) == 2
    one, two = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    assert one["t2i"]["metrics"]["queries"] == two["t2i"]["metrics"]["queries"]
    assert one != two


def test_retrieve_writes_what_it_found(capfd: Capture, outputs: Path, trained: Ran, tmp_path: Path) -> None:
    file = tmp_path / "headlines.csv"
    file.write_text("id,title,tags\na1,A cat sits on the mat,cat;animal\na2,Storm over the harbour,\n")
    found = run(capfd, outputs, "retrieve", f"ckpt={trained.folder}", f"queries={file}", "top_k=3")
    assert found.status == 0, found.err
    results = json.loads(found.file("results.json"))
    assert [row["query_id"] for row in results] == ["a1", "a2"]
    assert [len(row["results"]) for row in results] == [3, 3]
    assert found.file("run.trec").startswith(b"t2i/a1 Q0 ")
    page = found.file("index.html").decode()
    assert "A cat sits on the mat" in page
    assert 'src="http' not in page


def test_retrieve_finds_texts_for_a_picture(capfd: Capture, outputs: Path, trained: Ran, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (90, 60), "red").save(tmp_path / "red.png")
    found = run(capfd, outputs, "retrieve", f"ckpt={trained.folder}", f"image={tmp_path / 'red.png'}", "top_k=4")
    assert found.status == 0, found.err
    assert len(json.loads(found.file("results.json"))[0]["results"]) == 4
    assert found.file("run.trec").startswith(b"i2t/q1 Q0 ")


def test_an_untrained_backbone_says_so(capfd: Capture, outputs: Path, settings: tuple[str, ...]) -> None:
    plain = run(capfd, outputs, "evaluate", settings[0])
    assert plain.status == 0, plain.err
    assert "untrained" in plain.out


def test_check_reports_and_encodes_nothing(capfd: Capture, outputs: Path, settings: tuple[str, ...]) -> None:
    looked = run(capfd, outputs, "evaluate", "task=check", settings[0])
    assert looked.status == 0, looked.err
    (report,) = outputs.glob("check/*/*/check.json")
    assert json.loads(report.read_text())["pictures"] == {"seen": 120, "kept": 120}


def test_loggers_are_given_the_ends_of_every_interval() -> None:
    from picdesk.evaluation.statistics import Interval
    from picdesk.retrieval.scores import Scored, flat_metrics

    one = Scored(None, None, None, {"hits@1": 0.4, "mrr": 0.5}, {"hits@1": Interval(0.4, 0.3, 0.5)})  # type: ignore[arg-type]
    assert flat_metrics({"t2i": one}) == {
        "t2i/hits@1": 0.4,
        "t2i/mrr": 0.5,
        "t2i/hits@1_low": 0.3,
        "t2i/hits@1_high": 0.5,
        "hits@1": 0.4,
    }
