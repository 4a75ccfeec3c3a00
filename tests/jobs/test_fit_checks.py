"""A part of training that would end a fit, or leave it unjudged, is refused in one line before anything is encoded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from picdesk.errors import ConfigError
from picdesk.jobs.fit_checks import (
    check_batches,
    check_loss,
    check_precision,
    check_steps,
    check_stopping,
    check_validation,
    choice_notes,
)
from picdesk.training.losses import InfoNCE, Margin, Mixture, SigLIP
from picdesk.training.schedules import Constant
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.tiny import write_data

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
    "half precision that a CPU has not": (
        ("+trainer.precision=16-mixed",),
        ("trainer.precision=16-mixed", "take bf16-mixed"),
    ),
    "a validation every no step": (("+trainer.val_check_interval=0",), ("trainer.val_check_interval=0", "1 or more")),
    "a validation every no epoch": (
        ("+trainer.check_val_every_n_epoch=0",),
        ("check_val_every_n_epoch=0", "1 or more"),
    ),
    "a rate below 0": (("optimizer.lr=-1",), ("optimizer.lr=-1", "0 or more")),
    "no weight above 0": (("loss=mixture", "loss.weights=[0,0]"), ("loss.weights=[0, 0]", "above 0")),
    "a loss of two towers alone": (
        ("plugins=[tests]", "loss._target_=tests.jobs.test_fit_checks.Two"),
        ("loss=tests.jobs.test_fit_checks.Two", "images, texts, picture, logit_scale"),
    ),
}


class Two(nn.Module):
    def forward(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (u * v).sum()


class Given(nn.Module):
    """A loss that does what it is given."""

    def __init__(self, found: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
        super().__init__()
        self.found = found

    def forward(self, u: torch.Tensor, v: torch.Tensor, picture: torch.Tensor, scale: torch.Tensor) -> object:
        return self.found(u, v)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_the_data_set_is_read(
    name: str, capfd: Capture, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    overrides, words = MISTAKES[name]
    more = ("~loss.margin", "~loss.reduction", "~loss.warm_up") if "plugins=[tests]" in overrides else ()
    one_line(run(capfd, tmp_path, "train", *settings, *overrides, *more), *words)


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


def test_a_few_pictures_are_too_few_to_choose_by(capfd: Capture, tmp_path: Path) -> None:
    def ask_door(pictures: int) -> Ran:
        data = write_data(tmp_path / str(pictures), pictures=pictures)
        read = ("data=parquet", f"data.root={data}", "data.caption_column=caption", "prompt=caption")
        own = ("backbone._target_=tests.tiny.Tiny", "trainer.max_epochs=1", "bootstrap.resamples=20")
        return run(capfd, tmp_path / "out", "train", *read, *own, "split=random_70_15_15")

    one_line(ask_door(7), "split: the val part has 1 picture", "data.limit")
    ran = ask_door(20)
    assert ran.status == 0, ran.err
    assert "the val part has 3 pictures, too few to choose an epoch by" in ran.out + ran.err
    assert choice_notes(10) == ()


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


@pytest.mark.parametrize("loss", [Margin(), InfoNCE(), SigLIP(), Mixture([InfoNCE(), Margin()], [0, 1])])
def test_losses_that_teach_are_taken_and_left_as_they_are(loss: nn.Module) -> None:
    state = torch.random.get_rng_state()
    check_loss(loss)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(value.grad is None for value in loss.parameters())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda u, v: (u * v).sum(1), r"a tensor of shape \(8,\)"),
        (lambda u, v: torch.tensor(1.0), "a constant"),
        (lambda u, v: 1.0, "gives float"),
    ],
)
def test_what_is_no_number_to_train_on_is_refused(found: Callable[..., object], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"loss=tests.jobs.test_fit_checks.Given: forward .*{words}"):
        check_loss(Given(found))


def test_a_loss_that_needs_the_rows_of_a_real_batch_is_left_to_it() -> None:
    check_loss(Given(lambda u, v: (u @ torch.zeros(512, 1)).sum()))
