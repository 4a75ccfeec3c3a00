"""What each door may load: a library that takes long is loaded by what needs it, and not before."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.doors import PROJECT, run
from tests.tiny import write_data

HEAVY = (
    *("torch", "torchvision", "torch._dynamo", "timm", "transformers", "sentence_transformers", "open_clip"),
    *("pytorch_lightning", "torchmetrics", "scipy", "sklearn", "pandas", "matplotlib", "wandb", "faiss"),
    *("lancedb", "pymilvus", "fastapi", "optuna", "bm25s", "peft"),
)
SEARCH = {"torch", "faiss"}
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
import atexit, json, os, runpy, sys
import hydra, omegaconf
sys.path[:0] = [".", "src"]
from tests import hydra_memory
hydra_memory.begin()
from hydra import compose, initialize_config_dir
from picdesk.assembly import early, replaced, schema
from picdesk.commands import door
heavy, cases, first = json.load(sys.stdin)
schema.register()
with initialize_config_dir(hydra_memory.CONF, version_base="1.3"):
    for name in sorted({words[0].removesuffix(".py") for words in cases}):
        compose(name, return_hydra_config=True)
for name in first:
    __import__(name)
def tell():
    print("LOADED", *[name for name in heavy if name in sys.modules], flush=True)
for words in cases:
    print("CASE", flush=True)
    child = os.fork()
    if not child:
        os.dup2(1, 2)
        atexit.register(tell)
        sys.argv = words
        status = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)
    print("STATUS", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A process makes one of its own for each command. It has loaded Hydra (whose second composing is left out here), what every door
loads, and of the heavy libraries those that each of the commands may load: a command is told with whatever it finds loaded."""
TINY = ("data=parquet", "data.caption_column=caption", "backbone._target_=tests.tiny.Tiny", "backbone.dim=8")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


def loaded_by(cases: Sequence[Sequence[str]], status: int, first: Sequence[str] = ()) -> list[set[str]]:
    """Which of the heavy libraries each command, in a process of its own, has loaded when it ends with this status; `first` are
    loaded for all of them."""
    command = [sys.executable, "-c", NOTE]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    given = json.dumps([HEAVY, cases, first])
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, input=given, capture_output=True, text=True, check=True
    )
    told = done.stdout.split("CASE\n")[1:]
    assert len(told) == len(cases)
    for words, text in zip(cases, told, strict=True):
        assert f"STATUS {status}\n" in text, f"{words}: {text}"
    return [set(re.findall(r"^LOADED(.*)$", text, re.MULTILINE)[-1].split()) for text in told]


DOORS = ("train", "evaluate", "retrieve", "serve")


def test_help_and_mistakes_load_nothing() -> None:
    assert loaded_by([[f"{door}.py", "--help"] for door in DOORS], 0) == [set()] * len(DOORS)
    assert loaded_by([[f"{door}.py", "lr=1e-3"] for door in DOORS], 2) == [set()] * len(DOORS)


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


def test_a_wrong_value_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    cases = []
    for door, words in MISTAKES.values():
        given = () if "paths.outputs" in words else (f"paths.outputs={tmp_path}",)
        cases.append([f"{door}.py", *words.split(), *given, f"hydra.run.dir={tmp_path / 'job'}", "logger=none"])
    found = dict(zip(MISTAKES, loaded_by(cases, 2), strict=True))
    assert found == {name: set() for name in MISTAKES}


def test_each_task_loads_what_it_needs(capfd: pytest.CaptureFixture[str], outputs: Path) -> None:
    data = (*TINY, f"data.root={write_data(outputs / 'data', 60)}")
    common = ("plugins=[tests]", f"paths.outputs={outputs}", "logger=none", "bootstrap.resamples=50")
    fit = ("trainer.max_epochs=1", "training.batch_size=16")
    assert loaded_by([["train.py", *data, *fit, *common]], 0)[0] <= FIT
    ran = run(capfd, outputs, "retrieve", "task=index_build", "ckpt=latest", f"index_dir={outputs / 'index'}")
    assert ran.status == 0, ran.err
    asked = ("query=a colour", *common[:-1])
    cases = {
        "evaluate": ("evaluate.py", "ckpt=latest", *common),
        "check": ("evaluate.py", "task=check", *data, *common),
        "retrieve": ("retrieve.py", "ckpt=latest", *asked),
        "saved index": (
            "retrieve.py",
            f"index_dir={outputs / 'index'}",
            *asked[:-1],
        ),  # which logs nothing to any logger
    }
    found = dict(zip(cases, loaded_by(list(cases.values()), 0, sorted(SEARCH)), strict=True))
    assert {name: sorted(own - SEARCH) for name, own in found.items()} == {name: [] for name in found}
    manifest = json.loads(next(outputs.glob("evaluate/*/*/manifest.json")).read_text())
    assert manifest["seed"] == 0, "the job was a whole one"
