"""What goes into one tower, by rows: trunk features from memory, or pixels and tokens for a trunk that learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.backbones.two_tower import TwoTower
from picdesk.data.images import named_picture
from picdesk.interfaces import Modality, PictureBytes

Inputs = torch.Tensor | dict[str, torch.Tensor]
Augment = Callable[[Image.Image, np.random.Generator], Image.Image]
PIXELS = "pixels"


class Rows(Protocol):
    """One side of the pairs."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int], epoch: int | None = None) -> Inputs:
        """The inputs of some rows; in training with the number of the epoch, by which augmentation is drawn."""


class FeatureRows:
    """Trunk features [n, trunk_dim] in memory: the trunk does not learn."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = torch.from_numpy(features)

    def __len__(self) -> int:
        return len(self._features)

    def take(self, rows: Sequence[int], epoch: int | None = None) -> torch.Tensor:
        """[rows, trunk_dim] in one gather."""
        return self._features[torch.as_tensor(rows)]


class TextRows:
    """Texts, tokenised once; each batch is cut after its longest."""

    def __init__(self, backbone: TwoTower, texts: Sequence[str]) -> None:
        inputs = backbone.tokenize(texts)
        self._lengths = backbone.token_lengths(inputs)
        self._inputs = {name: t.int() if t.dtype == torch.int64 else t for name, t in inputs.items()}

    def __len__(self) -> int:
        return len(self._lengths)

    def take(self, rows: Sequence[int], epoch: int | None = None) -> dict[str, torch.Tensor]:
        """The tokenizer's tensors, [rows, longest of these]."""
        chosen = torch.as_tensor(rows)
        longest = int(self._lengths[chosen].max())
        cut = {name: tensor[chosen, :longest] for name, tensor in self._inputs.items()}
        return {name: t.long() if t.dtype == torch.int32 else t for name, t in cut.items()}


@dataclass
class PictureRows:
    """Pictures, read and decoded anew each time as the encoder does, in `workers` threads.

    In training `augment` changes each picture first; what it draws depends on the seed, the epoch and the row alone, so it is
    the same with any number of workers, and after a stop. `ids` name the pictures in errors; one of more than
    `max_pixels` pixels is an error (None: 50 million).
    """

    backbone: TwoTower
    pictures: PictureBytes
    augment: Augment
    seed: int = 0
    fast_decode: bool = False
    workers: int = 2
    ids: Sequence[str] = ()
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.workers)

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: Sequence[int], epoch: int | None = None) -> dict[str, torch.Tensor]:
        """`pixels`: uint8 [rows, 3, height, width]. Raises `DataError` naming a picture that cannot be decoded."""
        made = self._pool.map(lambda row: self._pixels(int(row), epoch), rows)
        return self.backbone.picture_inputs(list(made))

    def _pixels(self, row: int, epoch: int | None) -> NDArray[np.uint8]:
        shortest = self.backbone.shortest_side if self.fast_decode else None
        name = self.ids[row] if self.ids else row
        picture = named_picture(self.pictures.read(row), name, self.max_pixels, shortest)
        if epoch is not None:
            picture = self.augment(picture, np.random.default_rng((self.seed, epoch, row)))
        return self.backbone.picture_to_pixels(picture)


def features_of(backbone: TwoTower, modality: Modality, inputs: Inputs) -> torch.Tensor:
    """Trunk features [n, trunk_dim] of one side of a batch: as they are, or through the trunk."""
    if isinstance(inputs, torch.Tensor):
        return inputs
    trunk = backbone.trunk(modality)
    features: torch.Tensor = trunk(backbone.normalise_pixels(inputs[PIXELS])) if PIXELS in inputs else trunk(**inputs)
    return features


def embed_inputs(backbone: TwoTower, modality: Modality, inputs: Inputs) -> torch.Tensor:
    """Embeddings [n, dim] of length 1."""
    return backbone.embed(modality, features_of(backbone, modality, inputs))


def split_inputs(inputs: Inputs, size: int) -> list[Inputs]:
    """Consecutive parts of at most `size` rows."""
    if isinstance(inputs, torch.Tensor):
        return list(torch.split(inputs, size))
    parts = {name: torch.split(tensor, size) for name, tensor in inputs.items()}
    return [{name: part[i] for name, part in parts.items()} for i in range(len(next(iter(parts.values()))))]


def move_inputs(inputs: Inputs, device: torch.device) -> Inputs:
    """The inputs on a device."""
    if isinstance(inputs, torch.Tensor):
        return inputs.to(device)
    return {name: tensor.to(device) for name, tensor in inputs.items()}
