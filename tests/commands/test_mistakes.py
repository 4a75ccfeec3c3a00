"""A user's mistake is one line on the error stream and exit status 2: what is wrong, where, and what would be right."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]
TREC = "t2i/q1 Q0 p1 1 0.5 picdesk-2\n"
QRELS = "t2i/q2 0 p1 1\n"


def one_line(ran: Ran, *words: str) -> None:
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert ran.status == 2, ran.err + ran.out
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("picdesk: ")
    for word in words:
        assert word in lines[0], lines[0]


MISTAKES = {
    "an unknown option": (("lerning_rate=1",), ("lerning_rate",)),
    "an unknown key of a part": (("loss.margn=0.3",), ("loss.margn",)),
    "an added key that the part does not take": (("+loss.margn=0.3",), ("margn", "margin, reduction")),
    "an unknown group member": (("backbone=resnet",), ("backbone=resnet", "lite")),
    "an unknown part": (("part=tset",), ("part=tset", "train, val, test, all")),
    "a value of the wrong type": (("top_k=many",), ("top_k", "many")),
    "a word where the option has a number": (("loss.margin=wide",), ("loss.margin=wide: a number is wanted",)),
    "a number for a list": (("metrics.ks=5",), ("metrics.ks=5", "a list is wanted, such as metrics.ks=[5]")),
    "a value out of range": (("loss.margin=-1",), ("loss.margin=-1",)),
    "a share below 0": (("data.max_bad_fraction=-1",), ("data.max_bad_fraction=-1: a fraction is between 0 and 1",)),
    "a share that is no number": (
        ("data.max_bad_fraction=nan",),
        ("data.max_bad_fraction=nan: a fraction is between",),
    ),
    "a tolerance that is none": (("tolerance=2",), ("tolerance=2.0: a fraction is between 0 and 1",)),
    "no number where the class takes any": (
        ("trainer.gradient_clip_val=nan",),
        ("gradient_clip_val=nan: a number is wanted",),
    ),
    "no number of a setting": (("min_score=nan",), ("min_score=nan: a number is wanted",)),
    "a list where a table belongs": (("data.more_columns=[n]",), ("data.more_columns=[n]: a table is wanted, as in",)),
    "a text where a table belongs": (
        ("data.more_columns=n",),
        ("data.more_columns=n: a table is wanted, as in data.more_columns={NAME: VALUE}",),
    ),
    "a table where a list belongs": (
        ("metrics.ks={a: 1}",),
        ("metrics.ks={a: 1}: a list is wanted, as in metrics.ks=[VALUE]",),
    ),
    "a missing data folder": (("data=newsimages", "data.root=/nowhere/news"), ("/nowhere/news",)),
    "a missing column": (("data.title_column=headline",), ("title_column=headline", "title")),
    "a value that must be given": (("split=file",), ("split.file",)),
    "no option of a group": (("callbacks=null",), ("=null", "one of its options")),
    "a part of the second data set that it has not": (
        ("forget_on=demo", "forget_on.part=none"),
        ("forget_on.part=none", "train, val, test, all"),
    ),
    "a checkpoint that is not there": (("ckpt=/nowhere",), ("ckpt=/nowhere",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_of_the_command_line(name: str, capfd: Capture, tmp_path: Path, settings: tuple[str, ...]) -> None:
    overrides, words = MISTAKES[name]
    ran = run(capfd, tmp_path, "train", *(s for s in settings if s.split("=")[0] not in str(overrides)), *overrides)
    one_line(ran, *words)
    assert list(tmp_path.rglob("metrics.json")) == []


@pytest.mark.parametrize(
    ("door", "overrides", "words"),
    [
        (
            "evaluate",
            ("min_score=0.9",),
            ("min_score=0.9", "task=evaluate takes no min_score", "retrieve.py, serve.py"),
        ),
        ("train", ("min_score=0",), ("min_score=0", "task=train takes no min_score")),
        ("evaluate", ("task=tune_weights", "min_score=0.9"), ("min_score=0.9",)),
        ("retrieve", ("query=a", "min_score=nan"), ("min_score=nan: a number is wanted",)),
        ("retrieve", ("query=a", "share=nan"), ("share=nan: a number is wanted",)),
        ("evaluate", ("tolerance=nan",), ("tolerance=nan: a fraction is between 0 and 1",)),
        ("serve", ("min_score=nan",), ("min_score=nan: a number is wanted",)),
        ("serve", ("rate=nan",), ("rate=nan: a number is wanted",)),
        ("train", ("loss.margin=nan",), ("loss.margin=nan",)),
    ],
)
def test_bounds_that_bound_nothing(
    capfd: Capture, tmp_path: Path, door: str, overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    one_line(run(capfd, tmp_path / "out", door, *overrides), *words)


@pytest.mark.parametrize(
    ("door", "task"), [("evaluate", "check"), ("evaluate", "captioner"), ("retrieve", "write_captions")]
)
def test_a_checkpoint_where_none_is_taken(capfd: Capture, tmp_path: Path, door: str, task: str) -> None:
    """They would be at work on the demo data, or have a language model paid for texts of it, and not on the checkpoint's."""
    weights = tmp_path / "model.safetensors"
    weights.touch()
    ran = run(capfd, tmp_path / "out", door, f"task={task}", f"ckpt={weights}")
    one_line(ran, f"ckpt={weights}: task={task} takes nothing from a checkpoint", "data=NAME")


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (("task=leaderboard", "dir=outputs"), "task=leaderboard takes nothing from a checkpoint, leave it out"),
        (("task=compare", "dir=a", "against=b"), "task=compare takes nothing from a checkpoint, leave it out"),
        (("run_file=run.trec",), "run_file=run.trec is scored as it is; leave ckpt out"),
    ],
)
def test_a_checkpoint_beside_what_other_jobs_left(
    capfd: Capture, tmp_path: Path, beside: tuple[str, ...], words: str
) -> None:
    one_line(run(capfd, tmp_path / "out", "evaluate", "ckpt=latest", *beside), words)


def test_empty_data_set(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "newsimages").mkdir()
    (tmp_path / "newsarticles.csv").write_text("article_id,article_title,article_tags,image_id\n")
    one_line(
        run(capfd, tmp_path / "out", "evaluate", "data=newsimages", f"data.root={tmp_path}"), "newsimages", "empty"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.csv", "id,title\n", ("q.csv", "zero rows")),
        ("q.txt", "\n\n", ("q.txt", "zero rows")),
        ("q.jsonl", '{"id": 1}\n', ("q.jsonl", "line 1", "no column with the text")),
        ("q.jsonl", "{\n", ("q.jsonl", "not JSON", "an object a line")),
        ("q.csv", "id,title\na,x\na,y\n", ("q.csv", "'a'")),
        ("q.xlsx", "x", ("q.xlsx", ".txt, .csv, .tsv, .jsonl")),
    ],
)
def test_query_files(capfd: Capture, tmp_path: Path, name: str, content: str, words: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(content)
    one_line(run(capfd, tmp_path, "retrieve", f"queries={tmp_path / name}"), *words)


def test_no_query_and_two(capfd: Capture, tmp_path: Path) -> None:
    one_line(run(capfd, tmp_path, "retrieve"), "exactly one of query=TEXT")
    one_line(run(capfd, tmp_path, "retrieve", "query=a", "queries=b.txt"), "query and queries")


def test_top_k_beyond_the_gallery_is_said_and_clipped(capfd: Capture, outputs: Path, trained: Ran) -> None:
    ran = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", "top_k=5000")
    assert ran.status == 0, ran.err
    assert "top_k=5000 is more than the gallery of 24 holds: all 24 are listed" in ran.out


def test_unreadable_checkpoint(capfd: Capture, tmp_path: Path, trained: Ran) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.yaml").write_bytes(trained.file("checkpoint/config.yaml"))
    (folder / "model.safetensors").write_bytes(trained.file("checkpoint/model.safetensors")[:1000])
    one_line(
        run(capfd, tmp_path, "evaluate", f"ckpt={folder}"), "model.safetensors", "changed or damaged since it was saved"
    )


def test_checkpoint_without_its_config(capfd: Capture, tmp_path: Path, trained: Ran) -> None:
    (tmp_path / "model.safetensors").write_bytes(trained.file("checkpoint/model.safetensors"))
    one_line(run(capfd, tmp_path, "evaluate", f"ckpt={tmp_path}"), "config.yaml is missing")


def test_checkpoint_of_another_backbone(capfd: Capture, tmp_path: Path, trained: Ran) -> None:
    ran = run(capfd, tmp_path, "evaluate", f"ckpt={trained.folder}", "backbone=open_clip")
    one_line(ran, "was trained with backbone", "Lite", "OpenClip")


def test_run_and_qrels_of_other_ids(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text(TREC)
    (tmp_path / "qrels.trec").write_text(QRELS)
    files = (f"run_file={tmp_path / 'run.trec'}", f"qrels_file={tmp_path / 'qrels.trec'}")
    one_line(run(capfd, tmp_path, "evaluate", *files), "1 quer", "q2")
    one_line(run(capfd, tmp_path, "evaluate", files[0]), "qrels_file must be given")


def test_help_needs_no_torch() -> None:
    """In a process as a user starts it; that of the other doors is in `test_imports.py`."""
    code = "import sys, atexit; sys.argv = ['train.py', '--help']\n"
    code += "atexit.register(lambda: print('HEAVY', sorted({'torch', 'faiss', 'open_clip', 'pandas'} & set(sys.modules))))\n"
    code += "import runpy; runpy.run_path('train.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert "backbone" in done.stdout
