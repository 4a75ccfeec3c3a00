"""Adaptation: which weights of a backbone are trained."""

from __future__ import annotations

from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError


class Heads:
    """Both trunks stay as they are; the heads and the temperature learn.

    Trunk features then never change, so they are computed once and training runs on them from memory.
    """

    def prepare(self, backbone: TwoTower) -> list[tuple[str, nn.Parameter]]:
        """Freeze and thaw; the named parameters that are trained. Raises `ConfigError` if the backbone has no head."""
        backbone.requires_grad_(False)
        backbone.image_head.requires_grad_(True)
        backbone.text_head.requires_grad_(True)
        backbone.logit_scale.requires_grad_(True)
        trained = [(name, value) for name, value in backbone.named_parameters() if value.requires_grad]
        if len(trained) == 1:
            raise ConfigError(
                f"adaptation=heads: {backbone.name} has no head of its own to train; choose another adaptation"
            )
        return trained


def parameter_groups(trained: list[tuple[str, nn.Parameter]]) -> list[dict[str, object]]:
    """Two groups for the optimizer: matrices, and what must not decay (biases, norms, the temperature)."""
    decays = [value for _, value in trained if value.ndim >= 2]
    rest = [value for _, value in trained if value.ndim < 2]
    return [{"params": decays}, {"params": rest, "weight_decay": 0.0}]
