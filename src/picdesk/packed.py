"""Pictures of any size in one batch: their bytes side by side, and their sizes.

A trunk that wants pictures in their own shape gets them so, because everything between loader and trunk is cut by rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

PICTURES, SIZES = "pictures", "sizes"


def pack(pictures: Sequence[NDArray[Any]]) -> dict[str, torch.Tensor]:
    """uint8 pictures [height, width, 3] as `pictures` [n, longest] and `sizes` [n, 2]."""
    rows = np.zeros((len(pictures), max((picture.size for picture in pictures), default=0)), np.uint8)
    for row, picture in zip(rows, pictures, strict=True):
        row[: picture.size] = picture.reshape(-1)
    sizes = np.array([picture.shape[:2] for picture in pictures], np.int64).reshape(-1, 2)
    return {PICTURES: torch.from_numpy(rows), SIZES: torch.from_numpy(sizes)}


def unpack(pictures: torch.Tensor, sizes: torch.Tensor) -> list[Image.Image]:
    """The RGB pictures again."""
    rows = pictures.cpu().numpy()
    return [
        Image.fromarray(row[: height * width * 3].reshape(height, width, 3))
        for row, (height, width) in zip(rows, sizes.tolist(), strict=True)
    ]
