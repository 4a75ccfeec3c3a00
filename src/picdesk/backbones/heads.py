"""Heads: what projects trunk features into the shared space, the head that is shown several views, and heads cut shorter.

Matryoshka representation learning (Kusupati et al. 2022, arXiv 2205.13147) trains a vector so that its beginning is a vector of
the same kind. A head is cut, not the stored trunk features, so every length is served by the same encoded pictures and texts.
"""

from __future__ import annotations

import torch
from torch import nn

from picdesk.errors import ConfigError


def make_head(width: int, dim: int, hidden: int, dropout: float, residual: bool = False) -> nn.Module:
    """Norm, dropout and a linear projection; with `hidden` > 0 a hidden GELU layer before the projection.

    `residual` keeps the linear projection beside the hidden layer and adds the two.
    """
    start = [nn.LayerNorm(width), nn.Dropout(dropout)]
    if hidden == 0:
        return nn.Sequential(*start, nn.Linear(width, dim))
    layers = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)]
    if residual:
        return nn.Sequential(*start, Sum(nn.Linear(width, dim), nn.Sequential(*layers)))
    return nn.Sequential(*start, *layers)


class Sum(nn.Module):
    """The sum of what two modules make of one input."""

    def __init__(self, straight: nn.Module, bent: nn.Module) -> None:
        super().__init__()
        self.straight, self.bent = straight, bent

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[n, width] to [n, dim]."""
        total: torch.Tensor = self.straight(features) + self.bent(features)
        return total


class Views(nn.Module):
    """One head for features [n, views * width] of several views of each picture, side by side.

    In training each batch goes by one view, drawn anew, which augments as the picture itself would; otherwise the embeddings
    of all views, each of length 1, are added up.
    """

    def __init__(self, head: nn.Module, views: int) -> None:
        super().__init__()
        self.head, self.views = head, views

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[n, views * width] to [n, dim]."""
        each = features.chunk(self.views, dim=1)
        if self.training:
            drawn: torch.Tensor = self.head(each[int(torch.randint(self.views, ()))])
            return drawn
        return torch.stack([nn.functional.normalize(self.head(view), dim=-1) for view in each]).sum(0)


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
