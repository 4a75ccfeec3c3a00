"""A sentence encoder: MiniLM over texts, no picture tower. For parts that compare text with text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.lite import load_minilm, tokenizer_digest
from picdesk.backbones.reading import flags_of
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.parts import config_part

COSINE_SCALE = 2.66  # ln(1 / 0.07): nothing here is trained with it


@config_part
class Sentences(TwoTower):
    """MiniLM-L6 (mean of tokens, 384-d); the head is the identity, so texts are compared as sentence-transformers does.

    Its features are those of the text trunk of `backbone=lite`, so one place in the store serves both.
    """

    def __init__(self, max_tokens: int = 128) -> None:
        if max_tokens < 1:
            raise ConfigError(f"max_tokens={max_tokens}: at least 1")
        sentence, tokenizer, width = load_minilm()
        rule = {"tokenizer": tokenizer_digest(tokenizer), "max_tokens": max_tokens, "pooling": "mean"}
        super().__init__(
            name="sentences(minilm-l6)",
            dim=width,
            image_trunk=nn.Identity(),
            image_head=nn.Identity(),
            text_trunk=sentence,
            text_head=nn.Identity(),
            trunk_dims=(width, width),
            preprocessing={"image": {"none": True}, "text": rule},
            logit_scale=COSINE_SCALE,
        )
        self.max_tokens, self._tokenizer = max_tokens, tokenizer

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """There is no picture tower. Raises `ConfigError`."""
        raise ConfigError("the sentence encoder takes texts only, no pictures; choose a backbone with both towers")

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """There is no picture tower."""
        return pixels

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, [n, longest], at most `max_tokens`."""
        batch: Any = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    @property
    def context(self) -> int:
        """The most tokens of a text that are read."""
        return int(self.max_tokens)

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """What is cut, and what is unknown, by the tokenizer."""
        return flags_of(self._tokenizer, texts, self.max_tokens)
