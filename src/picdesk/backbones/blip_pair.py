"""BLIP's matching model as a dual encoder: the two towers that its contrastive loss trained, under the names of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

ARCHITECTURE = "BlipForImageTextRetrieval"


def is_matching_blip(folder: Path) -> bool:
    """Whether a folder holds that model, by its config."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return ARCHITECTURE in (content.get("architectures") or ())
    except (OSError, ValueError, AttributeError):
        return False


class BlipPair(nn.Module):
    """`vision_model`, `visual_projection`, `text_model` and `text_projection` out of the library's matching model."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.config = whole.config
        self.vision_model, self.visual_projection = whole.vision_model, whole.vision_proj
        self.text_model, self.text_projection = whole.text_encoder, whole.text_proj
        self.logit_scale = nn.Parameter(torch.tensor(float(whole.config.logit_scale_init_value)))

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[n, width] of normalised pixels: the first state, projected."""
        features: torch.Tensor = self.visual_projection(
            self.vision_model(pixel_values=pixel_values).last_hidden_state[:, 0]
        )
        return features

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor
    ) -> torch.Tensor:
        """[n, width] of tokens: the first state, projected."""
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        features: torch.Tensor = self.text_projection(states[:, 0])
        return features
