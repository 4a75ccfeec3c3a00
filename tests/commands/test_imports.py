"""What each door may load: a library that takes long is loaded by what needs it, and not before."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.doors import PROJECT
from tests.tiny import write_data

TOO_LONG = 120  # seconds that no list of commands takes
HEAVY = (
    *("torch", "torchvision", "torch._dynamo", "timm", "transformers", "sentence_transformers", "open_clip"),
    *("pytorch_lightning", "torchmetrics", "scipy", "sklearn", "pandas", "matplotlib", "wandb", "faiss"),
    *("lancedb", "pymilvus", "fastapi", "optuna", "bm25s", "peft"),
)
SEARCH = {"torch", "faiss"}
SEARCHING = (*sorted(SEARCH), "picdesk.tasks.evaluate", "picdesk.tasks.retrieve", "picdesk.report.loggers")
FIT = {
    *SEARCH,
    "torch._dynamo",
    "pytorch_lightning",
    "torchmetrics",
    "matplotlib",
    "transformers",
    "torchvision",
    "scipy",
}
"""Lightning loads torchmetrics, and that what it finds of the last three."""
NOTE = """
import atexit, json, os, runpy, sys, traceback
import hydra, omegaconf
sys.path[:0] = [".", "src"]
from tests import hydra_memory
hydra_memory.begin()
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from picdesk.assembly import command_line, early, replaced, schema
from picdesk.commands import composing, door
from picdesk.data import splits
from picdesk.jobs import attempts
schema.register()
with initialize_config_dir(hydra_memory.CONF, version_base="1.3"):
    for name in ("train", "evaluate", "retrieve", "serve"):
        OmegaConf.to_yaml(compose(name, return_hydra_config=True))
command_line.door_arguments(["task=evaluate"])
for line in sys.stdin:
    heavy, processes, first = json.loads(line)
    for name in first:
        __import__(name)
    for commands in processes:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(1, 2)
        for words in commands:
            print("CASE", flush=True)
            sys.argv, status = words, 0
            try:
                exec(words[1]) if words[0] == "-c" else runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as stop:
                status = stop.code or 0
            except Exception:
                status = traceback.print_exc() or 1
            atexit._run_exitfuncs()
            print("LOADED", *[name for name in heavy if name in sys.modules])
            print("STATUS", status, flush=True)
        os._exit(0)
    print("\\nDONE", flush=True)
os._exit(0)
"""
"""A process makes one of its own for each command that is asked for, a door's or Python code (`-c`), or one for commands that may
find what those before them loaded. It has loaded Hydra (whose second composing is left out here), what every door loads, and of
the heavy libraries those that each of the commands may load: a command is told with whatever it finds loaded."""
TINY = ("data=parquet", "data.caption_column=caption", "backbone._target_=tests.tiny.Tiny", "backbone.dim=8")


class Starting:
    """The process that makes those of the commands: the tests of this file share one, as long as it has loaded no more than each
    command may find."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._loaded: set[str] = set()

    def said_by(
        self, cases: Sequence[Sequence[str]], status: int, first: Sequence[str] = (), in_turn: bool = False
    ) -> list[str]:
        """What each command says, which ends with this status, in a process of its own or all `in_turn` in one; `first` are
        loaded for all of them."""
        if self._process is None or not self._loaded <= set(first):
            self.end()
            environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
            self._process = subprocess.Popen(
                [sys.executable, "-c", NOTE], cwd=PROJECT, env=environment, stdin=PIPE, stdout=PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
        self._loaded |= set(first)
        asked, told = self._process.stdin, self._process.stdout
        assert asked
        assert told
        processes = [cases] if in_turn else [[words] for words in cases]
        asked.write(json.dumps([HEAVY, processes, first]) + "\n")
        asked.flush()
        group = self._process.pid  # its children are of it
        watchdog = threading.Timer(TOO_LONG, os.killpg, (group, signal.SIGKILL))
        watchdog.start()
        try:
            texts = "".join(takewhile(lambda line: line != "DONE\n", told)).split("CASE\n")[1:]
        finally:
            watchdog.cancel()
        assert len(texts) == len(cases), texts[-1:]
        for words, text in zip(cases, texts, strict=True):
            assert f"STATUS {status}\n" in text, f"{words}: {text}"
        return texts

    def end(self) -> None:
        if self._process:
            self._process.communicate()
        self._process, self._loaded = None, set()


@pytest.fixture(scope="module")
def starting() -> Iterator[Starting]:
    found = Starting()
    yield found
    found.end()


def loaded(text: str) -> set[str]:
    """Which of the heavy libraries were there when a command ended that said this."""
    return set(re.findall(r"^LOADED(.*)$", text, re.MULTILINE)[-1].split())


DOORS = ("train", "evaluate", "retrieve", "serve")


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_help_loads_nothing(starting: Starting, flags: list[str]) -> None:
    for text in starting.said_by([[f"{door}.py", *flags] for door in DOORS], 0):
        assert loaded(text) == set()
        assert "backbone" in text


def test_mistakes_load_nothing(starting: Starting) -> None:
    for text in starting.said_by([[f"{door}.py", "lr=1e-3"] for door in DOORS], 2):
        assert loaded(text) == set()


MISTAKES = {
    "a part": ("evaluate", "part=tset"),
    "a part of the second data set": ("train", "forget_on=demo forget_on.part=none"),
    "a text for a number": ("train", "optimizer.lr=fast"),
    "a text for true or false": ("evaluate", "index=hnsw index.repeatable=maybe"),
    "a checkpoint": ("evaluate", "ckpt=/nowhere"),
    "no checkpoint yet": ("retrieve", "query=storm ckpt=latest paths.outputs=/nowhere"),
    "no sweep yet": ("evaluate", "ckpt=best paths.outputs=/nowhere"),
    "a reranker's checkpoint": ("evaluate", "reranker=cross_backbone reranker.ckpt=/nowhere"),
    "a share of the split": ("train", "split.train=2"),
    "a group of the split": ("train", "split.groups=[faces]"),
    "a bank": ("evaluate", "scores=csls scores.bank=test"),
    "a setting of a correction": ("evaluate", "scores=csls scores.k=0"),
    "a weight": ("evaluate", "reranker=captions reranker.weight=2"),
    "a text for a weight": ("evaluate", "reranker=captions reranker.weight=much"),
    "a weight among several": ("evaluate", "reranker=several reranker.use=[captions] reranker.parts.captions.weight=2"),
    "a number of candidates": ("evaluate", "reranker=captions reranker.top_k=0"),
    "a score of a reranker": ("evaluate", "reranker=lexical reranker.score=bm52"),
    "a reranker that is not there": ("evaluate", "reranker=several reranker.use=[captoins]"),
    "a normalisation": ("evaluate", "fusion.normalisation=max"),
    "a task of another door": ("retrieve", "task=check"),
    "a filter": ("evaluate", "filter=year>"),
    "a limit": ("evaluate", "data.limit=few"),
}


def test_a_wrong_value_is_told_before_torch_is_loaded(starting: Starting, tmp_path: Path) -> None:
    cases = []
    for door, words in MISTAKES.values():
        given = () if "paths.outputs" in words else (f"paths.outputs={tmp_path}",)
        cases.append([f"{door}.py", *words.split(), *given, f"hydra.run.dir={tmp_path / 'job'}", "logger=none"])
    texts = dict(zip(MISTAKES, starting.said_by(cases, 2, in_turn=True), strict=True))
    assert {name: loaded(text) for name, text in texts.items()} == {name: set() for name in MISTAKES}


def test_each_task_loads_what_it_needs(starting: Starting, tmp_path: Path) -> None:
    data = (*TINY, f"data.root={write_data(tmp_path / 'data', 60)}")
    common = ("plugins=[tests]", f"paths.outputs={tmp_path}", "logger=none", "bootstrap.resamples=50")
    fit = ("trainer.max_epochs=1", "training.batch_size=16")
    asked = ("query=a colour", *common[:-1])
    index = f"index_dir={tmp_path / 'index'}"
    fitting = ("train.py", *data, *fit, *common)
    laying_down = ("retrieve.py", "task=index_build", "ckpt=latest", index, *common[:-1])  # sorted by pandas
    fitted, _ = starting.said_by([fitting, laying_down], 0, SEARCHING)
    assert loaded(fitted) <= FIT
    cases = {
        "evaluate": ("evaluate.py", "ckpt=latest", *common),
        "check": ("evaluate.py", "task=check", *data, *common),
        "retrieve": ("retrieve.py", "ckpt=latest", *asked),
        "saved index": ("retrieve.py", index, *asked[:-1]),  # which logs nothing to any logger
    }
    texts = dict(zip(cases, starting.said_by(list(cases.values()), 0, SEARCHING, in_turn=True), strict=True))
    assert {name: sorted(loaded(text) - SEARCH) for name, text in texts.items()} == {name: [] for name in texts}
    manifest = json.loads(next(tmp_path.glob("evaluate/*/*/manifest.json")).read_text())
    assert manifest["seed"] == 0, "the job was a whole one"


def test_doors_that_train_nothing_do_not_wait_for_lightning(starting: Starting) -> None:
    """Importing it takes longer than most searches."""
    (text,) = starting.said_by([["-c", "pass"]], 0, SEARCHING)
    assert loaded(text) == SEARCH


def test_a_text_is_encoded_without_its_library(starting: Starting) -> None:
    """Importing transformers takes longer than all else that a question waits for."""
    lines = ("trunk = TextTrunk('minilm_l6', 16)", "print(trunk.module()(**trunk.tokenize(['a dog'])).shape)")
    code = "\n".join(("from picdesk.backbones.text_trunks import TextTrunk", *lines))
    (text,) = starting.said_by([["-c", code]], 0, SEARCHING)
    assert loaded(text) == SEARCH
    assert "torch.Size([1, 384])" in text
