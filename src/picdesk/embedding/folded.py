"""Convolutions of an EfficientNet with their batch norm and activation folded in: one pass through memory in place of three.

In evaluation a batch norm is a factor and a summand for each channel, which the weights of the convolution before it can have
taken in (Jacob et al. 2018, arXiv 1712.05877, section 3.2). In float32 that changes last digits, so it is done in bf16 alone,
where features are about as far from those of float32 with it as without, and an EfficientNet-Lite0 takes 4.5 ms of processor
time a picture in place of 12.9 (`bench/engines.py`, a CPU with AMX).

TensorFlow pads what a convolution of stride 2 reads by one more at its end than at its start, which torch's convolutions cannot,
so that each such layer copies its input into a larger tensor. Of the picture turned by 180 degrees the additional one is at the
start, and a convolution that pads both ends alike never comes to its own at the other end: with the picture and all kernels
turned, which changes no sum but the order of its parts, nothing is copied.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from picdesk.embedding.in_place import has_statistics, pad_same

EFFICIENTNET = "timm.models.efficientnet.EfficientNet"
BLOCKS = "timm.models._efficientnet_blocks"
PAIRS = {
    EFFICIENTNET: (("conv_stem", "bn1"), ("conv_head", "bn2")),
    f"{BLOCKS}.ConvBnAct": (("conv", "bn1"),),
    f"{BLOCKS}.DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    f"{BLOCKS}.InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    f"{BLOCKS}.EdgeResidual": (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
}
"""The convolutions of timm's modules, each with the norm that comes next."""
SIMPLE: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""Activations that give the same bits before and after a result is rounded, with their names in oneDNN."""

ALIKE = frozenset(
    (
        *(
            "Sequential",
            "Identity",
            "Linear",
            "Dropout",
            "SqueezeExcite",
            "SelectAdaptivePool2d",
            "AdaptiveAvgPool2d",
            "Flatten",
        ),
        *("ReLU", "ReLU6", "SiLU", "Sigmoid", "Hardswish", "Hardsigmoid", "PReLU", "GELU"),
    )
)
"""Kinds of modules inside an EfficientNet to which all places are alike."""


class FoldedConvolution(nn.Module):
    """A convolution of [n, channels, height, width], whose weights become others, with the batch norm that followed it and the
    activation of that. `padded`: it pads as TensorFlow does, as timm's `Conv2dSame` has it.
    """

    def __init__(self, convolution: nn.Conv2d, norm: Any, padded: bool) -> None:
        from torch.nn.utils.fusion import fuse_conv_bn_weights

        super().__init__()
        own = convolution.weight, convolution.bias, norm.running_mean, norm.running_var
        weight, bias = fuse_conv_bn_weights(*own, norm.eps, norm.weight, norm.bias)
        convolution.weight, convolution.bias, self.convolution = weight, bias, convolution
        self.act, self.padded, self.turns_input = norm.act, padded, False
        self.padding: Any = convolution.padding
        self.simple = SIMPLE.get(type(norm.act))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The bits of the convolution and then the activation; in one go where oneDNN has that for this processor."""
        layer = self.convolution
        if self.turns_input:
            x = x.flip(2, 3)
        if self.padded:
            x = pad_same(layer, x)
        result: torch.Tensor
        if self.simple is not None and joins(x):
            name, scalars = self.simple
            how = self.padding, layer.stride, layer.dilation, layer.groups, name, scalars, ""
            result = torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *how)
            return result
        plain = F.conv2d(x, layer.weight, layer.bias, layer.stride, self.padding, layer.dilation, layer.groups)
        result = self.act(plain)
        return result

    @property
    def can_turn(self) -> bool:
        """Whether with everything turned it gives the same, turned, and pads by itself: kernels of odd size in steps of 1 that
        pad both ends alike, or in steps of 2 that pad as TensorFlow does and have something to pad."""
        layer = self.convolution
        sides = [*zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)]
        stepwise = all(step == 1 or (step == 2 and side > 1 and self.padded) for side, step, _ in sides)
        alike = self.padded or layer.padding == tuple(side // 2 for side in layer.kernel_size)
        return stepwise and alike and all(side % 2 == 1 and apart == 1 for side, _, apart in sides)

    def turn(self, first: bool) -> None:
        """Go over to pictures turned by 180 degrees, as what comes before has them; the `first` one has to turn them itself."""
        layer = self.convolution
        layer.weight = nn.Parameter(layer.weight.flip(2, 3), requires_grad=False)
        self.padding = tuple(side // 2 for side in layer.kernel_size)
        self.padded, self.turns_input = False, first


def joins(x: torch.Tensor) -> bool:
    """Whether torch can join a convolution of this and its activation: on CPUs for whose kind of bf16 oneDNN has kernels."""
    kernels = torch.ops.mkldnn
    known = x.device.type == "cpu" and x.dtype == torch.bfloat16 and hasattr(kernels, "_convolution_pointwise")
    return known and bool(kernels._is_mkldnn_bf16_supported())


def fold_norms(trunk: nn.Module) -> nn.Module:
    """A copy of a trunk in evaluation whose batch norms are folded into the convolutions before them, wherever it has
    EfficientNets of timm's; other modules are copied as they are. Does not learn any more."""
    folded = copy.deepcopy(trunk).eval().float()
    with torch.no_grad():
        for block, convolution, norm in list(pairs_of(folded)):
            layer = getattr(block, convolution)
            setattr(block, convolution, FoldedConvolution(layer, getattr(block, norm), type(layer) is not nn.Conv2d))
            setattr(block, norm, nn.Identity())
        for model in folded.modules():
            if name_of(model) == EFFICIENTNET:
                turn_convolutions(model)
    return folded.requires_grad_(False)


def turn_convolutions(model: Any) -> None:
    """Let a folded EfficientNet turn its pictures, where nothing in it knows above from below, and padding is saved by it."""
    layers = [module for module in model.modules() if isinstance(module, FoldedConvolution)]
    inside = {module for layer in layers for module in layer.modules()}
    others = all(knows_no_direction(module) for module in model.modules() if module not in inside)
    mean = getattr(model.global_pool, "pool_type", "") == "avg"  # over all places
    if any(layer.padded for layer in layers) and others and mean and all(layer.can_turn for layer in layers):
        for layer in layers:
            layer.turn(first=layer is model.conv_stem)


def knows_no_direction(module: nn.Module) -> bool:
    """Whether what a module of an EfficientNet does besides its convolutions is the same for a turned picture: of known kinds
    alone, as pooling in steps and convolutions of other kinds may not be."""
    if isinstance(module, nn.Conv2d):  # of squeeze and excitation
        return set(module.kernel_size + module.stride) == {1}
    return name_of(module) in PAIRS or type(module).__name__ in ALIKE


def pairs_of(trunk: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Modules with the names of a convolution and of the norm after it that can be one."""
    from timm.layers import BatchNormAct2d, Conv2dSame

    for block in trunk.modules():
        for convolution, norm in PAIRS.get(name_of(block), ()):
            layer, after = getattr(block, convolution, None), getattr(block, norm, None)
            if type(layer) in (nn.Conv2d, Conv2dSame) and type(after) is BatchNormAct2d and folds(after):
                yield block, convolution, norm


def folds(norm: Any) -> bool:
    """Whether a norm of timm's is a factor and a summand for each channel, and an activation, and nothing else."""
    return isinstance(norm.drop, nn.Identity) and has_statistics(norm)


def name_of(module: nn.Module) -> str:
    """Where its class is defined, and its name."""
    return f"{type(module).__module__}.{type(module).__name__}"
