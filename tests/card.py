"""A stand-in for a GPU: tensors that say they lie on another device, and an error wherever one meets a tensor that does not.

The device is called `meta`, as torch asks no driver for that one, but the numbers are there: they lie in main memory behind each
tensor, so what a model computes on the card can be compared with what it computes without. No gradients, no kernels of CUDA.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = "meta"
MOVES = ("aten::_to_copy", "aten::copy_")


class WrongDeviceError(RuntimeError):
    """Tensors of two devices in one operation."""


class OnCard(torch.Tensor):
    """A tensor on the card; `behind` are its numbers."""

    behind: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> "OnCard":
        place = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype, "device": CARD}
        made: OnCard = torch.Tensor._make_wrapper_subclass(cls, real.size(), **place)  # type: ignore[attr-defined]
        made.behind = real
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return work_out(func, args, kwargs or {})


class Card(TorchDispatchMode):
    """While it is on, `.to(CARD)` and what is made with `device=CARD` give tensors on the card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return work_out(func, args, kwargs or {})


def work_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation of torch, in main memory; its results are where a GPU would have put them. Raises `WrongDeviceError`."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    here = [one for one in tensors if not isinstance(one, OnCard)]
    name, device = func._schema.name, kwargs.get("device")
    on_card = len(here) < len(tensors)
    if on_card and name not in MOVES and any(one.ndim for one in here):  # a single number may come from anywhere
        raise WrongDeviceError(f"{name}: one tensor is on the card, another is not")
    real = tree_map(lambda one: one.behind if isinstance(one, OnCard) else one, (args, kwargs))
    if device is not None:
        real[1]["device"] = torch.device("cpu")
        on_card = torch.device(device).type == CARD
    out = func(*real[0], **real[1])
    filled = [kwargs[one.name] for one in func._schema.arguments if one.is_out and one.name in kwargs]
    if filled:
        return filled[0] if len(filled) == 1 else tuple(filled)
    if func._schema.is_mutable and isinstance(args[0], torch.Tensor):
        return args[0]
    return tree_map(lambda one: OnCard(one) if on_card and isinstance(one, torch.Tensor) else one, out)


@contextmanager
def card() -> Iterator[str]:
    """The card is there, and modules can be moved to it; its name."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    make = torch.tensor  # with a device it goes past the mode
    torch.tensor = lambda data, device=None, **told: make(data, **told).to(device or "cpu")
    try:
        with torch.no_grad(), Card():
            yield CARD
    finally:
        torch.tensor = make
        torch.__future__.set_overwrite_module_params_on_conversion(before)
