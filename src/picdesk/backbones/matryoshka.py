"""Shorter vectors out of a model that was trained for them: the first numbers of each, made length 1 again.

Matryoshka representation learning (Kusupati et al. 2022, arXiv 2205.13147) trains a vector so that its beginning is a vector of
the same kind. A head is cut, not the stored trunk features, so every length is served by the same encoded pictures and texts.
"""

from __future__ import annotations

import torch
from torch import nn

from picdesk.errors import ConfigError


class First(nn.Module):
    """The first `count` numbers of each vector."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(count))  # a buffer, so that digests over a head's content see it
        self._count = count

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[n, width] to [n, count]."""
        return features[..., : self._count]


def shortened(head: nn.Module, dim: int | None, full: int) -> nn.Module:
    """A head that gives the first `dim` of its `full` numbers; itself for None. Raises `ConfigError` for another number."""
    if dim is None or dim == full:
        return head
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim < full:
        raise ConfigError(f"backbone.dim={dim}: the model's vectors have {full} numbers; give at most as many, or null")
    if not isinstance(head, nn.Linear):
        return First(dim) if isinstance(head, nn.Identity) else nn.Sequential(head, First(dim))
    short = nn.Linear(head.in_features, dim, bias=head.bias is not None)
    short.weight = nn.Parameter(head.weight.detach()[:dim].clone(), requires_grad=head.weight.requires_grad)
    if head.bias is not None:
        short.bias = nn.Parameter(head.bias.detach()[:dim].clone(), requires_grad=head.bias.requires_grad)
    return short
