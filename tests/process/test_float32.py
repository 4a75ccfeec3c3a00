"""Whatever a process allows itself, what is compared and stored as float32 is computed in float32."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from picdesk.process.float32 import exact_settings, true_float32


def settings() -> list[Any]:
    return [getattr(place, name) for place, name, _ in exact_settings()]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = settings()
    yield
    for (place, name, _), value in zip(exact_settings(), before, strict=True):
        setattr(place, name, value)


def former_settings() -> list[Any]:
    """By the names of before torch 2.9: each is an error of torch's where it does not agree with the newer ones."""
    return [
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
    ]


@pytest.mark.parametrize("way", ["as it comes", "former", "new"])
def test_nothing_is_rounded_while_it_lasts(way: str) -> None:
    if way == "former":
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = True
    elif way == "new":
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # type: ignore[attr-defined]
    before, exact = settings(), [value for _, _, value in exact_settings()]
    former = None if way == "new" else former_settings()
    assert before != exact, "torch takes TF32 for convolutions on a GPU by itself"
    with true_float32():
        assert settings() == exact
        with true_float32():
            assert settings() == exact
        assert settings() == exact
        assert former_settings() == [False, False, "highest"], "a model's own code may ask"
        with torch.backends.cudnn.flags(enabled=False):
            assert not torch.backends.cudnn.enabled
        assert settings() == exact
        assert torch.backends.cudnn.rnn.fp32_precision == "ieee"  # type: ignore[attr-defined]
    assert settings() == before
    assert former is None or former_settings() == former


def test_threads_leave_it_to_the_last_of_them() -> None:
    before, exact = settings(), [value for _, _, value in exact_settings()]
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with true_float32():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=stay)
    with true_float32():
        thread.start()
        assert inside.wait(5)
    assert settings() == exact, "another thread still computes"
    leave.set()
    thread.join()
    assert settings() == before
