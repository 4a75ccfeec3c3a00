"""Sentence encoders as backbones of texts alone: to compare texts, or beside picture vectors that are given. They need no hub."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.text_trunks import ReadsByTextTrunk, TextTrunk
from picdesk.errors import ConfigError
from picdesk.parts import config_part

COSINE_SCALE = 2.66  # ln(1 / 0.07): nothing here is trained with it


@config_part
class Sentences(ReadsByTextTrunk):
    """MiniLM-L6 (384-d), mpnet (768-d) or both; the head is the identity, so texts are compared as sentence-transformers does.

    Its features are those of the text trunk of `backbone=lite`, so one place in the store serves both.
    """

    trunks_learn = False

    def __init__(self, max_tokens: int = 128, text_trunk: str | Sequence[str] = "minilm_l6") -> None:
        text = TextTrunk(text_trunk, max_tokens)
        super().__init__(
            name=f"sentences({text.label})",
            dim=text.width,
            image_trunk=nn.Identity(),
            image_head=nn.Identity(),
            text_trunk=text.deferred(),
            text_head=nn.Identity(),
            trunk_dims=(text.width, text.width),
            preprocessing={"image": {"none": True}, "text": text.rule},
            logit_scale=COSINE_SCALE,
        )
        self.max_tokens, self._text = max_tokens, text

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """There is no picture tower. Raises `ConfigError`."""
        raise ConfigError("the sentence encoder takes texts only, no pictures; choose a backbone with both towers")

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """There is no picture tower."""
        return pixels
