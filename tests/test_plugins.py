"""Parts of users' own: the package of docs/plugins.md, written as it stands there, is used at the doors."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from picdesk.assembly.command_line import door_arguments
from picdesk.errors import ConfigError
from picdesk.measures import listing
from tests.commands.test_mistakes import one_line
from tests.conftest import PROJECT
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
FILE = re.compile(r"^`(mylab/[\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ("split=random_70_15_15", "bootstrap.resamples=20", "trainer.max_epochs=2", "training.batch_size=16")


@pytest.fixture
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of the document, importable."""
    files = FILE.findall((PROJECT / "docs" / "plugins.md").read_text(encoding="utf-8"))
    assert len(files) >= 10
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    measures = dict(listing.MEASURES)
    yield tmp_path
    listing.MEASURES.clear()
    listing.MEASURES.update(measures)
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]


def ask_door(capfd: Capture, folder: Path, door: str, *more: str) -> Ran:
    data = write_data(folder / "data")
    read = ("data=parquet", f"data.root={data}", "data.caption_column=caption", "prompt=caption")
    return run(capfd, folder / "out", door, "plugins=[mylab]", *read, *SMALL, *more)


def test_a_loss_and_a_backbone_are_trained_and_opened_again(capfd: Capture, mylab: Path) -> None:
    made = ask_door(capfd, mylab, "train", "backbone=colours", "loss=focal", "loss.gamma=1.5")
    assert made.status == 0, made.err
    assert "colours" in (made.folder / "manifest.json").read_text()
    assert "the loss is nan" not in made.out + made.err
    ckpt = f"ckpt={made.folder}"
    (follows,) = [line for line in made.out.splitlines() if line.startswith("next: ")]
    assert f"retrieve.py 'plugins=[mylab]' {ckpt} " in follows, "without its plug-in the checkpoint cannot be opened"
    again = run(capfd, mylab / "out", "evaluate", "plugins=[mylab]", ckpt, f"data.root={mylab / 'data'}")
    assert again.status == 0, again.err
    found, before = (json.loads(ran.file("metrics.json"))["t2i"]["metrics"] for ran in (again, made))
    assert found == before
    refused = run(capfd, mylab / "out", "evaluate", "plugins=[]", ckpt, f"data.root={mylab / 'data'}")
    one_line(refused, "backbone._target_=mylab.backbones.Colours: no part of picdesk", "plugins=[mylab]")


def test_a_reranker_and_a_metric_score_a_backbone(capfd: Capture, mylab: Path) -> None:
    names = "metrics.names=[hits,mrr,first_page]"
    ran = ask_door(capfd, mylab, "evaluate", "backbone=colours", "reranker=lengths", "reranker.weight=1", names)
    assert ran.status == 0, ran.err
    assert "first page" in ran.out
    metrics = json.loads(ran.file("metrics.json"))["t2i"]["metrics"]
    assert 0 <= metrics["hits@1"] <= metrics["first_page"] <= 1
    alone = ask_door(capfd, mylab, "evaluate", "backbone=colours", names)
    assert alone.file("metrics.json") != ran.file("metrics.json"), "the reranker changes the order"
    both = ask_door(capfd, mylab, "evaluate", "backbone=colours", "reranker=several", "reranker.use=[captions,lengths]")
    assert both.status == 0, both.err


def test_a_reader_reads(capfd: Capture, mylab: Path) -> None:
    """Its option has no key but its own; the share of what may be bad is the usual one."""
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 90, 10)).save(mylab / f"red_boat_{i}.jpg")
    own = ("plugins=[mylab]", "data=named", f"data.root={mylab}", "split=all", "prompt=caption")
    ran = run(capfd, mylab / "out", "evaluate", *own, "task=longest", "task.count=2")
    assert ran.status == 0, ran.err
    assert "red boat 2\nred boat 3\n" in ran.out


def test_a_task_is_run(capfd: Capture, mylab: Path) -> None:
    ran = ask_door(capfd, mylab, "evaluate", "task=longest", "task.count=2")
    assert ran.status == 0, ran.err
    assert len([line for line in ran.out.splitlines() if " picture " in line]) == 2
    assert (ran.err + ran.out).count("data=parquet: 40 pictures") == 1, "the data set is read once"


def test_the_loss_of_the_document_has_gradients_that_are_numbers(mylab: Path) -> None:
    loss = importlib.import_module("mylab.losses").Focal()
    rows = [torch.nn.functional.normalize(torch.randn(6, 4), dim=1).requires_grad_() for _ in range(2)]
    scale = torch.tensor(2.66, requires_grad=True)
    value = loss(*rows, torch.tensor([0, 0, 1, 2, 3, 4]), scale)
    value.backward()
    assert all(torch.isfinite(one.grad).all() for one in (*rows, scale))


def test_a_plugin_that_is_not_there(capfd: Capture, tmp_path: Path) -> None:
    one_line(run(capfd, tmp_path, "evaluate", "plugins=[nolab]"), "plugins=[nolab]: no such package here")


def test_options_of_a_plugin_stand_beside_those_on_the_search_path(mylab: Path) -> None:
    words = door_arguments(["plugins=[mylab]", "hydra.searchpath=[file:///elsewhere]"])
    assert words[-1] == f"hydra.searchpath=['file:///elsewhere','file://{mylab / 'mylab' / 'conf'}']"


def test_a_metric_may_not_take_the_name_of_another() -> None:
    with pytest.raises(ConfigError, match="metric hits: taken"):
        listing.metric("hits", by_chance=lambda order, k: 0.0)(lambda ranks, k: ranks.first)
