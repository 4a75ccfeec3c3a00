"""Pixels of `backbone=lite` are those of torchvision, which is too slow to import for what is asked of it here."""

import numpy as np
import pytest
import torchvision.transforms.functional as F
from PIL import Image

from picdesk.backbones.lite import MARGIN, crop_of


@pytest.mark.parametrize("size", [224, 260])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 9), (31, 7), (256, 292), (292, 256), (292, 292), (333, 500), (501, 334), (640, 641), (97, 901)],
)
def test_the_crop_is_torchvisions(shape: tuple[int, int], size: int) -> None:
    pixels = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    resized = F.resize(picture, [size + MARGIN], F.InterpolationMode.BICUBIC)
    wanted = np.asarray(F.center_crop(resized, [size, size])).transpose(2, 0, 1)
    assert np.array_equal(crop_of(picture, size), wanted)
