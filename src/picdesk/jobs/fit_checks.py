"""Values of the parts of training that would end a fit, or leave it unjudged, told before anything is encoded."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from picdesk.assembly.allowed import FOREIGN, OWN
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.errors import ConfigError
from picdesk.report.content import Note
from picdesk.training import probes
from picdesk.training.adaptation import Adaptation
from picdesk.training.losses import Mixture
from picdesk.training.module import monitored_names

STOPPING = "pytorch_lightning.callbacks.EarlyStopping"
FOUR = ("images", "texts", "picture", "logit_scale")
FEW = 10  # pictures, below which one hit more is worth more than 10 points of hits@1
WHOLE = "validation is whole or the fit cannot be judged; data.limit makes a smaller job"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
OTHER_NAMES = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "None": "32-true"}
RIGHT = {
    "lr": "a learning rate, a number that is 0 or more",
    "eps": "a number that is 0 or more",
    "weight_decay": "a number that is 0 or more",
    "betas": "two numbers within [0, 1)",
}
"""What the keys of an optimizer may be, where its own library says only that a value is not."""


def check_validation(node: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for keys of the trainer that leave out some of the validation, or validate at no time."""
    for key, wholes in (
        ("limit_val_batches", (None, 1.0)),
        ("overfit_batches", (0, 0.0)),
        ("fast_dev_run", (0, False)),
    ):
        value = node.get(key, wholes[0])
        one_batch = key == "limit_val_batches" and isinstance(value, int)  # 1 is one batch, 1.0 is all
        if value not in wholes or one_batch:
            raise ConfigError(f"trainer.{key}={value}: {WHOLE}; leave the key out")
    every, interval = node.get("check_val_every_n_epoch", 1), node.get("val_check_interval")
    if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise ConfigError(f"trainer.check_val_every_n_epoch={every}: a whole number of epochs, 1 or more")
    if isinstance(interval, int | float) and not interval > 0:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: a share of an epoch within (0, 1.0], or batches, 1 or more"
        )


def check_batches(node: Mapping[str, Any], batches: int) -> None:
    """Raise `ConfigError` where an epoch of so many batches is shorter than the keys of the trainer take it to be."""
    left = node.get("limit_train_batches")
    if isinstance(left, float) and left > 0 and int(batches * left) == 0:
        raise ConfigError(f"trainer.limit_train_batches={left}: less than one batch, as an epoch has {batches}")
    used = batches if left is None else int(batches * left) if isinstance(left, float) else min(batches, left)
    interval = node.get("val_check_interval")
    if node.get("check_val_every_n_epoch", 1) is None or not used or not isinstance(interval, int | float):
        return
    if (isinstance(interval, int) or interval > 1) and interval > used:
        raise ConfigError(f"trainer.val_check_interval={interval}: more batches than an epoch has ({used})")


def choice_notes(pictures: int) -> tuple[Note, ...]:
    """What is to be said of a validation part of so many pictures. Raises `ConfigError` where nothing can be chosen by it."""
    hint = "take a larger data.limit, more data, or another split"
    if pictures < 2:
        raise ConfigError(
            f"split: the val part has {pictures} picture, of which any order is right, so that no epoch is better than another; "
            f"{hint}"
        )
    if pictures >= FEW:
        return ()
    return (Note(f"the val part has {pictures} pictures, too few to choose an epoch by; {hint}", True),)


def check_precision(node: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a precision in which weights are kept as no backbone has them."""
    given = str(node.get("precision"))
    if OTHER_NAMES.get(given, given) not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision={given}: weights stay in float32 while they are trained; take {', '.join(PRECISIONS)}"
        )


def check_taken(node: Mapping[str, Any], precision: str) -> None:
    """Raise `ConfigError` where a trainer has put another `precision` in the place of the one that was asked for."""
    given = node.get("precision")
    if given is not None and OTHER_NAMES.get(str(given), str(given)) != precision:
        raise ConfigError(f"trainer.precision={given}: this device does not train in it; take {precision}, or a GPU")


def check_stopping(callbacks: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an early stopping that would fail, or stop by nothing."""
    for name, node in callbacks.items():
        if not isinstance(node, dict) or node.get("_target_") != STOPPING:
            continue
        key, mode, patience = f"callbacks.{name}", node.get("mode", "min"), node.get("patience", 3)
        if mode not in ("min", "max"):
            raise ConfigError(f"{key}.mode={mode}: max where more is better, else min")
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 0:
            raise ConfigError(f"{key}.patience={patience}: a whole number of validations, 0 or more")
        known = monitored_names()
        if node.get("monitor") not in known and not any(logs_more(other) for other in callbacks.values()):
            raise ConfigError(f"{key}.monitor={node.get('monitor')}: choose one of {', '.join(known)}")


def logs_more(node: Any) -> bool:
    """Whether a callback is one of the user's own, which may log numbers that nobody else knows."""
    target = str(node.get("_target_")) if isinstance(node, dict) else OWN
    return target not in FOREIGN and target.split(".")[0] != OWN


def check_given(adaptation: Adaptation, backbone: TwoTower, part: Collection) -> None:
    """Raise `ConfigError` where a trunk is to learn whose place the data set's own vectors take: it would be validated by what it
    makes, and scored by vectors that it no longer makes."""
    given = [m for m in adaptation.towers if backbone.given_features(m, part.vectors, part.name) is not None]
    if given:
        other = "" if "text" in given or not backbone.trunks_learn else " or, for the text tower, lock_image"
        raise ConfigError(
            f"adaptation={adaptation.name}: the {' and '.join(given)} vectors of data={part.name} are given, so no trunk makes "
            f"them that could learn; take adaptation=heads{other}"
        )


def check_steps(optimizer: Any, scheduler: Any) -> None:
    """Raise `ConfigError` where the optimizer or the schedule would be refused at the first step, after all the encoding."""
    try:
        first = optimizer([torch.nn.Parameter(torch.zeros(1))])
    except Exception as error:  # whatever its library raises: the values are the user's
        raise ConfigError(refused_key(optimizer) or f"optimizer: {words_of(error)}") from None
    try:
        scheduler(first, total_steps=10)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"scheduler: {words_of(error)}") from None


def refused_key(optimizer: Any) -> str:
    """The first key that the optimizer refuses by itself, its value, and what would be right; "" where there is none."""
    for name, value in getattr(optimizer, "keywords", {}).items():
        try:
            optimizer.func([torch.nn.Parameter(torch.zeros(1))], **{name: value})
        except Exception as error:
            return f"optimizer.{name}={value}: {RIGHT.get(name) or words_of(error)}"
    return ""


def words_of(error: Exception) -> str:
    """An error's own words in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def check_loss(loss: Any) -> None:
    """Raise `ConfigError` for a loss that cannot be called with a batch, gives no number, or teaches nothing.

    A loss that fails on the few rows tried here may do well on a whole batch, so only what it gives back is judged.
    """
    kind = probes.name_of(loss)
    if not isinstance(loss, nn.Module):
        raise ConfigError(f"{kind}: a torch.nn.Module is wanted")
    for part in loss.modules():
        if isinstance(part, Mixture) and not any(part.weights):
            raise ConfigError(
                f"loss.weights={list(part.weights)}: nothing would be learned; at least one is to be above 0"
            )
    try:
        inspect.signature(loss.forward).bind(*FOUR)
    except TypeError as error:
        raise ConfigError(f"{kind}: {error}; forward is called with {', '.join(FOUR)}") from None
    images, texts = (probes.example(seed).requires_grad_() for seed in (0, 1))
    scale = torch.zeros((), requires_grad=True)
    try:
        with torch.random.fork_rng(devices=[]):
            given = copy.deepcopy(loss)(images, texts, torch.arange(len(images)) // 2, scale)
    except Exception:  # it may want what the rows of a real batch have
        return
    probes.check_result(loss, given)
