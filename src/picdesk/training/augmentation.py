"""Augmentation: what is done to a training picture before it is resized. Used where a picture trunk learns from pixels."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from picdesk.errors import ConfigError
from picdesk.parts import config_part


@config_part
class Nothing:
    """Pictures as they are."""

    active = False

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The picture itself."""
        return picture


@config_part
class CropFlip:
    """A random part of the picture, mirrored with probability `flip` (Szegedy et al. 2015, arXiv 1409.4842, section 6).

    The part has a share of the area drawn from `least_area` to 1, and the picture's own shape changed by a factor of at most
    `stretch`. Mirroring turns writing and "left of" round: choose 0 where pictures show text or captions name sides.
    """

    active = True

    def __init__(self, least_area: float = 0.5, stretch: float = 4 / 3, flip: float = 0.5) -> None:
        if not 0 < least_area <= 1:
            raise ConfigError(f"augmentation.least_area={least_area}: a share of the picture, within (0, 1]")
        if stretch < 1:
            raise ConfigError(f"augmentation.stretch={stretch}: a factor of at least 1 (1: the picture's own shape)")
        if not 0 <= flip <= 1:
            raise ConfigError(f"augmentation.flip={flip}: a probability, within [0, 1]")
        self.least_area, self.stretch, self.flip = least_area, stretch, flip

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The part drawn."""
        width, height = picture.size
        side = math.sqrt(rng.uniform(self.least_area, 1.0))
        shape = math.exp(rng.uniform(-1, 1) * math.log(self.stretch) / 2)
        w, h = (min(full, max(1, round(full * side * by))) for full, by in ((width, shape), (height, 1 / shape)))
        left, top = (int(rng.integers(0, full - part + 1)) for full, part in ((width, w), (height, h)))
        mirrored = rng.random() < self.flip
        part = picture.crop((left, top, left + w, top + h))
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part
