"""A value of a part that is of another kind than its class takes is refused, however its library would take it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from picdesk.assembly.build import build, fits, refuse_nan
from picdesk.errors import ConfigError
from tests.commands.test_mistakes import one_line
from tests.doors import run

Capture = pytest.CaptureFixture[str]
MISTAKES = {
    "true for a number of the trainer": (("trainer.max_epochs=true",), ("trainer.max_epochs=True", "a whole number")),
    "a rank with a fraction": (("adaptation=lora", "adaptation.rank=1.5"), ("adaptation.rank=1.5", "a whole number")),
    "blocks with a fraction": (("adaptation=last_blocks", "adaptation.n=1.5"), ("adaptation.n=1.5", "a whole number")),
    "one beta": (("optimizer.betas=[0.9]",), ("optimizer.betas=[0.9]", "a list of 2 numbers")),
    "a rate without end": (("optimizer.lr=inf",), ("optimizer.lr=inf", "finite")),
    "true for a rate": (("optimizer.lr=true",), ("optimizer.lr=True", "a number")),
    "weights without end": (("loss=mixture", "loss.weights=[inf,1]"), ("loss.weights.0=inf", "finite")),
    "true for a weight": (("loss=mixture", "loss.weights=[true,1]"), ("loss.weights=[True, 1]", "a list of numbers")),
}


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_the_data_set_is_read(
    name: str, capfd: Capture, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    overrides, words = MISTAKES[name]
    one_line(run(capfd, tmp_path, "train", *settings, *overrides), *words)


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (2.0, int, True),
        (1.5, int, False),
        (True, int, False),
        (True, float | None, False),
        (True, bool | None, True),
        (True, str | None, False),
        (True, str | bool, True),
        (2024, str, True),
        (True, float | torch.Tensor, False),
        (10**400, float, True),
        ([1, 2.5], Sequence[float], True),
        ([1, 2.5], list[int], False),
        ([0.9, 0.98], tuple[float, float], True),
        ([0.9], tuple[float, float], False),
        ([0.9], tuple[float, ...], True),
        ([[]], list, True),
        ([1], int | list[int], True),
    ],
)
def test_a_value_fits_its_kind(value: Any, hint: Any, fit: bool) -> None:
    assert fits(value, hint) is fit


def test_what_is_not_finite_is_refused_in_parts_of_the_projects_own() -> None:
    refuse_nan({"most": float("inf")}, "mylab")
    with pytest.raises(ConfigError, match=r"loss.weights.1=-inf: a finite number"):
        refuse_nan({"weights": [1, float("-inf")]}, "loss", infinite=True)


def test_a_column_that_yaml_takes_for_a_number_or_for_true() -> None:
    """Both were a traceback: a number and a truth value have no `split`."""
    node = {
        "_target_": "picdesk.readers.Csv",
        "root": ".",
        "file": "a.csv",
        "picture_column": 2024,
        "tag_separators": ";",
    }
    assert build(OmegaConf.create({"data": node}), "data").picture_column == "2024"
    with pytest.raises(
        ConfigError, match=r"data\.picture_column=True: true or false, where a text belongs; in YAML yes, no"
    ):
        build(OmegaConf.create({"data": node | {"picture_column": True}}), "data")
