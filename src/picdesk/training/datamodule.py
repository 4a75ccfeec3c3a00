"""Batches for training on trunk features that are already in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from picdesk.errors import ConfigError
from picdesk.trec import Qrels

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


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


class FeatureData(pl.LightningDataModule):
    """Shuffled training pairs; the two validation loaders give picture features and text features, in order."""

    def __init__(self, train: Features, val: Features, batch_size: int, seed: int) -> None:
        super().__init__()
        if batch_size < 2:
            raise ConfigError(f"training.batch_size={batch_size}: a contrastive batch needs at least 2 pairs")
        if len(train.text_ids) < 2:
            raise ConfigError(f"training: the train part holds {len(train.text_ids)} texts; at least 2 are needed")
        self.train, self.val, self.batch_size = train, val, min(batch_size, len(train.text_ids))
        self._order = torch.Generator().manual_seed(seed)

    def train_dataloader(self) -> DataLoader[Pairs]:
        """Every text once an epoch, in a seeded order that differs from epoch to epoch."""
        return DataLoader(
            FeaturePairs(self.train),
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=True,
            generator=self._order,
            collate_fn=lambda batch: batch,
        )

    def val_dataloader(self) -> list[DataLoader[torch.Tensor]]:
        """Pictures, then texts."""
        sides = (self.val.images, self.val.texts)
        return [DataLoader(torch.from_numpy(side), batch_size=1024) for side in sides]  # type: ignore[arg-type]
