"""LoRA (Hu et al. 2022, arXiv 2106.09685): a frozen matrix W is used as W + (alpha / rank) B A, and only A and B are trained.

The sum is a parametrization of the weight itself, so it works wherever a library reads that weight: in linear layers, in 1 x 1
convolutions, and in the packed attention of open_clip's towers. peft, whose linear layers this equals, adds to packed attention
in place and takes away again at every step, which rounds the frozen weights a little each time; here they are never written to.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils import parametrize

INSIDE, ORIGINAL = "parametrizations.", ".original"


class LowRank(nn.Module):
    """The sum for one weight [out, in, ...] with rows and columns only; B starts at zero, so the sum starts as W, to the bit."""

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight.shape[1]
        rank = min(rank, rows, columns)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """W + (alpha / rank) B A, in the shape of W."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.scale * (self.up @ self.down)).view_as(weight)


def adapt(trunk: nn.Module, rank: int, alpha: float, seed: int) -> int:
    """Put a low-rank sum on every matrix of a trunk's blocks, the frozen weights left as they are. How many there were.

    Matrices of linear layers, of attention (packed or not) and of 1 x 1 convolutions without groups; not embedding tables.
    """
    wanted = [(module, name) for module in trunk.modules() for name in matrices(module)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module, name in wanted:
            weight = getattr(module, name)
            parametrize.register_parametrization(module, name, LowRank(weight, rank, alpha).to(weight.device))
    return len(wanted)


def matrices(module: nn.Module) -> list[str]:
    """Names of a module's own weights that take a low-rank sum."""
    if isinstance(module, nn.MultiheadAttention):
        return ["in_proj_weight"] if module.in_proj_weight is not None else []
    if isinstance(module, nn.Linear):
        return ["weight"]
    plain = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    return ["weight"] if plain else []


def plain_name(name: str) -> str:
    """The name that a weight has where there is no low-rank sum on it."""
    return name.replace(INSIDE, "").removesuffix(ORIGINAL)


def merge_weights(trunk: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the weights that the sums amount to, by their plain names."""
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for prefix, module in trunk.named_modules():
            if not parametrize.is_parametrized(module):
                continue
            for name in module.parametrizations:
                whole = f"{prefix}.{name}" if prefix else name
                found[whole] = getattr(module, str(name)).detach().cpu().clone().contiguous()
    return found


def take_out(trunk: nn.Module) -> None:
    """Remove every low-rank sum: the frozen weights are back, to the bit, under their plain names."""
    for module in list(trunk.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, str(name), leave_parametrized=False)
