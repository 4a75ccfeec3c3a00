"""A fit never ends below where it began, leaves what is frozen alone, and repeats."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from picdesk.backbones.deferred import Deferred
from picdesk.errors import ConfigError
from picdesk.training.adaptation import Heads
from picdesk.training.averaging import Ema, mix_weights, wise_ft
from picdesk.training.collapse import Collapse
from picdesk.training.datamodule import FeatureData
from picdesk.training.features import Features
from picdesk.training.fit import Fitted, embed_part, fit
from picdesk.training.losses import InfoNCE, Margin, SigLIP
from picdesk.training.module import MONITOR, validation_metrics
from picdesk.training.schedules import constant, cosine
from picdesk.trec.runs import Qrels
from tests.embedding.fakes import Tiny


def features(seed: int, pictures: int = 60, captions: int = 2) -> Features:
    """Pictures whose captions' features are a fixed rotation of their own, with noise."""
    rng = np.random.default_rng(seed)
    turn = np.random.default_rng(99).normal(size=(5, 7))
    images = rng.normal(size=(pictures, 5))
    owner = np.repeat(np.arange(pictures), captions)
    texts = images[owner] @ turn + rng.normal(scale=0.3, size=(len(owner), 7))
    names, text_names = tuple(f"p{i}" for i in range(pictures)), tuple(f"t{j}" for j in range(len(owner)))
    every = np.arange(len(owner))
    return Features(
        names,
        text_names,
        images.astype(np.float32),
        texts.astype(np.float32),
        owner,
        Qrels.from_pairs(text_names, names, every, owner),
        Qrels.from_pairs(names, text_names, owner, every),
    )


def run_fit(
    lr: float = 0.03,
    loss: Any = None,
    epochs: int = 4,
    callbacks: Any = (),
    seed: int = 0,
    backbone: Tiny | None = None,
    train: Features | None = None,
    **limits: Any,
) -> tuple[Fitted, Tiny]:
    backbone = backbone or Tiny()
    trained = Heads().prepare(backbone)

    def make_trainer(callbacks: list[pl.Callback]) -> pl.Trainer:
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        return pl.Trainer(
            max_epochs=epochs,
            callbacks=callbacks,
            accelerator="cpu",
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            **quiet,
            **limits,
        )

    data = FeatureData(train or features(0), features(1), batch_size=40, seed=seed)
    optimizer = partial(torch.optim.AdamW, lr=lr)
    fitted = fit(backbone, trained, loss or Margin(), optimizer, constant, data, make_trainer, list(callbacks), seed)
    return fitted, backbone


def score_of(backbone: Tiny) -> float:
    val = features(1)
    return validation_metrics(val, *embed_part(backbone, val))[MONITOR]


@pytest.mark.parametrize(
    "loss", [Margin(), Margin(reduction="hardest"), InfoNCE(), SigLIP()], ids=["sum", "hard", "nce", "sig"]
)
def test_training_learns_and_what_is_kept_is_the_best(loss: torch.nn.Module) -> None:
    fitted, backbone = run_fit(loss=loss, epochs=12)
    start = fitted.history[0][MONITOR]
    assert fitted.history[0]["epoch"] == 0
    assert score_of(backbone) == fitted.path.scores[fitted.path.best] == max(fitted.path.scores)
    assert score_of(backbone) > start + 0.1


def test_step_zero_is_the_evaluation_of_the_untouched_backbone() -> None:
    fitted, _ = run_fit(epochs=1)
    fresh = Tiny()
    assert fitted.history[0][MONITOR] == pytest.approx(score_of(fresh), abs=1e-6)
    assert fitted.path.scores[0] == pytest.approx(score_of(fresh), abs=1e-6)


def test_a_rate_of_zero_leaves_every_weight_as_it_was() -> None:
    _, backbone = run_fit(lr=0.0)
    for (name, value), fresh in zip(backbone.named_parameters(), Tiny().parameters(), strict=True):
        assert torch.equal(value, fresh), name


def test_frozen_trunks_stay_bit_equal() -> None:
    _, backbone = run_fit()
    fresh = Tiny()
    assert torch.equal(backbone.image_trunk.weight, fresh.image_trunk.weight)
    assert not torch.equal(backbone.image_head.weight, fresh.image_head.weight)
    assert backbone.trunk_fingerprint("image") == fresh.trunk_fingerprint("image")


def test_a_fit_on_features_loads_no_trunk() -> None:
    def load() -> torch.nn.Module:
        raise AssertionError("a trunk was loaded")

    backbone = Tiny()
    for name in ("image_trunk", "text_trunk"):
        backbone._modules[name] = Deferred(load, (), {})
    fitted, _ = run_fit(backbone=backbone)
    there, _ = run_fit()
    assert fitted.history == there.history


class Flat(torch.nn.Module):
    """A loss that no weight changes."""

    def forward(self, u: torch.Tensor, v: torch.Tensor, picture: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return torch.tensor(1.0)


def test_a_loss_that_nothing_can_be_learned_from_is_named() -> None:
    with pytest.raises(ConfigError, match=r"loss=tests.training.test_fit.Flat: forward gives a constant; one number"):
        run_fit(loss=Flat())


class Turned(torch.nn.Module):
    """A loss with a weight of its own, for embeddings of one width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.turn = torch.nn.Parameter(torch.eye(dim))

    def forward(self, u: torch.Tensor, v: torch.Tensor, picture: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (1 - (u @ self.turn * v).sum(1)).mean()


def test_a_loss_for_embeddings_of_one_width_is_watched_on_such() -> None:
    fitted, _ = run_fit(loss=Turned(Tiny().dim), epochs=2, callbacks=[Collapse()])
    assert len(fitted.history) == 3


@pytest.mark.parametrize("lr", [1e4, 1e-12])
def test_a_fit_that_does_not_help_keeps_its_start(lr: float) -> None:
    good, trained = run_fit(epochs=12)
    best = score_of(trained)

    def go_on() -> Fitted:
        parameters = Heads().prepare(trained)
        data = FeatureData(features(0), features(1), batch_size=40, seed=1)
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        make: Callable[..., pl.Trainer] = partial(
            pl.Trainer, max_epochs=2, accelerator="cpu", enable_checkpointing=False, num_sanity_val_steps=0, **quiet
        )
        optimizer = partial(torch.optim.AdamW, lr=lr)
        return fit(trained, parameters, Margin(reduction="hardest"), optimizer, constant, data, make, [], 0)

    again = go_on()
    assert again.path.scores[0] == pytest.approx(best)
    assert score_of(trained) >= best
    assert good.path.alpha > 0


def test_the_same_seed_repeats_to_the_bit() -> None:
    (one, first), (two, second), (other, third) = run_fit(), run_fit(), run_fit(seed=1)
    assert one.history == two.history
    assert torch.equal(first.image_head.weight, second.image_head.weight)
    assert not torch.equal(first.image_head.weight, third.image_head.weight)
    assert other.history != one.history


def test_ema_validates_the_average_and_trains_the_live_weights() -> None:
    averaged, _ = run_fit(callbacks=[Ema(0.9)])
    plain, _ = run_fit()
    assert averaged.history[1]["train/loss"] == plain.history[1]["train/loss"]
    assert averaged.history[1][MONITOR] != plain.history[1][MONITOR] or averaged.path.weights != plain.path.weights


def test_the_ends_of_the_way_are_the_weights_themselves() -> None:
    start, end = Heads().prepare(Tiny(0)).plain_weights(), Heads().prepare(Tiny(1)).plain_weights()
    for alpha, side in ((0.0, start), (1.0, end)):
        assert all(torch.equal(value, side[name]) for name, value in mix_weights(start, end, alpha).items())
    middle = mix_weights(start, end, 0.5)
    assert torch.allclose(middle["image_head.weight"], (start["image_head.weight"] + end["image_head.weight"]) / 2)


def test_of_equal_scores_the_nearest_to_the_start_is_kept() -> None:
    start, end = Heads().prepare(Tiny(0)).plain_weights(), Heads().prepare(Tiny(1)).plain_weights()
    assert wise_ft(start, end, lambda weights: 0.5).alpha == 0.0


def test_a_way_without_a_step_is_scored_once() -> None:
    start, same, scored = Heads().prepare(Tiny()).plain_weights(), Heads().prepare(Tiny()).plain_weights(), []
    path = wise_ft(start, same, lambda weights: scored.append(weights) or 0.5)  # type: ignore[func-returns-value]
    assert (len(scored), path.scores, path.alpha) == (1, (0.5,) * 11, 0.0)


def test_one_text_each_draws_every_picture_once_and_other_texts_each_epoch() -> None:
    some = features(0, pictures=30, captions=4)
    sampler = FeatureData(some, some, batch_size=10, seed=3, sampler="pictures").sampler
    epochs = [list(sampler), list(sampler)]
    for rows in epochs:
        assert sorted(some.picture_of[rows]) == list(range(30))
    assert sorted(epochs[0]) != sorted(epochs[1])
    again = FeatureData(some, some, batch_size=10, seed=3, sampler="pictures").sampler
    assert list(again) == epochs[0]
    assert len(set(np.concatenate([list(sampler) for _ in range(60)]))) == 120


def test_cosine_rises_then_falls_to_zero() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = cosine(optimizer, total_steps=20, warmup=0.2)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == 1.0
    assert rates[12] == pytest.approx(0.5)
    assert schedule.get_last_lr()[0] == pytest.approx(0.0, abs=1e-9)


LIMITS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "steps within the first epoch": ({"max_steps": 2}, [0, 1]),
    "steps within a later epoch": ({"max_steps": 5}, [0, 1, 2]),
    "steps up to an epoch's end": ({"max_steps": 6}, [0, 1, 2]),
    "every other epoch": ({"check_val_every_n_epoch": 2, "epochs": 3}, [0, 2, 3]),
    "every other epoch, ending on one": ({"check_val_every_n_epoch": 2, "epochs": 4}, [0, 2, 4]),
    "after two of three batches": ({"val_check_interval": 2, "epochs": 1}, [0, 1, 1]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_end_of_a_fit_is_scored_wherever_it_ends(name: str) -> None:
    limits, epochs = LIMITS[name]
    fitted, backbone = run_fit(callbacks=[Collapse()], **limits)
    assert [row["epoch"] for row in fitted.history] == epochs
    assert "train/loss" in fitted.history[-1]
    assert fitted.best > 0
    assert fitted.path.scores[-1] == pytest.approx(fitted.history[fitted.best][MONITOR])
    assert fitted.history[-1][MONITOR] > fitted.history[0][MONITOR]
    assert score_of(backbone) == max(fitted.path.scores)


def test_a_loss_stands_in_the_row_of_its_own_epoch() -> None:
    every, _ = run_fit(epochs=4)
    other, _ = run_fit(epochs=4, check_val_every_n_epoch=2)
    short, _ = run_fit(max_steps=4)
    assert [row["train/loss"] for row in other.history[1:]] == [every.history[i]["train/loss"] for i in (2, 4)]
    assert short.history[1] == every.history[1]
    assert short.history[2]["train/loss"] != every.history[2]["train/loss"]


def test_an_epoch_says_how_far_it_is(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from picdesk.embedding import progress
    from picdesk.process import stops
    from picdesk.training.fit import Steps

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    trainer = SimpleNamespace(current_epoch=3, num_training_batches=100, is_global_zero=True)
    steps = Steps()
    with caplog.at_level("INFO"):
        steps.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        for _ in range(40):
            now[0] += 1
            steps.on_train_batch_end(trainer)  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == ["epoch 4, steps: 30 of 100 (1/s, 70 s left)"]
    assert "while at: epoch 4" in stops.line(stops.Stop(2))
    stops.note_place("")


def test_no_weights_are_written_out_when_trainers_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning puts whatever a trainer is given into a line that is logged nowhere."""
    written: list[torch.Tensor] = []
    write = torch.Tensor.__repr__

    def noted(tensor: torch.Tensor, **how: Any) -> str:
        written.append(tensor)
        return write(tensor, **how)

    monkeypatch.setattr(torch.Tensor, "__repr__", noted)
    monkeypatch.setattr(torch.nn.Parameter, "__repr__", noted)
    run_fit(epochs=1, callbacks=[Ema(), Collapse()])
    assert written == []
