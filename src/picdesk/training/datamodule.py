"""Batches for training on trunk features that are already in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

from picdesk.errors import ConfigError
from picdesk.trec import Qrels

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
SAMPLERS = ("texts", "pictures")


@dataclass(frozen=True)
class Features:
    """Trunk features of one part of a collection: pictures [n, image_dim], texts [m, text_dim], `picture_of` [m]."""

    picture_ids: tuple[str, ...]
    text_ids: tuple[str, ...]
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    picture_of: NDArray[np.int64]
    t2i: Qrels
    i2t: Qrels


class FeaturePairs(Dataset[Pairs]):
    """One item per text: (picture features, text features, picture number)."""

    def __init__(self, features: Features) -> None:
        self.images = torch.from_numpy(features.images)
        self.texts = torch.from_numpy(features.texts)
        self.picture_of = torch.from_numpy(features.picture_of)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, i: int) -> Pairs:
        return self.images[self.picture_of[i]], self.texts[i], self.picture_of[i]

    def __getitems__(self, rows: list[int]) -> Pairs:
        """A whole batch in one gather each."""
        picture = self.picture_of[rows]
        return self.images[picture], self.texts[rows], picture


class OneTextEach(Sampler[int]):
    """Every epoch, each picture once, in a new order, with one of its texts drawn anew: a batch then holds no false negative."""

    def __init__(self, picture_of: NDArray[np.int64], generator: torch.Generator) -> None:
        order = np.argsort(picture_of, kind="stable")
        pictures, first, counts = np.unique(picture_of[order], return_index=True, return_counts=True)
        self._texts, self._first, self._counts = (
            torch.from_numpy(order),
            torch.from_numpy(first),
            torch.from_numpy(counts),
        )
        self._pictures, self._generator = len(pictures), generator

    def __len__(self) -> int:
        return self._pictures

    def __iter__(self) -> Iterator[int]:
        """Positions of texts."""
        drawn = (torch.rand(self._pictures, generator=self._generator) * self._counts).long()
        mixed = torch.randperm(self._pictures, generator=self._generator)
        return iter(self._texts[self._first + drawn][mixed].tolist())


class FeatureData(pl.LightningDataModule):
    """Shuffled training pairs, by text or one text a picture (`sampler`); validation pictures and texts, in order."""

    def __init__(self, train: Features, val: Features, batch_size: int, seed: int, sampler: str = "texts") -> None:
        super().__init__()
        if sampler not in SAMPLERS:
            raise ConfigError(f"training.sampler={sampler}: choose one of {', '.join(SAMPLERS)}")
        if batch_size < 2:
            raise ConfigError(f"training.batch_size={batch_size}: a contrastive batch needs at least 2 pairs")
        if len(train.text_ids) < 2:
            raise ConfigError(f"training: the train part holds {len(train.text_ids)} texts; at least 2 are needed")
        order = torch.Generator().manual_seed(seed)
        self.train, self.val = train, val
        self.pairs = FeaturePairs(train)
        self.sampler: Sampler[int] = RandomSampler(self.pairs, generator=order)
        if sampler == "pictures":
            self.sampler = OneTextEach(train.picture_of, order)
        self.batch_size = min(batch_size, len(self.sampler))

    def train_dataloader(self) -> DataLoader[Pairs]:
        """Every text, or every picture with one of its texts, once an epoch, in a seeded order that differs each time."""
        return DataLoader(
            self.pairs, self.batch_size, sampler=self.sampler, drop_last=True, collate_fn=lambda batch: batch
        )

    def val_dataloader(self) -> list[DataLoader[torch.Tensor]]:
        """Pictures, then texts."""
        sides = (self.val.images, self.val.texts)
        return [DataLoader(torch.from_numpy(side), batch_size=1024) for side in sides]  # type: ignore[arg-type]
