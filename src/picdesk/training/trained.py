"""What a fit trains: named parameters, the share of the learning rate of each, and the plain weights they amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.interfaces import Modality
from picdesk.training import low_rank

MODALITIES: tuple[Modality, ...] = ("image", "text")
RATE = "rate"


class Trained(list[tuple[str, nn.Parameter]]):
    """The named parameters of a backbone that are trained, as a list; `rates` holds each one's share of the learning rate."""

    def __init__(
        self, backbone: TwoTower, pairs: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(pairs)
        self.backbone = backbone
        self.rates = dict(rates or {})

    def add_bias(self) -> None:
        """Count the backbone's bias among what is trained, if a loss has let it learn."""
        bias = self.backbone.logit_bias
        if bias is not None and bias.requires_grad and not any(value is bias for _, value in self):
            self.append(("logit_bias", bias))

    @property
    def learning(self) -> tuple[Modality, ...]:
        """The towers whose trunks are trained; the features of the others stay as they are."""
        return tuple(m for m in MODALITIES if any(name.startswith(f"{m}_trunk.") for name, _ in self))

    def plain_weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights under the names that a checkpoint has: low-rank sums are added up."""
        kept = {name: value.detach().cpu().clone().contiguous() for name, value in self if low_rank.INSIDE not in name}
        for modality in self.learning:
            sums = low_rank.merge_weights(self.backbone.trunk(modality))
            kept |= {f"{modality}_trunk.{name}": value for name, value in sums.items()}
        return kept

    def fold(self) -> dict[str, nn.Parameter]:
        """Take low-rank sums out of the backbone for good; the parameters behind `plain_weights`, by name, to be filled."""
        names = list(self.plain_weights())
        for modality in self.learning:
            low_rank.take_out(self.backbone.trunk(modality))
        own = dict(self.backbone.named_parameters())
        return {name: own[name] for name in names}

    def groups(self, others: Iterable[tuple[str, nn.Parameter]] = ()) -> list[dict[str, object]]:
        """Groups for an optimizer by weight decay and rate; `others` are the loss's own. A group's `rate` is its share of lr."""
        modules = dict(self.backbone.named_modules())
        sorted_in: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, value in self:
            path, _, last = name.rpartition(".")
            key = (decays(modules[path], last, value), self.rates.get(name, 1.0))
            sorted_in.setdefault(key, []).append(value)
        own = {id(value) for _, value in self}
        for value in (value for _, value in others if id(value) not in own):
            sorted_in.setdefault((False, 1.0), []).append(value)
        return [
            {"params": values, RATE: rate} | ({} if decay else {"weight_decay": 0.0})
            for (decay, rate), values in sorted_in.items()
        ]

    def describe(self) -> str:
        """`2.1 of 25.3 million weights learn: image trunk 0.90, ...`; where no trunk learns, `0.86 million weights learn`."""
        learning = millions(sum(value.numel() for _, value in self))
        if self.learning:
            learning += f" of {millions(sum(value.numel() for value in self.backbone.parameters()))}"
        parts = []
        for part in ("image_trunk", "image_head", "text_trunk", "text_head"):
            own = [(name, value) for name, value in self if name.startswith(f"{part}.")]
            if own:
                share = [self.rates.get(name, 1.0) for name, _ in own]
                least, most = min(share), max(share)
                rate = "" if least == most == 1 else f" at {span(least, most)} x lr"
                parts.append(f"{part.replace('_', ' ')} {millions(sum(v.numel() for _, v in own))}{rate}")
        return f"{learning} million weights learn: {', '.join(parts)}"


def decays(module: nn.Module, name: str, value: torch.Tensor) -> bool:
    """Whether weight decay pulls at a parameter of this module: not at biases, norms, single numbers."""
    norm = isinstance(module, nn.LayerNorm | nn.GroupNorm) or "norm" in type(module).__name__.lower()
    return value.ndim >= 2 and not norm and not name.endswith("bias")


def span(least: float, most: float) -> str:
    """`0.01`, or `0.001 to 0.01`."""
    return f"{most:g}" if least == most else f"{least:.2g} to {most:.2g}"


def millions(count: int) -> str:
    """Two digits behind the point."""
    return f"{count / 1e6:.2f}"
