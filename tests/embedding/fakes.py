"""A backbone small enough to check by hand: the trunk is one linear layer over pixel means, or over letter counts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.two_tower import TwoTower


class CountingLinear(nn.Linear):
    """Counts the items that went through it."""

    seen = 0

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        x = inputs[0].mean((2, 3)) if inputs else named["counts"]
        self.seen += len(x)
        return super().forward(x)


class Tiny(TwoTower):
    def __init__(self, seed: int = 0, size: int = 4) -> None:
        torch.manual_seed(seed)
        super().__init__(
            name="tiny",
            dim=6,
            image_trunk=CountingLinear(3, 5),
            image_head=nn.Linear(5, 6),
            text_trunk=CountingLinear(26, 7),
            text_head=nn.Linear(7, 6),
            trunk_dims=(5, 7),
            preprocessing={"image": {"size": size}, "text": {"letters": 26}},
            logit_scale=1.0,
        )
        self.size = size

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(picture.resize((self.size, self.size))).transpose(2, 0, 1)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() / 255

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        counts = [[text.lower().count(chr(97 + letter)) for letter in range(26)] for text in texts]
        return {"counts": torch.tensor(counts, dtype=torch.float32)}


class Pictures:
    """Encoded pictures in memory."""

    def __init__(self, blobs: Sequence[bytes]) -> None:
        self.blobs = list(blobs)

    def __len__(self) -> int:
        return len(self.blobs)

    def read(self, i: int) -> bytes:
        return self.blobs[i]


class Files:
    """Encoded pictures in files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int) -> bytes:
        return self.paths[i].read_bytes()


def items_seen(module: nn.Module) -> int:
    """How many items went through a counting trunk."""
    assert isinstance(module, CountingLinear)
    return module.seen
