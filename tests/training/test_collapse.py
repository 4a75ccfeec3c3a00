"""A training that goes wrong is noticed, its cause is named, and the weights kept are at or above the start."""

import logging
import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from picdesk.errors import ConfigError
from picdesk.training import probes
from picdesk.training.adaptation import Heads
from picdesk.training.averaging import Ema
from picdesk.training.collapse import Collapse
from picdesk.training.datamodule import FeatureData
from picdesk.training.every_rank import Once
from picdesk.training.features import Features
from picdesk.training.fit import Fitted, fit
from picdesk.training.losses import InfoNCE, Margin, SigLIP
from picdesk.training.module import MONITOR
from picdesk.training.schedules import constant
from picdesk.training.trained import Trained
from tests.embedding.fakes import Tiny
from tests.training.test_fit import features, score_of

GOOD_RATE = 0.03


def go(
    loss: torch.nn.Module,
    lr: float = GOOD_RATE,
    epochs: int = 6,
    data: Features | None = None,
    freeze_scale: bool = False,
    backbone: Tiny | None = None,
    callbacks: tuple[pl.Callback, ...] = (),
) -> tuple[Fitted, Tiny]:
    backbone = backbone or Tiny()
    trained = Heads().prepare(backbone)
    if freeze_scale:
        backbone.logit_scale.requires_grad_(False)
        trained = Trained(backbone, [(name, value) for name, value in trained if name != "logit_scale"])
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    make = partial(
        pl.Trainer, max_epochs=epochs, accelerator="cpu", enable_checkpointing=False, num_sanity_val_steps=0, **quiet
    )
    pairs = FeatureData(data or features(0), features(1), batch_size=40, seed=0)
    optimizer = partial(torch.optim.AdamW, lr=lr)
    return fit(backbone, trained, loss, optimizer, constant, pairs, make, [Collapse(), *callbacks], 0), backbone


def assert_named(fitted: Fitted, backbone: Tiny, caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """One note has all words, the log has it too, and the weights that were kept score at or above the start."""
    (note,) = [note for note in fitted.notes if all(word in note for word in words)]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING].count(note) == 1
    assert score_of(backbone) == fitted.path.scores[fitted.path.best] >= fitted.path.scores[0]
    assert fitted.path.scores[0] == pytest.approx(fitted.history[0][MONITOR], abs=1e-6)


@pytest.mark.parametrize("loss", [Margin(), InfoNCE(), SigLIP(bias=-3.0)], ids=["margin", "infonce", "siglip"])
def test_a_training_that_goes_well_is_not_spoken_of(loss: torch.nn.Module) -> None:
    fitted, backbone = go(loss, epochs=12)
    assert fitted.notes == ()
    assert score_of(backbone) > fitted.history[0][MONITOR] + 0.1


def test_hardest_negatives_from_a_cold_start(caplog: pytest.LogCaptureFixture) -> None:
    noise = features(0)
    unlearnable = np.random.default_rng(5).normal(size=noise.texts.shape).astype(np.float32)
    data = Features(**{**vars(noise), "texts": unlearnable})
    fitted, backbone = go(Margin(reduction="hardest"), lr=0.1, epochs=25, data=data)
    assert_named(fitted, backbone, caplog, "the embeddings collapse", "begin with loss.reduction=sum")


def test_a_loss_that_stays_at_the_logarithm_of_the_batch_size(caplog: pytest.LogCaptureFixture) -> None:
    backbone = Tiny()
    backbone.logit_scale.data.fill_(-6)
    data = features(0, captions=1)
    fitted, backbone = go(InfoNCE(), lr=1e-6, data=data, backbone=backbone, freeze_scale=True)
    told = f"{math.log(40):.4g} is what it is when all embeddings are the same"
    assert_named(fitted, backbone, caplog, "the loss is stuck", told)


def test_a_learning_rate_100_times_too_high(caplog: pytest.LogCaptureFixture) -> None:
    good, _ = go(InfoNCE())
    assert good.notes == ()
    fitted, backbone = go(InfoNCE(), lr=100 * GOOD_RATE)
    assert_named(fitted, backbone, caplog, "the learning rate is too high: step 1 changed the trained weights by")


@pytest.fixture(scope="module")
def learnt() -> dict[str, torch.Tensor]:
    """The weights after a training that goes well."""
    return go(InfoNCE(), epochs=40)[1].state_dict()


@pytest.fixture
def good(learnt: dict[str, torch.Tensor]) -> Tiny:
    """A backbone of its own with those weights."""
    backbone = Tiny()
    backbone.load_state_dict(learnt)
    return backbone


def test_a_loss_that_rises(good: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    backbone = good
    before = score_of(backbone)
    for head in (
        backbone.image_head,
        backbone.text_head,
    ):  # the same embeddings, from weights that a step changes little
        for value in head.parameters():
            value.data.mul_(30)
    fitted, backbone = go(InfoNCE(), lr=4.0, backbone=backbone)
    assert_named(fitted, backbone, caplog, "too high: the loss rose from 1.23 at the first step", "optimizer.lr=4e-01")
    assert score_of(backbone) >= before > 0.5


def test_a_temperature_that_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    fitted, backbone = go(InfoNCE(), freeze_scale=True)
    assert_named(fitted, backbone, caplog, "the temperature does not move: logit_scale is 1 as at the start")
    assert go(Margin(), freeze_scale=True)[0].notes == (), "the margin loss has no temperature"


def test_a_temperature_at_its_bound(good: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    fitted, backbone = go(InfoNCE(), lr=0.3, backbone=good)
    assert_named(fitted, backbone, caplog, "the temperature is at its bound", "ln 100")


@pytest.mark.parametrize("scale", [math.log(100), 4.6055, 4.9], ids=["ln 100", "OpenAI's", "above"])
def test_a_temperature_that_began_at_its_bound_is_not_called_stuck(scale: float, good: Tiny) -> None:
    """OpenAI's CLIP stands at ln 100, where the bound holds what the loss would raise: no adaptation can help that."""
    good.logit_scale.data.fill_(scale)
    fitted, _ = go(InfoNCE(), lr=1e-4, epochs=2, backbone=good)
    assert not [note for note in fitted.notes if "temperature" in note]


class Unmasked(torch.nn.Module):
    """InfoNCE as it is often written: every other row of the batch is a negative."""

    def forward(self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, scale: torch.Tensor) -> Any:
        return InfoNCE()(images, texts, torch.arange(len(picture)), scale)


def test_captions_of_one_picture_as_negatives(caplog: pytest.LogCaptureFixture) -> None:
    fitted, backbone = go(Unmasked())
    assert_named(fitted, backbone, caplog, "captions of one picture are each other's negatives", "training.sampler")
    assert go(Unmasked(), data=features(0, captions=1))[0].notes == (), "one caption a picture: nothing to mix up"


def test_one_picture_under_several_ids(caplog: pytest.LogCaptureFixture) -> None:
    once = features(0)
    rows = np.repeat(np.arange(60), 2)
    twice = Features(**{**vars(once), "images": once.images[rows], "picture_of": np.arange(120)})
    fitted, backbone = go(InfoNCE(), data=twice)
    assert_named(fitted, backbone, caplog, "captions of one picture are each other's negatives", "one id")


class Breaks(InfoNCE):
    """Not a number from the third call on; the first ones are the probes' own."""

    calls = 0

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        self.calls += torch.is_grad_enabled()
        return super().forward(*given) * (math.nan if self.calls > 3 else 1.0)


@pytest.mark.parametrize("callbacks", [(), (Ema(0.5),)], ids=["plain", "ema"])
def test_a_loss_that_is_not_a_number_ends_the_training(
    caplog: pytest.LogCaptureFixture, callbacks: tuple[pl.Callback, ...]
) -> None:
    fitted, backbone = go(Breaks(), callbacks=callbacks)
    assert_named(fitted, backbone, caplog, "training ended at step 4: the loss is nan")
    assert len(fitted.history) == 2, "the start and the first epoch of three steps"
    assert probes.all_finite(backbone)  # type: ignore[arg-type]


def test_weights_that_are_not_numbers_are_not_scored(caplog: pytest.LogCaptureFixture) -> None:
    class LastStep(InfoNCE):
        calls = 0

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            value = super().forward(*given)
            self.calls += torch.is_grad_enabled()
            if self.calls == 3 and value.requires_grad:
                value.register_hook(lambda gradient: gradient * math.inf)
            return value

    fitted, backbone = go(LastStep())
    assert_named(fitted, backbone, caplog, "training ended at step 3: the weights hold values that are not finite")
    assert len(fitted.history) == 1


def test_spread_and_rank_by_hand() -> None:
    corners = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    assert probes.spread_and_rank(corners) == pytest.approx((1.0, 2.0))
    assert probes.spread_and_rank(torch.tensor([[1.0, 0], [1.0, 0]])) == pytest.approx((0.0, 1.0))
    # Cosine of the two .6, so the mean of all four ordered pairs is .8, and 1 less that is .2.
    spread, rank = probes.spread_and_rank(torch.tensor([[1.0, 0], [0.6, 0.8]]))
    assert (spread, rank) == pytest.approx((0.2, 1.0))


def test_losses_are_asked_what_they_look_at() -> None:
    for loss in (Margin(), Margin(reduction="hardest"), InfoNCE(), SigLIP()):
        assert probes.masks_same_picture(loss)
        assert probes.depends_on_scale(loss) == (not isinstance(loss, Margin))
    assert not probes.masks_same_picture(Unmasked())


def test_a_loss_is_asked_where_training_runs() -> None:
    """NCCL takes no tensors of the CPU, and a loss without weights does not say where it runs."""
    meta = torch.device("meta")
    seen: list[torch.Tensor] = []

    class Noting(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            seen.extend(given)
            return torch.zeros(())

    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=meta))
    module = SimpleNamespace(loss=Noting(), backbone=Tiny(), device=meta)
    Collapse().on_fit_start(trainer, module)  # type: ignore[arg-type]
    probes.collapsed_loss(module, (None, None, torch.arange(4), torch.arange(4)))  # type: ignore[arg-type]
    assert len(seen) == 5 * 4
    assert {value.device for value in seen} == {meta}


def test_what_ranks_count_is_summed_where_they_run() -> None:
    summed: list[torch.Tensor] = []

    def reduce(value: torch.Tensor, reduce_op: str) -> list[int]:
        summed.append(value)
        return [7]

    once = Once(lambda: [7])
    once._trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta"), reduce=reduce))  # type: ignore[assignment]
    once.predict_step(torch.zeros(1), 0)
    assert summed[0].device.type == "meta"
    assert once.totals == [7]


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.collapse\.stuck_epochs=0"):
        Collapse(stuck_epochs=0)
