"""A part of training that would end a fit, or leave it unjudged, is refused in one line before anything is encoded."""

from functools import partial
from pathlib import Path

import pytest
import torch

from picdesk.assembly import session
from picdesk.errors import ConfigError
from picdesk.jobs.fit_checks import (
    check_batches,
    check_precision,
    check_steps,
    check_stopping,
    check_validation,
)
from picdesk.training.schedules import Constant
from tests.commands.test_mistakes import one_line
from tests.doors import run

Capture = pytest.CaptureFixture[str]
STOPPING = "callbacks.early_stopping"
MISTAKES = {
    "a mode that is none": ((f"{STOPPING}.mode=up",), (f"{STOPPING}.mode=up", "max where more is better")),
    "a number that nobody logs": (
        (f"{STOPPING}.monitor=val/foo",),
        (f"{STOPPING}.monitor=val/foo", "val/hits@1", "loss"),
    ),
    "a patience in words": ((f"{STOPPING}.patience=abc",), (f"{STOPPING}.patience=abc", "whole number")),
    "a patience below 0": ((f"{STOPPING}.patience=-1",), (f"{STOPPING}.patience=-1", "0 or more")),
    "a difference in words": ((f"+{STOPPING}.min_delta=abc",), (f"{STOPPING}", "abc")),
    "no validation": (("+trainer.limit_val_batches=0",), ("trainer.limit_val_batches=0", "whole")),
    "double precision": (("+trainer.precision=64-true",), ("trainer.precision=64-true", "bf16-mixed")),
    "a validation every no step": (("+trainer.val_check_interval=0",), ("trainer.val_check_interval=0", "1 or more")),
    "a validation every no epoch": (
        ("+trainer.check_val_every_n_epoch=0",),
        ("check_val_every_n_epoch=0", "1 or more"),
    ),
    "a rate below 0": (("optimizer.lr=-1",), ("optimizer.lr=-1", "0 or more")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_the_data_set_is_read(
    name: str, capfd: Capture, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the data set was read")

    monkeypatch.setattr(session.Session, "read_and_split", read)
    overrides, words = MISTAKES[name]
    one_line(run(capfd, tmp_path, "train", *settings, *overrides), *words)


@pytest.mark.parametrize("precision", [None, 32, "32", "32-true", "bf16-mixed", "bf16", "16-mixed"])
def test_what_keeps_weights_in_float32_is_a_precision(precision: object) -> None:
    check_precision({"precision": precision})
    check_precision({})


@pytest.mark.parametrize(
    "node",
    [
        {"limit_val_batches": 1},
        {"limit_val_batches": True},
        {"limit_val_batches": 0.5},
        {"overfit_batches": 1},
        {"fast_dev_run": True},
        {"check_val_every_n_epoch": 1.5},
        {"val_check_interval": -1},
    ],
)
def test_a_shortened_validation_is_refused(node: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"trainer.{next(iter(node))}="):
        check_validation(node)


def test_a_whole_validation_is_taken() -> None:
    check_validation(
        {"limit_val_batches": 1.0, "overfit_batches": 0, "fast_dev_run": False, "check_val_every_n_epoch": 2}
    )
    check_validation({"val_check_interval": 0.5, "limit_val_batches": None, "check_val_every_n_epoch": None})


def test_an_epoch_holds_the_batches_that_keys_count() -> None:
    check_batches({"val_check_interval": 3, "limit_train_batches": 0.5}, 6)
    check_batches({"val_check_interval": 9, "check_val_every_n_epoch": None}, 6)
    with pytest.raises(ConfigError, match=r"trainer.val_check_interval=4: .*\(3\)"):
        check_batches({"val_check_interval": 4, "limit_train_batches": 0.5}, 6)
    with pytest.raises(ConfigError, match=r"trainer.limit_train_batches=0.1: less than one batch"):
        check_batches({"limit_train_batches": 0.1}, 6)


def test_a_callback_of_the_users_own_may_log_what_is_monitored() -> None:
    stopping = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/own", "mode": "max"}
    check_stopping({"early_stopping": stopping, "own": {"_target_": "mylab.callbacks.Own"}, "ema": None})
    with pytest.raises(ConfigError, match="monitor=val/own"):
        check_stopping({"early_stopping": stopping})


@pytest.mark.parametrize(
    ("key", "value"), [("lr", -1), ("eps", -1), ("weight_decay", -0.1), ("betas", [0.9, 1.2]), ("lr", "abc")]
)
def test_an_optimizer_names_the_key_that_it_refuses(key: str, value: object) -> None:
    given = {"lr": 0.1, "betas": [0.9, 0.98], key: value}
    with pytest.raises(ConfigError, match=rf"optimizer.{key}=.*: .* number"):
        check_steps(partial(torch.optim.AdamW, **given), Constant)
