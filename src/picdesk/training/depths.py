"""How deep each weight of a backbone's trunk lies, seen with an example that the backbone makes itself."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

from picdesk.backbones.layers import levels
from picdesk.backbones.two_tower import TwoTower
from picdesk.interfaces import Modality


def own_biases(trunk: nn.Module) -> list[str]:
    """Names of a trunk's vectors that are called a bias."""
    return [name for name, value in trunk.named_parameters() if name.endswith("bias") and value.ndim == 1]


def depths(backbone: TwoTower, modality: Modality, flat: bool = False) -> dict[str, int]:
    """The level of each weight of a trunk, seen in a pass of a grey picture or a short text; `flat`: all 0, at no cost."""
    trunk = backbone.trunk(modality)
    if flat:
        return {name: 0 for name, _ in trunk.named_parameters()}

    def run() -> object:
        if modality == "text":
            return trunk(**backbone.tokenize(["a dog"]))
        pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(Image.new("RGB", (64, 64), "grey"))]))
        return trunk(backbone.normalise_pixels(pixels))

    return levels(trunk, run)
