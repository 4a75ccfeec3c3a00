"""`train.py adaptation=...` as a user runs it: through the trunks of a small CLIP model, from the pictures to the report."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from safetensors import safe_open

from picdesk.training.losses import InfoNCE
from tests.commands.test_mistakes import one_line
from tests.conftest import PROJECT
from tests.doors import Ran, run
from tests.tiny import write_data
from tests.training import models

Capture = pytest.CaptureFixture[str]
SEVEN = ("heads", "full", "last_blocks", "lora", "bitfit", "lock_image", "lock_text")


@pytest.fixture
def small_clip(settings: tuple[str, ...]) -> tuple[str, ...]:
    backbone = ("backbone=transformers", f"backbone.model={models.folder() / 'clip'}")
    return (*settings, *backbone, "trainer.max_epochs=2", "optimizer.lr=1e-2", "loss=infonce")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fits lie, their store, and `data/` with pictures of twelve pixels a side."""
    return write_data(tmp_path_factory.mktemp("adaptations") / "data", pictures=60).parent


@pytest.fixture
def tiny_clip(small_clip: tuple[str, ...], place: Path) -> tuple[str, ...]:
    """The same on those pictures."""
    data = ("data=parquet", f"data.root={place / 'data'}", "data.caption_column=caption")
    return (*small_clip, *data, "prompt=caption")


@pytest.fixture
def fit(capfd: Capture, place: Path, tiny_clip: tuple[str, ...]) -> Callable[[str], Ran]:
    """The fit by an adaptation: run by the first test that asks for it, and read by all."""

    def run_once(adaptation: str) -> Ran:
        if adaptation not in _FITS:
            more = ("adaptation.n=1",) if adaptation == "last_blocks" else ()
            _FITS[adaptation] = run(capfd, place, "train", *tiny_clip, f"adaptation={adaptation}", *more)
        assert _FITS[adaptation].status == 0, _FITS[adaptation].err
        return _FITS[adaptation]

    return run_once


_FITS: dict[str, Ran] = {}


def reached_metrics(ran: Ran) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(ran.file("metrics.json"))
    return found


def test_a_trunk_that_learns_keeps_to_the_most_pixels_of_the_config(
    capfd: Capture, tmp_path: Path, tiny_clip: tuple[str, ...]
) -> None:
    """What is in the store is not decoded for a score any more, only to be learnt from."""
    settings = (*tiny_clip, f"paths.store={tmp_path / 'store'}")
    filled = run(capfd, tmp_path, "evaluate", "task=encode", *settings, "part=all")
    assert filled.status == 0, filled.err
    ran = run(capfd, tmp_path, "train", *settings, "adaptation=lock_text", "encode.max_pixels=100")
    assert ran.status == 2, ran.err
    assert "is more than 100 pixels; check=full leaves such pictures out" in ran.err


@pytest.mark.parametrize("adaptation", SEVEN)
def test_each_adaptation_trains_and_its_checkpoint_is_plain(
    adaptation: str, capfd: Capture, place: Path, fit: Callable[[str], Ran]
) -> None:
    ran = fit(adaptation)
    for words in ("adaptation: ", " million weights learn", "epoch  0", "epoch  2", "weights: ", "| before "):
        assert words in ran.out
    assert "untrained" not in ran.out, "its weights came with the model"
    with safe_open(ran.folder / "checkpoint" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert names
    assert not {name for name in names if "parametrizations" in name or "lora" in name}
    assert not (ran.folder / "resume").exists()
    again = run(capfd, place, "evaluate", f"ckpt={ran.folder}", "bootstrap.resamples=200")
    assert again.status == 0, again.err
    assert again.file("run.trec") == ran.file("run.trec")
    assert reached_metrics(again) == reached_metrics(ran), (
        "the report part went through the store with the new weights' fingerprint"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("full", ("adaptation=heads",)),
        ("heads", ("adaptation=lock_image", "adaptation.head=false")),
    ],
    ids=("trunks that learn no longer", "a head that learns no longer"),
)
def test_what_a_second_fit_leaves_alone_is_in_its_checkpoint_too(
    first: str,
    second: tuple[str, ...],
    capfd: Capture,
    place: Path,
    tiny_clip: tuple[str, ...],
    fit: Callable[[str], Ran],
) -> None:
    settings = [one for one in tiny_clip if not one.startswith("backbone")]
    further = run(capfd, place, "train", *settings, f"ckpt={fit(first).folder}", *second)
    assert further.status == 0, further.err
    again = run(capfd, place, "evaluate", f"ckpt={further.folder}", "bootstrap.resamples=200")
    assert again.status == 0, again.err
    assert again.file("run.trec") == further.file("run.trec")
    assert reached_metrics(again) == reached_metrics(further)


class Seen(pl.Callback):
    """Keeps what each validation found."""

    rows: ClassVar[list[dict[str, float]]] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


class Heard(InfoNCE):
    """Keeps whether either direction has pictures, and texts, of its own."""

    apart: ClassVar[list[tuple[bool, bool]]] = []

    def forward(self, images: Any, texts: Any, *rest: Any, turned: Any = None, **more: Any) -> Any:  # type: ignore[override]
        if turned is not None:
            self.apart.append((turned[0] is not images, not torch.equal(turned[1], texts)))
        return super().forward(images, texts, *rest, turned=turned, **more)


def test_texts_that_ask_and_texts_that_are_found_are_learned_and_validated_as_they_are_scored(
    capfd: Capture, tmp_path: Path, tiny_clip: tuple[str, ...]
) -> None:
    """Fits of a backbone with a prompt for either, by pictures and texts that are encoded once, and by texts that are learned."""
    prompts = ("backbone.prompts.query=big: ", "backbone.prompts.document=a ")
    settings = (*tiny_clip, *prompts, "encode.precision=fp32")
    zero_shot = run(capfd, tmp_path, "evaluate", *settings, "part=val")
    assert zero_shot.status == 0, zero_shot.err
    watch = ("+callbacks.seen._target_=tests.tasks.test_adaptations.Seen", "callbacks=default")
    watch += ("loss._target_=tests.tasks.test_adaptations.Heard",)
    for adaptation in ("heads", "lock_image"):
        Seen.rows.clear()
        Heard.apart.clear()
        fitted = run(capfd, tmp_path, "train", *settings, *watch, f"adaptation={adaptation}")
        assert fitted.status == 0, fitted.err
        assert set(Heard.apart[-3:]) == {(False, True)}, "texts are found by another prompt than they ask"
        for direction in ("t2i", "i2t"):
            wanted = reached_metrics(zero_shot)[direction]["metrics"]
            for name in ("hits@1", "mrr", "mean_rank"):
                assert Seen.rows[0][f"val/{direction}/{name}"] == pytest.approx(wanted[name], abs=1e-6), adaptation
        after = run(capfd, tmp_path, "evaluate", f"ckpt={fitted.folder}", "part=val")
        assert after.status == 0, after.err
        both = [reached_metrics(after)[direction]["metrics"]["hits@1"] for direction in ("t2i", "i2t")]
        assert json.loads(fitted.file("manifest.json"))["objective"] == pytest.approx(sum(both) / 2)


MISTAKES = {
    "an unknown adaptation": (("adaptation=everything",), ("adaptation=everything", "full", "lora")),
    "augmentation without pixels": (("augmentation=crop_flip",), ("augmentation", "adaptation=heads", "none")),
    "too many blocks": (("adaptation=last_blocks", "adaptation.n=9"), ("adaptation.n=9", "2 blocks")),
    "a batch of one": (("adaptation=full", "training.batch_size=1"), ("training.batch_size=1",)),
    "an unknown sampler": (("training.sampler=all",), ("training.sampler=all", "auto, texts, pictures")),
    "a negative chunk": (("training.chunk=-1",), ("training.chunk=-1",)),
    "a rank of none": (("adaptation=lora", "adaptation.rank=0"), ("adaptation.rank=0",)),
    "a rate below zero": (("optimizer.lr=-1",), ("optimizer.lr=-1: a learning rate", "0 or more")),
    "a warm-up longer than the training": (("scheduler.warmup=2",), ("scheduler.warmup=2",)),
    "a device that is not there": (("trainer.accelerator=tpu",), ("trainer: ",)),
    "an accelerator that is none": (("trainer.accelerator=nonsense",), ("trainer.accelerator=nonsense", "take cpu")),
    "no process at all": (("trainer.devices=0",), ("picdesk: trainer.devices=0: ", "take 1")),
    "a number of processes that is none": (("trainer.devices=-1",), ("picdesk: trainer.devices=-1: ", "take 1")),
    "no end": (("trainer.max_epochs=-1",), ("trainer.max_epochs=-1", "0 or more")),
    "gradients of small batches": (("+trainer.accumulate_grad_batches=2",), ("accumulate_grad_batches=2", "chunk")),
    "pairs that the processes cannot share": (
        ("trainer=ddp", "training.batch_size=7"),
        ("training.batch_size=7", "2 processes"),
    ),
    "several processes without their strategy": (("trainer.devices=2",), ("trainer.devices=2", "trainer=ddp")),
    "nothing to go on with": (("resume=/nowhere",), ("resume=/nowhere", "output dir")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_unsuitable_combinations_are_one_line(
    name: str, capfd: Capture, tmp_path: Path, tiny_clip: tuple[str, ...]
) -> None:
    overrides, words = MISTAKES[name]
    one_line(run(capfd, tmp_path, "train", *tiny_clip, *overrides), *words)
    assert list(tmp_path.rglob("metrics.json")) == []
    assert list(tmp_path.rglob("resume")) == [], "nothing is there to go on with"


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_one_line(capfd: Capture, tmp_path: Path, small_clip: tuple[str, ...]) -> None:
    for accelerator in ("gpu", "cuda"):
        ran = run(capfd, tmp_path / accelerator, "train", *small_clip, f"trainer.accelerator={accelerator}")
        one_line(ran, f"trainer.accelerator={accelerator}", "take cpu, or auto")
        assert ran.status == 2


def test_mixed_precision_scores_as_plain_precision_does(
    capfd: Capture, tmp_path: Path, tiny_clip: tuple[str, ...]
) -> None:
    """Lengths rounded to bfloat16 passed for embeddings that had run away, which score as by chance."""
    ran = run(capfd, tmp_path, "train", *tiny_clip, "+trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    assert ran.status == 0, ran.err
    assert "no longer finite" not in ran.out + ran.err


@pytest.mark.slow
def test_two_processes_leave_one_set_of_files_with_the_numbers_of_one(
    tmp_path: Path, small_clip: tuple[str, ...], capfd: Capture
) -> None:
    settings = [*small_clip, "adaptation=last_blocks", "adaptation.n=1", "training.state_seconds=0"]
    alone = run(capfd, tmp_path / "one", "train", *settings)
    assert alone.status == 0, alone.err
    given = [*settings, "trainer=ddp", "trainer.max_epochs=2", f"paths.outputs={tmp_path / 'two'}", "logger=csv"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")}
    command = [sys.executable, str(PROJECT / "train.py"), *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    for words in ("epoch  2", "report page: ", "checkpoint: "):
        assert done.stdout.count(words) == 1, done.stdout
    (metrics,) = (tmp_path / "two").rglob("metrics.json")
    assert json.loads(metrics.read_text()) == reached_metrics(alone)
    rows = (metrics.parent / "csv" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 2 * 2 + 1, "head, start, validation and loss of each epoch, end"
    assert not (metrics.parent / "resume").exists()


@pytest.mark.slow
def test_two_processes_draw_chances_of_their_own(tmp_path: Path, settings: tuple[str, ...]) -> None:
    """Row i of one process is not row i of the other: with one dropout for both, half as many chances would be drawn."""
    chance = ("+callbacks.chance._target_=tests.training.chance.NoteChance", f"+callbacks.chance.folder={tmp_path}")
    given = [
        *settings,
        "plugins=[tests]",
        "trainer=ddp",
        "+trainer.max_steps=1",
        *chance,
        f"paths.outputs={tmp_path / 'out'}",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}"}
    command = [sys.executable, str(PROJECT / "train.py"), *given, "logger=none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    one, other = (next(tmp_path.glob(f"rank{rank}-step0")).read_text() for rank in (0, 1))
    assert one != other


@pytest.mark.slow
def test_two_processes_validate_the_end_of_a_fit_within_an_epoch(tmp_path: Path, small_clip: tuple[str, ...]) -> None:
    given = [*small_clip, "trainer=ddp", "+trainer.max_steps=1", f"paths.outputs={tmp_path / 'two'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")}
    command = [sys.executable, str(PROJECT / "train.py"), *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert [line[:8] for line in done.stdout.splitlines() if "val hits@1" in line] == ["epoch  0", "epoch  1"]


@pytest.mark.slow
def test_a_job_killed_with_sigkill_goes_on_and_ends_with_the_same_metrics(
    tmp_path: Path, small_clip: tuple[str, ...], capfd: Capture
) -> None:
    settings = [*small_clip, "adaptation=lora", "augmentation=crop", "trainer.max_epochs=6", "training.batch_size=16"]
    whole = run(capfd, tmp_path / "whole", "train", *settings)
    assert whole.status == 0, whole.err
    command = [sys.executable, str(PROJECT / "train.py"), "logger=csv", f"paths.outputs={tmp_path / 'killed'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")}
    job = subprocess.Popen(
        [*command, *settings, "training.state_seconds=0"], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not (found := list((tmp_path / "killed").rglob("state.pt"))) or len(metric_rows(found[0])) < 3:
        assert job.poll() is None, "the job ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    folder = found[0].parent.parent
    rows = metric_rows(found[0])
    assert not (folder / "metrics.json").exists()
    changed = [*command, f"resume={folder}", "optimizer.lr=1"]
    refused = subprocess.run(changed, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "leave out optimizer.lr" in refused.stderr
    again = subprocess.run([*command, f"resume={folder}"], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "going on from the state" in again.stdout
    assert "epoch  0" not in again.stdout
    assert (folder / "metrics.json").read_bytes() == whole.file("metrics.json")
    assert (folder / "checkpoint/model.safetensors").read_bytes() == whole.file("checkpoint/model.safetensors")
    assert metric_rows(found[0])[: len(rows)] == rows, "the logger goes on in its own file"
    assert not (folder / "resume").exists()


def metric_rows(state: Path) -> list[str]:
    """Step and score of each validation in the logger's file."""
    path = state.parent.parent / "csv" / "metrics.csv"
    with path.open() if path.is_file() else io.StringIO() as stream:
        rows = list(csv.DictReader(stream))
    return [f"{row['step']} {row['val/hits@1']}" for row in rows if row.get("val/hits@1")]
