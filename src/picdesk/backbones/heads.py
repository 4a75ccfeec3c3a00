"""Heads: what projects trunk features into the shared space, the head that is shown several views, and heads cut shorter.

Matryoshka representation learning (Kusupati et al. 2022, arXiv 2205.13147) trains a vector so that its beginning is a vector of
the same kind. A head is cut, not the stored trunk features, so every length is served by the same encoded pictures and texts.

`Head` and what follows are chosen by `backbone/head@...` for vectors that are given; `Residual` and `LowRank` start as the
identity, to the bit, so that a fit begins where the given vectors stand.
"""

from __future__ import annotations

import torch
from torch import nn

from picdesk.errors import ConfigError
from picdesk.parts import config_part


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


def shorten_head(head: nn.Module, dim: int | None, full: int) -> nn.Module:
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


class Head:
    """Makes the module that brings [n, width] to [n, dim]. `chance`: before training it knows nothing of the space."""

    name = ""
    chance = True

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """The module; its weights are drawn from torch's generator. Raises `ConfigError` for widths that it cannot join."""
        raise NotImplementedError

    def need_equal(self, width: int, dim: int, side: str) -> None:
        """Raise `ConfigError` unless what comes in is as wide as what goes out."""
        if width != dim:
            raise ConfigError(
                f"backbone.{side}_head={self.name}: {width} numbers come in and backbone.dim={dim} go out; "
                "take linear or mlp, or make them equal"
            )


@config_part
class Same(Head):
    """No head: the vectors as they are."""

    name, chance = "identity", False

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """The identity."""
        self.need_equal(width, dim, side)
        return nn.Identity()


@config_part
class Linear(Head):
    """Norm, dropout, one matrix."""

    name = "linear"

    def __init__(self, dropout: float = 0.0) -> None:
        self.dropout = share(dropout)

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """LayerNorm, dropout, linear."""
        return make_head(width, dim, 0, self.dropout)


@config_part
class Mlp(Head):
    """Norm, dropout, a hidden layer; with `straight` a linear path beside it."""

    name = "mlp"

    def __init__(self, hidden: int = 1024, dropout: float = 0.3, straight: bool = True) -> None:
        self.hidden, self.dropout, self.straight = positive("hidden", hidden), share(dropout), straight

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """LayerNorm, dropout, linear, GELU, dropout, linear."""
        return make_head(width, dim, self.hidden, self.dropout, self.straight)


class Added(nn.Module):
    """x + scale * change(x); `change` ends in a layer of zeros, so it starts as the identity."""

    def __init__(self, change: nn.Module, scale: float) -> None:
        super().__init__()
        self.change, self.scale = change, scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[n, dim] to [n, dim]."""
        moved: torch.Tensor = features + self.scale * self.change(features)
        return moved


def zero_weights(layer: nn.Linear) -> nn.Linear:
    """The layer with all its weights 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


@config_part
class Residual(Head):
    """An adapter: the vector plus `scale` times a small bottleneck of it (Gao et al., "CLIP-Adapter", IJCV 2024, equation 1).

    Its last layer starts at zero, so before training it is the identity, to the bit.
    """

    name, chance = "residual", False

    def __init__(self, hidden: int = 128, scale: float = 1.0, dropout: float = 0.0) -> None:
        self.hidden, self.scale, self.dropout = positive("hidden", hidden), scale, share(dropout)

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """The vector plus linear, ReLU, dropout, linear of it."""
        self.need_equal(width, dim, side)
        down, up = nn.Linear(width, self.hidden), zero_weights(nn.Linear(self.hidden, dim))
        return Added(nn.Sequential(down, nn.ReLU(), nn.Dropout(self.dropout), up), self.scale)


@config_part
class LowRank(Head):
    """A matrix that differs from the identity by one of rank `rank`; it starts as the identity, to the bit."""

    name, chance = "low_rank", False

    def __init__(self, rank: int = 32, scale: float = 1.0) -> None:
        self.rank, self.scale = positive("rank", rank), scale

    def make(self, width: int, dim: int, side: str) -> nn.Module:
        """The vector plus two linear maps of it."""
        self.need_equal(width, dim, side)
        down, up = nn.Linear(width, self.rank, bias=False), zero_weights(nn.Linear(self.rank, dim, bias=False))
        return Added(nn.Sequential(down, up), self.scale)


def positive(key: str, value: int) -> int:
    """The value. Raises `ConfigError` below 1."""
    if value < 1:
        raise ConfigError(f"backbone head: {key}={value}: at least 1")
    return value


def share(dropout: float) -> float:
    """The value. Raises `ConfigError` outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise ConfigError(f"backbone head: dropout={dropout}: within [0, 1)")
    return dropout
