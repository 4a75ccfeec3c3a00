"""Contrastive losses over a batch of pairs: row i is a picture and one of its texts.

All take embeddings [n, dim] of length 1 and the picture of each row [n]: two rows of one picture are never negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from picdesk.errors import ConfigError

Reduction = Literal["sum", "hardest"]
REDUCTIONS = ("sum", "hardest")
MAX_LOGIT_SCALE = math.log(100)  # CLIP's bound (Radford et al. 2021, section 2.5)


def negatives_of(picture: torch.Tensor) -> torch.Tensor:
    """Which pairs (i, j) [n, n] are of different pictures."""
    return picture[:, None] != picture[None, :]


class Margin(nn.Module):
    """Two-direction hinge on cosine similarities: max(0, margin - s(i, i) + s(i, j)) and the same over s(j, i).

    `reduction=sum` adds over the negatives j (Kiros et al. 2014, arXiv 1411.2539); `hardest` takes the largest
    (VSE++, Faghri et al. 2018, arXiv 1707.05612, equation 6). Either is averaged over the batch and summed over directions.
    """

    def __init__(self, margin: float = 0.2, reduction: Reduction = "sum") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f"loss.reduction={reduction}: choose one of {', '.join(REDUCTIONS)}")
        if not 0 < margin <= 2:
            raise ConfigError(f"loss.margin={margin}: cosine similarities differ by at most 2, so choose within (0, 2]")
        self.margin, self.reduction = margin, reduction

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, logit_scale: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss; `logit_scale` plays no part."""
        scores = images @ texts.T
        own = scores.diagonal()
        negative = negatives_of(picture)
        to_text = (self.margin - own[:, None] + scores).clamp(min=0) * negative
        to_image = (self.margin - own[None, :] + scores).clamp(min=0) * negative
        if self.reduction == "sum":
            return to_text.sum(1).mean() + to_image.sum(0).mean()
        return to_text.amax(1).mean() + to_image.amax(0).mean()


class InfoNCE(nn.Module):
    """Symmetric cross-entropy over scaled cosine similarities (CLIP, figure 3), same-picture pairs left out.

    The learned log scale is clamped at ln 100.
    """

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, logit_scale: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss, the mean of both directions."""
        logits = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * images @ texts.T
        same = ~negatives_of(picture)
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, float("-inf"))
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class SigLIP(nn.Module):
    """Pairwise sigmoid loss (Zhai et al. 2023, arXiv 2303.15343, equation 1): every pair is a yes-or-no question.

    Sum over all pairs of log(1 + exp(-z (t s + b))), z = 1 for a picture and any of its own texts and -1 otherwise, over the
    batch size. The bias `b` starts at -10, as in the paper; it is learned with the rest and plays no part in ranking.
    """

    def __init__(self, bias: float = -10.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, logit_scale: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss."""
        logits = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * images @ texts.T + self.bias
        sign = 1 - 2 * negatives_of(picture).to(logits.dtype)
        return -F.logsigmoid(sign * logits).sum() / len(logits)


class Mixture(nn.Module):
    """A weighted sum of losses: `parts` and `weights` have one length."""

    def __init__(self, parts: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        if len(parts) != len(weights) or not parts or min(weights) < 0:
            raise ConfigError(
                f"loss.weights={list(weights)}: one weight, 0 or more, for each of the {len(parts)} parts"
            )
        self.parts, self.weights = nn.ModuleList(parts), tuple(weights)

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, logit_scale: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss."""
        values = [
            w * part(images, texts, picture, logit_scale) for w, part in zip(self.weights, self.parts, strict=True)
        ]
        return torch.stack(values).sum()
