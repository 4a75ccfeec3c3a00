"""`backbone=open_clip`: any model of the open_clip library, with a pretrained tag or a local weights file.

The library leaves one trap open: asked for `ViT-B-32` with the `openai` tag it builds GELU where those weights were trained
with QuickGELU, and only warns. Here the activation follows the weights, and what was chosen is said.
"""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.two_tower import TwoTower, normalised
from picdesk.errors import ConfigError, MissingFileError, examples

log = logging.getLogger(__name__)


class OpenClip(TwoTower):
    """An open_clip model split into trunks and heads.

    `model` is one of open_clip's names; `pretrained` a tag of that model, a path to a weights file (safetensors, or a
    `weights_only` .pt), or null for random weights drawn by `seed`. `quick_gelu` null means: as the weights need.
    """

    def __init__(
        self, model: str, pretrained: str | None = None, quick_gelu: bool | None = None, seed: int = 0
    ) -> None:
        import open_clip

        if model not in open_clip.list_models():
            near = difflib.get_close_matches(model, open_clip.list_models(), 8, cutoff=0.4)
            raise ConfigError(f"backbone.model={model} is not a model of open_clip; near it: {examples(near, 8)}")
        quick = needs_quick_gelu(model, pretrained) if quick_gelu is None else quick_gelu
        clip = create(model, pretrained, quick, seed)
        dim = int(open_clip.get_model_config(model)["embed_dim"])
        image_head, image_dim = take_image_head(clip, dim)
        text_head, text_dim = take_text_head(clip, dim)
        cfg = clip.visual.preprocess_cfg
        tokenizer = open_clip.get_tokenizer(model)
        scale = float(clip.logit_scale.detach())
        super().__init__(
            name=f"open_clip({model}, {pretrained or 'random'})",
            dim=dim,
            image_trunk=clip.visual,
            image_head=image_head,
            text_trunk=TextTrunk(clip),
            text_head=text_head,
            trunk_dims=(image_dim, text_dim),
            preprocessing={
                "image": {"library": "open_clip", "quick_gelu": quick, **cfg},
                "text": {"library": "open_clip", "model": model, "quick_gelu": quick, "context": clip.context_length},
            },
            logit_scale=scale,
        )
        self.quick_gelu, self._cfg, self._tokenizer = quick, cfg, tokenizer
        self._resize = open_clip.image_transform(
            cfg["size"],
            is_train=False,
            mean=cfg["mean"],
            std=cfg["std"],
            interpolation=cfg["interpolation"],
            resize_mode=cfg["resize_mode"],
            fill_color=cfg["fill_color"],
        ).transforms[:-2]  # all but ToTensor and Normalize, which run on the device, on whole batches
        self.register_buffer("mean", torch.tensor(cfg["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]), persistent=False)

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The library's own evaluation transform up to uint8 [3, height, width]."""
        for step in self._resize:
            picture = step(picture)
        return np.asarray(picture).transpose(2, 0, 1)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels to the mean and std that the weights were trained with."""
        return normalised(pixels, self.get_buffer("mean"), self.get_buffer("std"))

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`text`: token ids [n, context length], by the tokenizer of the model."""
        return {"text": self._tokenizer(list(texts))}


class TextTrunk(nn.Module):
    """The text tower of an open_clip model without its projection."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        if hasattr(clip, "text"):
            self.tower = clip.text
        else:
            self.tower = clip
            clip.visual = None  # the picture tower lives in `image_trunk`; here it would be counted twice
        self._whole = not hasattr(clip, "text")

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] to features [n, width]."""
        features: torch.Tensor = self.tower.encode_text(text) if self._whole else self.tower(text)
        return features


def needs_quick_gelu(model: str, pretrained: str | None) -> bool:
    """Whether the weights behind a tag (OpenAI's, MetaCLIP's, ...) were trained with QuickGELU."""
    import open_clip

    if model.endswith("-quickgelu") or not pretrained:
        return model.endswith("-quickgelu")
    quick = bool((open_clip.get_pretrained_cfg(model, pretrained) or {}).get("quick_gelu", False))
    if quick:
        log.info("backbone: the weights '%s' were trained with QuickGELU; %s is built with it", pretrained, model)
    return quick


def create(model: str, pretrained: str | None, quick_gelu: bool, seed: int) -> Any:
    """Build the model and load its weights; one clear line where they cannot be had."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained and pretrained not in tags and not Path(pretrained).is_file():
        raise MissingFileError(
            f"backbone.pretrained={pretrained} is neither a weights file nor a tag of {model}; tags: {examples(tags, 20)}"
        )
    try:
        with quiet_library(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            clip = open_clip.create_model(
                model, pretrained=pretrained, force_quick_gelu=quick_gelu, pretrained_hf=False
            )
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = (
            f"download the weights '{pretrained}' of {model} elsewhere and give their path as backbone.pretrained=FILE"
        )
        raise MissingFileError(f"backbone: {model} could not be loaded ({reason[:200]}); {where}") from error
    return clip.eval().requires_grad_(False)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Hold back what open_clip writes to the root logger; what matters of it is said by this module."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def take_image_head(clip: Any, dim: int) -> tuple[nn.Module, int]:
    """Lift the picture tower's projection out as a linear head; where it has none of its own, the head is the identity."""
    weight = getattr(clip.visual, "proj", None)
    if not isinstance(weight, torch.Tensor):
        return nn.Identity(), dim
    clip.visual.proj = None
    return linear(weight.detach().T), int(weight.shape[0])


def take_text_head(clip: Any, dim: int) -> tuple[nn.Module, int]:
    """The same for the text tower: its head and the width of its trunk."""
    owner = clip.text if hasattr(clip, "text") else clip
    projection = getattr(owner, "text_projection", None)
    if projection is None:
        return nn.Identity(), dim
    owner.text_projection = None
    if isinstance(projection, nn.Linear):
        return projection, projection.in_features
    return linear(projection.detach().T), int(projection.shape[0])


def linear(weight: torch.Tensor) -> nn.Linear:
    """A linear layer without bias holding `weight` [out, in]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.contiguous().clone())
    return layer
