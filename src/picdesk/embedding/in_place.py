"""Layers that a trunk passes while it encodes, with less going through memory: the same numbers to the bit.

On two cores a picture's way through an EfficientNet is bound by memory as much as by arithmetic. timm's convolutions with "same"
padding fill a larger tensor and copy the picture into it, and the batch norms of an EfficientNet write their result beside what
they read, the output of a convolution that nobody looks at again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

EFFICIENTNET = "timm.models.efficientnet.EfficientNet"
BLOCKS = ("ConvBnAct", "DepthwiseSeparableConv", "InvertedResidual", "EdgeResidual")
AFTER_CONVOLUTIONS = {EFFICIENTNET, *(f"timm.models._efficientnet_blocks.{name}" for name in BLOCKS)}
"""Modules each of whose own norms reads what a convolution has just made. Elsewhere a norm may read what is still wanted: the
shortcut goes by it in blocks that normalise first (ResNet v2, CoAtNet)."""


def work_in_place(trunk: nn.Module) -> list[nn.Module]:
    """Let timm's padded convolutions and batch norms in a trunk work in place until `as_before`; the layers that this changed.

    Layers that work in place already are none of them. Meanwhile the trunk gives no gradients.
    """
    # an import waits for a thread that is at it; until then the table of modules has half of one
    layers: Any = importlib.import_module("timm.layers") if "timm.layers" in sys.modules else None
    ways: dict[nn.Module, Callable[..., torch.Tensor]] = {}
    for module in () if layers is None else trunk.modules():
        if type(module) is layers.Conv2dSame:
            ways[module] = convolve_padded
        if f"{type(module).__module__}.{type(module).__name__}" in AFTER_CONVOLUTIONS:
            norms = (child for child in module.children() if type(child) is layers.BatchNormAct2d)
            ways |= {norm: normalise_in_place for norm in norms if has_statistics(norm)}
    changed = [module for module in ways if "forward" not in vars(module)]
    for module in changed:
        module.forward = partial(ways[module], module)
    return changed


def as_before(layers: Iterable[nn.Module]) -> None:
    """Give layers their own ways back; those that have them stay as they are."""
    for module in layers:
        way = vars(module).get("forward")
        if isinstance(way, partial) and way.func in (convolve_padded, normalise_in_place):
            vars(module).pop("forward", None)


def has_statistics(norm: Any) -> bool:
    """Whether a batch norm has everything that its result depends on, and takes none of it from the batch."""
    return not norm.training and all(
        getattr(norm, name) is not None for name in ("running_mean", "running_var", "weight", "bias")
    )


def convolve_padded(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """As timm's `Conv2dSame`, of [n, channels, height, width]: of the padded tensor only the margin is filled with zeros."""
    return F.conv2d(pad_same(layer, x), layer.weight, layer.bias, layer.stride, (0, 0), layer.dilation, layer.groups)


def pad_same(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """What a convolution with TensorFlow's "same" padding reads: [n, channels, height, width] with zeros around it."""
    height, width = x.shape[2:]
    (above, below), (left, right) = (margins(layer, side, length) for side, length in enumerate((height, width)))
    if not above + below + left + right:
        return x
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_last else torch.contiguous_format
    shape = (*x.shape[:2], above + height + below, left + width + right)
    padded = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    padded[:, :, :above] = 0
    padded[:, :, above + height :] = 0
    padded[:, :, :, :left] = 0
    padded[:, :, :, left + width :] = 0
    padded[:, :, above : above + height, left : left + width] = x
    return padded


def margins(layer: nn.Conv2d, side: int, length: int) -> tuple[int, int]:
    """Zeros before and after `length` rows (side 0) or columns (side 1), the odd one after."""
    kernel, stride, dilation = layer.kernel_size[side], layer.stride[side], layer.dilation[side]
    both = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
    return both // 2, both - both // 2


def normalise_in_place(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """As timm's `BatchNormAct2d` in evaluation, of [n, channels, height, width], over the tensor that it is given."""
    unused = x.new_empty(0), x.new_empty(0)
    known = layer.weight, layer.bias, layer.running_mean, layer.running_var
    torch.native_batch_norm(x, *known, False, 0.0, layer.eps, out=(x, *unused))
    result: torch.Tensor = layer.act(layer.drop(x))
    return result
