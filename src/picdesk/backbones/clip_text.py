"""The text tower of an open_clip model: the library's own layers, run over as many tokens as the texts have.

CLIP's text tower is causal and its feature is the state of the end-of-text token, so nothing that follows that token can reach
the feature. The library runs all 77 places all the same; here the batch is cut after its longest text, which changes no feature.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class TextTrunk(nn.Module):
    """The text tower of an open_clip model without its projection.

    Towers of another kind (not causal, with a class token or another pooling, from another library) run as the library has them.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self._whole = not hasattr(clip, "text")
        if self._whole:
            self.tower = clip
            clip.visual = None  # the picture tower lives in `image_trunk`; here it would be counted twice
        else:
            self.tower = clip.text
        self._pool = str(getattr(self.tower, "text_pool_type" if self._whole else "pool_type", ""))
        self._eos = getattr(self.tower, "text_eos_id" if self._whole else "eos_id", None)
        self.cuttable = self._is_cuttable()

    def _is_cuttable(self) -> bool:
        tower = self.tower
        parts = ("token_embedding", "positional_embedding", "transformer", "ln_final")
        if not all(hasattr(tower, part) for part in parts) or getattr(tower, "attn_mask", None) is None:
            return False
        plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
        pooled = self._pool == "argmax" or (self._pool == "eos" and self._eos is not None)
        return plain and pooled and tower.text_projection is None and not getattr(tower, "output_tokens", False)

    def lengths(self, text: torch.Tensor) -> torch.Tensor:
        """How many of the token ids [n, context] can reach the feature: [n]."""
        if self.cuttable:
            return self._end(text) + 1
        return torch.full((len(text),), text.shape[1], device=text.device)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] to features [n, width]."""
        if not self.cuttable:
            whole: Any = self.tower.encode_text(text) if self._whole else self.tower(text)
            latent: torch.Tensor = whole[0] if isinstance(whole, tuple) else whole  # CoCa's gives all states beside it
            return latent
        tower: Any = self.tower
        end = self._end(text)
        text = text[:, : end.max() + 1]  # a number would be the same for ever where this is traced for another engine
        length = text.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        states = tower.token_embedding(text).to(dtype) + tower.positional_embedding[:length].to(dtype)
        states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
        features: torch.Tensor = tower.ln_final(states[torch.arange(text.shape[0], device=text.device), end])
        return features

    def _end(self, text: torch.Tensor) -> torch.Tensor:
        """Place of the token whose state is the feature: the highest id, or the first end-of-text id."""
        return text.argmax(-1) if self._pool == "argmax" else torch.eq(text, self._eos or 0).int().argmax(-1)
