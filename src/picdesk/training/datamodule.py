"""Batches for training: trunk features that are already in memory, or pixels and tokens of the trunks that learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS, Direction, Modality, PictureBytes
from picdesk.training.augmentation import Nothing
from picdesk.training.batch_order import Batches, EveryText, Loader, OneTextEach
from picdesk.training.features import Features
from picdesk.training.inputs import Augment, FeatureRows, Inputs, PictureRows, Rows, TextRows
from picdesk.training.process_rows import place
from picdesk.training.trained import MODALITIES

Pairs = tuple[Inputs, Inputs, torch.Tensor, torch.Tensor, dict[Modality, Inputs]]
"""Inputs of pictures and of texts, the positions of both in their part, a row a pair; and inputs of the sides that have others
from picture to text."""
Turned = Mapping[Modality, NDArray[np.float32]]
SAMPLERS = ("auto", "texts", "pictures")
AT_ONCE = {"features": 1024, "trunk": 64}  # rows of one validation batch


@dataclass(frozen=True)
class Raw:
    """What the trunks that learn see: pictures and texts of each part by its name, and how pictures are made ready."""

    backbone: TwoTower
    learning: tuple[Modality, ...]
    pictures: dict[str, PictureBytes]
    texts: dict[str, Sequence[str]]
    augment: Augment = field(default_factory=Nothing)
    fast_decode: bool = False
    workers: int = 2
    max_pixels: int | None = None

    def rows(self, part: str, modality: Modality, features: Features, seed: int) -> Rows:
        """One side of one part: raw where its trunk learns, else features."""
        if modality not in self.learning:
            return FeatureRows(features.images if modality == "image" else features.texts)
        if modality == "text":
            return TextRows(self.backbone, self.texts[part])
        return PictureRows(
            self.backbone,
            self.pictures[part],
            self.augment,
            seed,
            fast_decode=self.fast_decode,
            workers=self.workers,
            ids=features.picture_ids,
            max_pixels=self.max_pixels,
        )


class FeatureData(pl.LightningDataModule):
    """Shuffled training pairs, by text or one text a picture (`sampler`); validation pictures and texts, in order.

    `sampler=auto` is `texts` on features and `pictures` where a trunk learns. `batch_size` counts the pairs of all processes.
    `turned` holds validation features of the sides that the backbone encodes otherwise from picture to text, `turned_train` those
    of the training part where its loss is given them.
    """

    def __init__(
        self,
        train: Features,
        val: Features,
        batch_size: int,
        seed: int,
        sampler: str = "texts",
        raw: Raw | None = None,
        turned: Turned | None = None,
        turned_train: Turned | None = None,
    ) -> None:
        super().__init__()
        if sampler not in SAMPLERS:
            raise ConfigError(f"training.sampler={sampler}: choose one of {', '.join(SAMPLERS)}")
        if batch_size < 2:
            raise ConfigError(f"training.batch_size={batch_size}: a contrastive batch needs at least 2 pairs")
        if len(train.text_ids) < 2:
            raise ConfigError(f"training: the train part holds {len(train.text_ids)} texts; at least 2 are needed")
        self.train, self.val = train, val
        self.raw = raw if raw is not None and raw.learning else None
        order = torch.Generator().manual_seed(seed)
        pictures = sampler == "pictures" or (sampler == "auto" and self.raw is not None)
        every = EveryText(len(train.text_ids), order)
        self.sampler: Sampler[int] = OneTextEach(train.picture_of, order) if pictures else every
        self.batch_size = min(batch_size, len(self.sampler))
        self._fewer = self.batch_size < batch_size  # pairs than were asked for
        self.order = Batches(self.sampler, order, self.batch_size)
        self._picture_of = torch.from_numpy(train.picture_of)
        self._images, self._texts = self._sides("train", train, seed)
        self._val: dict[tuple[Direction, Modality], Rows] = {
            (DIRECTIONS[0], modality): rows
            for modality, rows in zip(MODALITIES, self._sides("val", val, seed), strict=True)
        }
        for modality, features in (turned or {}).items():
            self._val[DIRECTIONS[1], modality] = self._turn("val", val, modality, features, seed)
        self._train_turned = {
            modality: self._turn("train", train, modality, features, seed)
            for modality, features in (turned_train or {}).items()
        }

    def _sides(self, part: str, features: Features, seed: int) -> tuple[Rows, Rows]:
        if self.raw is None:
            return FeatureRows(features.images), FeatureRows(features.texts)
        return self.raw.rows(part, "image", features, seed), self.raw.rows(part, "text", features, seed)

    def _turn(self, part: str, of: Features, modality: Modality, features: NDArray[np.float32], seed: int) -> Rows:
        if self.raw is None or modality not in self.raw.learning:
            return FeatureRows(features)
        return replace(self.raw, backbone=self.raw.backbone.facing(DIRECTIONS[1])).rows(part, modality, of, seed)

    @property
    def val_sides(self) -> tuple[tuple[Direction, Modality], ...]:
        """What each of `val_dataloader` is: both sides from text to picture, and what is otherwise from picture to text."""
        return tuple(self._val)

    def pairs(self, rows: list[int], epoch: int) -> Pairs:
        """One training batch, by the positions of its texts."""
        text = torch.tensor(rows)
        picture = self._picture_of[text]
        at: dict[Modality, list[int]] = {"image": picture.tolist(), "text": rows}
        turned = {modality: side.take(at[modality], epoch) for modality, side in self._train_turned.items()}
        return self._images.take(at["image"], epoch), self._texts.take(rows, epoch), picture, text, turned

    def train_dataloader(self) -> Iterable[Pairs]:
        """Every text, or every picture with one of its texts, once an epoch, in a seeded order that differs each time."""
        processes = place()[1]
        if self._fewer:
            self.order.batch_size -= self.order.batch_size % processes
        if not self.order.batch_size or self.order.batch_size % processes:
            raise ConfigError(f"training.batch_size={self.batch_size}: not a multiple of the {processes} processes")
        return Loader(self.order, self.pairs, ahead=self.raw is not None)

    def val_dataloader(self) -> list[Iterable[Inputs]]:
        """The `val_sides`: pictures, texts, unaugmented, and what is otherwise from picture to text."""
        return [InOrder(rows) for rows in self._val.values()]


@dataclass(frozen=True)
class InOrder:
    """The rows of one side from the first to the last, in batches."""

    rows: Rows

    @property
    def _size(self) -> int:
        return AT_ONCE["features" if isinstance(self.rows, FeatureRows) else "trunk"]

    def __len__(self) -> int:
        return -(-len(self.rows) // self._size)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for at in range(0, len(self.rows), self._size):
            yield self.rows.take(range(at, min(at + self._size, len(self.rows))))
