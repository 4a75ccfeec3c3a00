"""Trunk features of a part of a data set, what heads learn from and what is scored without training; and what is relevant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.trec.runs import Qrels


@dataclass(frozen=True)
class Features:
    """Trunk features of one part of a collection: pictures [n, image_dim], texts [m, text_dim], `picture_of` [m].

    For a trunk that learns the matrix of its side may be empty, [0, dim]: its features do not stay.
    """

    picture_ids: tuple[str, ...]
    text_ids: tuple[str, ...]
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    picture_of: NDArray[np.int64]
    t2i: Qrels
    i2t: Qrels

    @cached_property
    def further_pairs(self) -> NDArray[np.int64]:
        """Positions of texts and of pictures [n, 2] that are relevant to each other in either direction, and are not a text and
        its own picture; ascending."""
        text_at = {name: i for i, name in enumerate(self.text_ids)}
        picture_at = {name: i for i, name in enumerate(self.picture_ids)}
        found = []
        for qrels, query_at, item_at in ((self.t2i, text_at, picture_at), (self.i2t, picture_at, text_at)):
            query = np.array([query_at[name] for name in qrels.query_ids], np.int64)[qrels.query_of]
            item = np.array([item_at[name] for name in qrels.item_ids], np.int64)[qrels.items]
            found.append(np.stack([query, item] if qrels is self.t2i else [item, query], axis=1))
        pairs = np.unique(np.concatenate(found), axis=0)
        kept: NDArray[np.int64] = pairs[self.picture_of[pairs[:, 0]] != pairs[:, 1]]
        return kept


class Relevant(nn.Module):
    """Pictures that each text is relevant to beside its own, in compressed rows: `items[bounds[t]:bounds[t + 1]]` of text t."""

    bounds: torch.Tensor
    items: torch.Tensor

    def __init__(self, pairs: NDArray[np.int64], texts: int) -> None:
        """`pairs` [n, 2] of positions of texts, ascending, and of pictures; how many `texts` there are."""
        super().__init__()
        bounds = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=texts))])
        self.register_buffer("bounds", torch.from_numpy(bounds), persistent=False)
        self.register_buffer("items", torch.from_numpy(pairs[:, 1].copy()), persistent=False)

    def among(self, text: torch.Tensor, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows i and j [pairs] of a batch where the text of i, `text[i]`, is relevant to the picture of j, `picture[j]`."""
        first = self.bounds[text]
        row, at = ranges(first, self.bounds[text + 1] - first)
        order = picture.argsort()
        known, left = self.items[at], picture[order]
        first = torch.searchsorted(left, known)
        pair, at = ranges(first, torch.searchsorted(left, known, right=True) - first)
        return row[pair], order[at]


def ranges(first: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each i the numbers from `first[i]` on, `count[i]` of them: the i of each number, and the numbers, [sum of counts]."""
    owner = torch.arange(len(first), device=first.device).repeat_interleave(count)
    before = count.cumsum(0) - count
    return owner, first[owner] + torch.arange(len(owner), device=first.device) - before[owner]
