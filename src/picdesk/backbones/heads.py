"""Heads: what projects trunk features into the shared space, and the head that is shown several views of a picture."""

from __future__ import annotations

import torch
from torch import nn


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
