"""Models whose tensors are not filled when they are built: a file brings what is in them, or nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

DRAWING = ("normal_", "uniform_", "kaiming_uniform_", "erfinv_")
"""Functions of torch, and of `torch.nn.init`, that draw random numbers, which takes MiniLM three times as long as its file."""
FILLING = (*DRAWING, "constant_", "mul_", "add_", "clamp_", "zero_")


class Unfilled(TorchFunctionMode):
    """Within it tensors keep what is in them, whatever one of `functions` would put there.

    For a model whose weights all come from a file take `DRAWING`, and refuse a file that lacks a tensor.
    """

    def __init__(self, functions: Sequence[str] = FILLING) -> None:
        super().__init__()
        self._functions = functions

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return [*args, *given.values()][0] if func.__name__ in self._functions else func(*args, **given)
