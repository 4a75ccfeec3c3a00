"""`backbone=transformers`: any dual encoder of the transformers library, by hub id or local folder.

CLIP (BGE-VL too), SigLIP and SigLIP 2 (fixed resolution), ALIGN, BLIP's contrastive part, MetaCLIP 2, Chinese-CLIP, AltCLIP,
FLAVA, TIPSv2 and every other model of theirs with a picture tower, a text tower and projections. Code out of a repository is
never run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.model_prompts import TEXT_PROMPTS, read_prompts
from picdesk.backbones.tokens import ReadsByTokenizer, padding_of, unusual_settings
from picdesk.backbones.transformers_files import (
    affine_of,
    context_length,
    cut_to_size,
    digest_of_tokenizer,
    load_model,
    load_processors,
    logit_scale_of,
    plain_description,
)
from picdesk.backbones.two_tower import bias_of
from picdesk.errors import ConfigError
from picdesk.hub import WITH_PICTURES, folder_of, one_set_of_weights
from picdesk.needs import Need, model_need
from picdesk.parts import config_part


@config_part
class Transformers(ReadsByTokenizer):
    """A dual encoder of the transformers library, split into trunks and heads.

    `model` is a local folder as `save_pretrained` writes it (config, weights, tokenizer, image processor) or a hub id.
    Pictures go through the folder's own image processor, texts through its own tokenizer, after the `prompts` for texts that
    ask and texts that are found. `dim` keeps the first numbers of each vector (null: all).
    """

    def __init__(self, model: str, dim: int | None = None, prompts: Mapping[str, str | None] | None = None) -> None:
        told = read_prompts(prompts, TEXT_PROMPTS)
        folder = folder_of(model, "backbone.model", one_set_of_weights, WITH_PICTURES)
        whole = load_model(folder, model)
        processor, tokenizer = load_processors(folder, model)
        image, image_head = cut_image(whole)
        text, text_head = cut_text(whole, model)
        digest = digest_of_tokenizer(tokenizer)  # before its first call, which leaves settings in it
        factor, offset, shape = affine_of(processor, model)
        full = width_of(text_head, whole.config.text_config)
        length = context_length(whole.config.text_config, tokenizer, str(whole.config.model_type))
        padding = padding_of(text, tokenizer, length, model)
        super().__init__(
            name=f"transformers({model})",
            dim=full,
            image_trunk=image,
            image_head=image_head,
            text_trunk=text,
            text_head=text_head,
            trunk_dims=(taken_by(image_head, full), taken_by(text_head, full)),
            preprocessing={
                "image": {
                    "library": "transformers",
                    "config": plain_description(
                        getattr(whole.config, "vision_config", None) or whole.config.image_config
                    ),
                    "processor": plain_description(processor) | {"class": type(processor).__name__, "shape": shape},
                    "affine": [factor.tolist(), offset.tolist()],
                },
                "text": {
                    "library": "transformers",
                    "config": plain_description(whole.config.text_config),
                    "tokenizer": [type(tokenizer).__name__, digest, padding.side],
                    "padding": padding.rule,
                    "max_length": length,
                    **({"never_cut": True} if padding.fill and "attention_mask" in tokenizer.model_input_names else {}),
                    **unusual_settings(tokenizer, padding.fill),
                },
            },
            logit_scale=logit_scale_of(whole),
            logit_bias=bias_of(whole),
            shorter=dim,
            prompts=told,
        )
        self.max_length, self._padding, self.reads_padding = length, padding, padding.fill
        self._processor, self._tokenizer = processor, tokenizer
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", one_set_of_weights, WITH_PICTURES)]

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The image processor's own resize and crop: uint8 [3, height, width]."""
        return cut_to_size(self._processor, picture)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels through the image processor's own rescaling, mean and std."""
        factor, offset = self.get_buffer("factor"), self.get_buffer("offset")
        return pixels.to(factor.dtype) * factor.to(pixels.device) + offset.to(pixels.device)


class ImageTrunk(nn.Module):
    """The picture tower up to its projection."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, height, width] to features [n, width]."""
        return pooled_features(self.model.get_image_features(pixel_values=pixels))


class TextTrunk(nn.Module):
    """The text tower up to its projection."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **tokens: torch.Tensor) -> torch.Tensor:
        """The tokenizer's tensors [n, length] to features [n, width]."""
        return pooled_features(self.model.get_text_features(**tokens))


def pooled_features(output: Any) -> torch.Tensor:
    """The library's features, which it hands over alone or within a record, by version; of FLAVA's, the first place's."""
    features: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features[:, 0] if features.ndim == 3 else features


def cut_image(model: Any) -> tuple[ImageTrunk, nn.Module]:
    """The picture trunk, and its projection as the head (the identity where the model has none: SigLIP, ALIGN)."""
    part = with_parts(model, "vi", "image_")
    for attribute in ("visual_projection", "image_projection"):
        projection = getattr(part, attribute, None)
        if isinstance(projection, nn.Linear):
            setattr(part, attribute, nn.Identity())
            return ImageTrunk(part), projection
    return ImageTrunk(part), nn.Identity()


def cut_text(model: Any, name: str) -> tuple[TextTrunk, nn.Module]:
    """The text trunk, and its projection as the head (SigLIP's stands inside the tower; TIPSv2 has none on either side)."""
    part = with_parts(model, "text")
    for owner, attribute in ((part, "text_projection"), (part.text_model, "head")):
        projection = getattr(owner, attribute, None)
        if isinstance(projection, nn.Linear):
            setattr(owner, attribute, nn.Identity())
            return TextTrunk(part), projection
    sides = [
        getattr(getattr(model.config, side, None), "hidden_size", None) for side in ("text_config", "vision_config")
    ]
    if sides[0] is None or sides[0] != sides[1] or hasattr(model, "visual_projection"):
        raise ConfigError(
            f"backbone.model={name}: a {model.config.model_type} model has no linear projection of its texts"
        )
    return TextTrunk(part), nn.Identity()


def width_of(head: nn.Module, config: Any) -> int:
    """How many numbers a head gives."""
    return int(head.out_features if isinstance(head, nn.Linear) else config.hidden_size)


def taken_by(head: nn.Module, given: int) -> int:
    """How many numbers a head takes; one that is no projection gives (`given`) what it takes."""
    return int(head.in_features if isinstance(head, nn.Linear) else given)


def with_parts(model: Any, *starts: str) -> Any:
    """The model with only the submodules whose names begin with one of `starts`; they are shared, the rest is left out."""
    part = copy.copy(model)
    part._modules = {name: module for name, module in model._modules.items() if name.startswith(starts)}
    part._parameters = {}  # the temperature and the bias belong to both towers
    return part
