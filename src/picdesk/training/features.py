"""Trunk features of a part of a data set: what heads learn from, and what jobs that train nothing score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
