"""Rerankers beside the other parts of a door: thresholds, submissions, saved indexes, tasks in which they have no share."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from picdesk.assembly.session import Session
from picdesk.report.manifest import Manifest
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.tiny import Tiny, write_data

Capture = pytest.CaptureFixture[str]
QUERY = "query=red blue picture 7"
OTHER = ("reranker=generated_captions", "reranker.backbone._target_=tests.tasks.test_rerankers_at_the_doors.Other")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Other(Tiny):
    """A second tiny backbone, which counts how often it is built."""

    built = 0

    def __init__(self, **of_lite: Any) -> None:
        super().__init__(seed=5, trunk_seed=9)
        self.name = "other"
        Other.built += 1


class ByCaptions(Tiny):
    """A backbone for which a picture is what is said of it."""

    by_captions = True


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    data = write_data(tmp_path / "data", 40)
    table = ("data=parquet", f"data.root={data}", "data.file=tiny.parquet", "data.caption_column=caption")
    return (*table, "backbone._target_=tests.tiny.Tiny", "split=random_70_15_15", "bootstrap.resamples=200")


def ids(ran: Ran) -> list[str]:
    assert ran.status == 0, ran.err + ran.out
    return [item["id"] for item in json.loads(ran.file("results.json"))[0]["results"]]


def test_min_score_is_a_similarity_also_where_the_list_is_reranked(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    plain = run(capfd, tmp_path / "out", "retrieve", *tiny, QUERY, "top_k=20")
    scores = [item["score"] for item in json.loads(plain.file("results.json"))[0]["results"]]
    threshold = f"min_score={(scores[4] + scores[5]) / 2}"
    reranked = run(capfd, tmp_path / "out", "retrieve", *tiny, QUERY, "top_k=20", threshold, *OTHER)
    assert len(ids(reranked)) == 5
    assert set(ids(reranked)) == set(ids(plain)[:5])


def test_a_submission_has_no_picture_that_was_not_found(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    (tmp_path / "q.csv").write_text("id,title\na1,red\n")
    asked = (f"queries={tmp_path / 'q.csv'}", "submission.group=desk")
    ran = run(capfd, tmp_path / "out", "retrieve", *tiny, *asked, "min_score=0.999")
    assert ran.status == 2
    assert "leave min_score out" in ran.err
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_saved_index_is_reranked_as_its_data_set_is(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    picture = tmp_path / "asked.png"
    Image.new("RGB", (12, 12), (200, 40, 90)).save(picture)
    prompt = ("prompt=template", 'prompt.template="a picture of {caption}"', "top_k=12", *OTHER)
    for question, name in ((QUERY, "pictures"), (f"image={picture}", "texts")):
        index = tmp_path / name
        made = run(capfd, tmp_path / "out", "retrieve", *tiny, *prompt, question, f"save_index={index}")
        again = run(capfd, tmp_path / "out", "retrieve", question, "top_k=12", *OTHER, f"index_dir={index}")
        assert ids(again) == ids(made)
        assert json.loads(again.file("results.json")) == json.loads(made.file("results.json"))


def test_only_candidates_of_a_saved_index_are_looked_up(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    index = tmp_path / "index"
    ids(run(capfd, tmp_path / "out", "retrieve", *tiny, QUERY, f"save_index={index}"))
    ran = run(capfd, tmp_path / "out", "retrieve", QUERY, "top_k=3", *OTHER, f"index_dir={index}")
    counts = Manifest.read(ran.folder / "manifest.json").counts
    assert counts["images_encoded"] == counts["pairs_scored"] == 3
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "q.csv").write_text("id,title\na1,red\n")
    for wanted in (OTHER, ("submission.group=desk",)):
        asked = f"queries={tmp_path / 'q.csv'}"
        gone = run(capfd, tmp_path / "out", "retrieve", asked, "top_k=3", *wanted, f"index_dir={index}")
        one_line(gone, "its data set cannot be read", "name it: data=")


@pytest.mark.parametrize(
    "task", [("task=tune_index",), ("task=captioner", "backbone=sentences"), ("run_file=a.trec", "qrels_file=b.trec")]
)
def test_a_reranker_without_a_share_is_refused(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], task: tuple[str, ...]
) -> None:
    one_line(run(capfd, tmp_path / "out", "evaluate", *tiny, *task, *OTHER), "has no share in it")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("reranker.weight=1.5", "reranker.weight=1.5: must lie in [0, 1]"),
        ("reranker.weight=much", "reranker.weight=much"),
        ("reranker.weight=null", "reranker.weight=None"),
        ("reranker.top_k=0", "reranker.top_k=0"),
        ("reranker.top_k=2.5", "reranker.top_k=2.5: a whole number"),
        ("reranker.top_k=[2]", "reranker.top_k=[2]: a whole number"),
        ("reranker.ckpt=nowhere", "reranker.ckpt=nowhere"),
        ("fusion.normalisation=sum", "fusion.normalisation=sum"),
    ],
)
@pytest.mark.parametrize("door", ["evaluate", "retrieve"])
def test_a_mistake_in_a_reranker_is_told_before_anything_is_encoded(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], door: str, wrong: str, words: str
) -> None:
    asked = (QUERY, f"save_index={tmp_path / 'index'}") if door == "retrieve" else ()
    ran = run(capfd, tmp_path / "out", door, *tiny, *asked, *OTHER, wrong)
    one_line(ran, words)
    assert not list((tmp_path / "out").rglob("*.npy"))
    assert not (tmp_path / "index").exists()


def test_a_reranker_is_built_once_a_job(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    Other.built = 0
    assert run(capfd, tmp_path / "out", "evaluate", *tiny, *OTHER).status == 0
    assert Other.built == 1
    assert run(capfd, tmp_path / "out", "evaluate", *tiny, *OTHER, "task=tune_weights").status == 0
    assert Other.built == 2


def test_fusion_single_asks_no_reranker(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    plain = run(capfd, tmp_path / "out", "evaluate", *tiny)
    single = run(capfd, tmp_path / "out", "evaluate", *tiny, *OTHER, "fusion=single", "shown=3", "shown=4")
    assert "shown stands 2 times on the command line: the last counts, shown=4" in single.out + single.err
    assert "on the command line" not in plain.out + plain.err
    assert single.file("run.trec") == plain.file("run.trec")
    assert "pairs_scored" not in Manifest.read(single.folder / "manifest.json").counts
    assert "the reranker is not asked" in single.out + single.err


def test_a_job_with_other_captions_is_another_job(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """Settings name a file by its last part; what is in it makes the job."""
    sentences = "reranker.sentences._target_=tests.tiny.Tiny"
    found = []
    for name, text in (("one", "red picture"), ("two", "blue picture")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c.json").write_text(json.dumps({f"p{i:02}": [f"{text} {i}"] for i in range(40)}))
        said = ("reranker=captions", sentences, f"reranker.file={tmp_path / name / 'c.json'}", "skip_completed=true")
        ran = run(capfd, tmp_path / "out", "evaluate", *tiny, *said)
        assert ran.status == 0, ran.err
        found.append(Manifest.read(ran.folder / "manifest.json"))
        assert "done before" not in ran.out
    assert found[0].fingerprint != found[1].fingerprint
    assert found[0].weights["reranker.captions"] != found[1].weights["reranker.captions"]
    (tmp_path / "one" / "c.json").write_text(json.dumps({"p00": ["something else"]}))
    first = list((tmp_path / "out").rglob("manifest.json"))
    again = run(capfd, tmp_path / "out", "evaluate", f"reproduce={min(first, key=lambda p: p.stat().st_mtime_ns)}")
    one_line(again, "weights.reranker.captions is")
    job = f"reproduce={max(first, key=lambda p: p.stat().st_mtime_ns)}"
    (tmp_path / "two").rename(tmp_path / "moved")
    one_line(run(capfd, tmp_path / "out", "evaluate", job), "c.json: no such file", "beside reproduce=JOB: KEY=PLACE")
    moved = run(capfd, tmp_path / "out", "evaluate", job, f"reranker.file={tmp_path / 'moved' / 'c.json'}")
    assert moved.status == 0, moved.err


def test_captions_of_no_picture_are_said_aloud(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"elsewhere": ["red"]}))
    said = (
        "reranker=captions",
        "reranker.sentences._target_=tests.tiny.Tiny",
        f"reranker.file={tmp_path / 'c.json'}",
    )
    ran = run(capfd, tmp_path / "out", "retrieve", *tiny, QUERY, *said)
    assert "reranker captions, t2i: scores none of the" in ran.out + ran.err
    assert "pictures as 'p00', texts as 'q1'" in ran.out + ran.err, "what the file should have named"


@pytest.mark.parametrize(("door", "task"), [("evaluate", "tune_weights"), ("train", "train")])
def test_a_task_that_reports_no_folds_says_so(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], door: str, task: str
) -> None:
    of_task = ("task=tune_weights", *OTHER) if task == "tune_weights" else ("trainer.max_epochs=1",)
    ran = run(capfd, tmp_path / "out", door, *tiny, *of_task, "metrics.folds=2")
    assert ran.status == 0, ran.err
    assert f"metrics.folds=2: task={task} reports no folds; task=evaluate does" in ran.out


def test_what_a_prompt_put_into_a_query_finds_no_picture(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """The right picture has its place by the search, whatever of its own text asks."""
    file = tmp_path / "data" / "tiny.parquet"
    table = pq.read_table(file)
    pq.write_table(table.append_column("note", pa.array([f"note{i}x of it" for i in range(len(table))])), file)
    said = (*tiny, "data.more_columns.note=note", "prompt=template")
    asked = (*said, "prompt.template='{caption}, {note}'")
    lexical = ("reranker=lexical", "reranker.fields=[note]", "reranker.weight=1")
    found = {}
    for name, own in (("search", asked), ("words", (*asked, *lexical))):
        ran = run(capfd, tmp_path / "out", "evaluate", *own)
        assert ran.status == 0, ran.err
        found[name] = json.loads(ran.file("metrics.json"))["t2i"]["metrics"]["mrr"]
    assert found["words"] == found["search"]
    peeking = run(capfd, tmp_path / "out", "evaluate", *asked, *lexical, "reranker.leave_out_query=false")
    assert json.loads(peeking.file("metrics.json"))["t2i"]["metrics"]["mrr"] == 1


def test_nothing_is_chosen_on_the_test_part(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    wrong = ("tune_weights.part=test", "part=val")
    one_line(run(capfd, tmp_path / "out", "evaluate", "task=tune_weights", *tiny, *OTHER, *wrong), "choose on val")


def test_captions_as_the_gallery_are_reranked_too(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    class_of = "backbone._target_=tests.tasks.test_rerankers_at_the_doors.ByCaptions"
    plain = run(capfd, tmp_path / "out", "retrieve", *tiny, class_of, QUERY, "top_k=12")
    reranked = run(capfd, tmp_path / "out", "retrieve", *tiny, class_of, QUERY, "top_k=12", *OTHER, "reranker.weight=1")
    assert sorted(ids(reranked)) == sorted(ids(plain)[:12])
    assert ids(reranked) != ids(plain)
    assert Manifest.read(reranked.folder / "manifest.json").counts["pairs_scored"] == 12


@pytest.mark.parametrize("settings", [("top_k=12", "run_depth=10"), ("top_k=500",), ("top_k=5", "reranker.top_k=3")])
def test_depths_and_a_reranker(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    index = tmp_path / "index"
    made = run(capfd, tmp_path / "out", "retrieve", *tiny, QUERY, *OTHER, *settings, f"save_index={index}")
    again = run(capfd, tmp_path / "out", "retrieve", QUERY, *OTHER, *settings, f"index_dir={index}")
    assert len(ids(made)) == min(40, int(settings[0].partition("=")[2]))
    assert ids(again) == ids(made)


def test_the_same_name_latest_is_not_the_same_checkpoint(tmp_path: Path) -> None:
    import os

    from omegaconf import OmegaConf

    from picdesk.assembly.inherit import with_named_checkpoints

    for n, name in enumerate(("old", "new")):
        folder = tmp_path / "train" / "day" / name / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "config.yaml").write_text("backbone: {}")
        os.utime(folder / "model.safetensors", (n + 1, n + 1))
    both = {"paths": {"outputs": str(tmp_path)}, "backbone": {"text_ckpt": "latest"}}
    cfg = OmegaConf.create({**both, "reranker": {"ckpt": "latest", "weight": 0.2}})
    newest = tmp_path / "train" / "day" / "new" / "checkpoint" / "model.safetensors"
    assert with_named_checkpoints(cfg).reranker.ckpt == str(newest)
    assert cfg.backbone.text_ckpt == str(newest)
    several = {"use": ["a"], "parts": {"a": {"ckpt": str(newest.parent)}, "b": {"ckpt": "gone"}}}
    cfg = OmegaConf.create({**both, "backbone": {"text_ckpt": "export"}, "reranker": several})
    assert with_named_checkpoints(cfg).reranker.parts.a.ckpt == str(newest)
    assert cfg.reranker.parts.b.ckpt == "gone"
    assert cfg.backbone.text_ckpt == "export"


@pytest.mark.parametrize("use", ["null", "3", "[]", "[captions,captions]", "[nobody]"])
def test_a_use_that_is_no_list_of_names_is_told(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], use: str
) -> None:
    wrong = ("reranker=several", f"reranker.use={use}")
    one_line(run(capfd, tmp_path / "out", "evaluate", *tiny, *wrong), "reranker.use=", "give names out of captions")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("reranker=itm", "reranker.model=null"), "reranker: picdesk.rerankers.itm.Itm does not take these values"),
        (("task=tune_weights",), "reranker=identity scores as the search does"),
        (("task=tune_weights", "tune_weights.part=foo", *OTHER), "tune_weights.part=foo: choose one of train, val"),
    ],
)
def test_other_mistakes_take_one_line(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], wrong: tuple[str, ...], words: str
) -> None:
    one_line(run(capfd, tmp_path / "out", "evaluate", *tiny, *wrong), words)


def test_a_reranked_job_is_reproduced_with_its_rerankers_checkpoint(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    fitted = run(capfd, tmp_path / "out", "train", *tiny, "trainer.max_epochs=1")
    assert fitted.status == 0, fitted.err
    latest = ("reranker=cross_backbone", "reranker.ckpt=latest", "reranker.weight=0.5")
    job = run(capfd, tmp_path / "out", "evaluate", *tiny, *latest)
    assert str(fitted.folder / "checkpoint") in job.file("config.yaml").decode()
    again = f"reproduce={job.folder / 'manifest.json'}"
    run(capfd, tmp_path / "out", "train", *tiny, "trainer.max_epochs=1", "seed=3")  # the latest is another one now
    same = run(capfd, tmp_path / "out", "evaluate", again)
    assert same.status == 0, same.err
    assert "0 outside the tolerance" in same.out
    shutil.move(fitted.folder, tmp_path / "elsewhere")
    one_line(run(capfd, tmp_path / "out", "evaluate", again), "reranker.ckpt=", "no checkpoint there")
    moved = run(capfd, tmp_path / "out", "evaluate", again, f"reranker.ckpt={tmp_path / 'elsewhere'}")
    assert moved.status == 0, moved.err


def test_a_head_that_a_fit_would_take_the_vectors_from_is_refused_before_it(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(torch.nn.Linear(512, 1).state_dict(), tmp_path / "head.pth")
    head = ("reranker=aesthetics", f"reranker.head={tmp_path / 'head.pth'}", "reranker.trained_on=[tiny]")
    one_line(
        run(capfd, tmp_path / "out", "train", *tiny, *head), "reranker=aesthetics", "training changes its pictures'"
    )
    assert run(capfd, tmp_path / "out", "evaluate", *tiny, *head).status == 0
    monkeypatch.setattr(Session, "features_of", None)
    for task in ("evaluate", "tune_weights"):
        other = run(
            capfd, tmp_path / "out", "evaluate", *tiny, *head[:2], "reranker.trained_on=[other]", f"task={task}"
        )
        one_line(other, "wants embeddings of other, the search has those of tiny")
