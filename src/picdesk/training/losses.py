"""Contrastive losses over a batch of pairs: row i is a picture and one of its texts.

All take embeddings [n, dim] of length 1 and the picture of each row [n]: two rows of one picture are never negatives, and a text
is no negative of a further picture that it is known to be relevant to, nor that picture of the text: see `Relevant`.
Each is a sum of two directions, and each direction a mean over its queries, so a loss can be computed a block of queries at a
time, and over the rows of all processes: see `Contrastive`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Literal, TypeGuard

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.parts import config_part
from picdesk.training.features import Relevant
from picdesk.training.process_rows import gather_rows, place

Reduction = Literal["sum", "hardest", "semi_hard", "sum_to_hardest"]
REDUCTIONS = ("sum", "hardest", "semi_hard", "sum_to_hardest")
MAX_LOGIT_SCALE = math.log(100)  # CLIP's bound (Radford et al. 2021, section 2.5)
START_BIAS = -10.0  # SigLIP's (Zhai et al. 2023, section 3.2)
INFINITE = float("inf")


def negatives_of(picture: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
    """Which pairs (i, j) [n, m] are of different pictures; `others` are the pictures of the columns, by default the same."""
    return picture[:, None] != (picture if others is None else others)[None, :]


class Contrastive(nn.Module):
    """A loss that is the mean over pictures plus the mean over texts of what `rows` gives for each.

    `block` > 0: that many queries are compared with the gallery at a time, and again in the backward pass instead of being
    remembered, so memory grows with block x n, not n x n; the value is the same. Where processes train together, each one's
    rows are compared with the rows of all, and the gradients are those of the whole batch (the mean over processes, which is
    what distributed training takes). `progress` is the share of the training that is done, 0 to 1.

    `ceiling` is the most that the learned log scale may become. It belongs to the loss: CLIP clamps at ln 100 to keep its
    softmax stable (Radford et al. 2021, section 2.5); SigLIP's sigmoid has no clamp (Zhai et al. 2023, arXiv 2303.15343,
    algorithm 1), and published SigLIPs lie above it (SO400M: 4.72). It is never below what the model starts with: see `begin`.

    `relevant` is given where texts are relevant to more than their own pictures; which text each row has must be told then.
    """

    block: int = 0
    progress: float = 1.0
    ceiling: float = INFINITE

    def __init__(self) -> None:
        super().__init__()
        self.relevant: Relevant | None = None

    def begin(self, backbone: TwoTower) -> None:
        """Take up where the model stands, so that a step of rate 0 changes nothing; to be called before a fit."""
        self.ceiling = max(type(self).ceiling, float(backbone.logit_scale.detach()))

    def remedy(self) -> str:
        """What helps where this loss does not get off the ground; "" where it has no advice of its own."""
        return ""

    def rows(self, scores: torch.Tensor, negative: torch.Tensor, first: int, logit_scale: torch.Tensor) -> torch.Tensor:
        """The loss of each query [b], from cosines [b, n] and which of them are negatives; query i's own is column first + i."""
        raise NotImplementedError

    def advance(self, progress: float) -> None:
        """Tell the loss and its parts how far the training has come."""
        for part in self.modules():
            if isinstance(part, Contrastive):
                part.progress = progress

    def forward(
        self,
        images: torch.Tensor,
        texts: torch.Tensor,
        picture: torch.Tensor,
        logit_scale: torch.Tensor,
        text: torch.Tensor | None = None,
        turned: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Scalar loss; in mixed precision the cosines and all that follows are float32. `text` [n] is the text of each row.

        Texts ask and pictures are found; `turned` are pictures and texts [n, dim] as it is the other way round (None: the same).
        """
        if images.dtype in (torch.float16, torch.bfloat16):
            images, texts = images.float(), texts.float()
            turned = turned and (turned[0].float(), turned[1].float())
        asking, found = turned or (images, texts)
        with torch.autocast(images.device.type, enabled=False):
            rank, _ = place()
            pictures, first = gather_rows(picture), rank * len(picture)
            known = None
            if self.relevant is not None and text is not None:
                known = self.relevant.among(gather_rows(text), pictures)
            to_text = self._direction(asking, gather_rows(found), pictures, known and known[::-1], first, logit_scale)
            to_image = self._direction(texts, gather_rows(images), pictures, known, first, logit_scale)
            return to_text + to_image

    def _direction(
        self,
        queries: torch.Tensor,
        gallery: torch.Tensor,
        pictures: torch.Tensor,
        known: tuple[torch.Tensor, torch.Tensor] | None,
        first: int,
        logit_scale: torch.Tensor,
    ) -> torch.Tensor:
        """The mean over the queries, whose rows begin at `first` of the gallery's. `known` are the rows of queries and of the
        gallery that belong together beside those of one picture."""

        def part(start: int, some: torch.Tensor, others: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            begin, end = first + start, first + start + len(some)
            negative = negatives_of(pictures[begin:end], pictures)
            if known is not None:
                query, item = known
                here = (query >= begin) & (query < end)
                negative[query[here] - begin, item[here]] = False
            return self.rows(some @ others.T, negative, begin, scale).sum()

        size = self.block or len(queries)
        if size >= len(queries):
            return part(0, queries, gallery, logit_scale) / len(queries)
        sums = [
            checkpoint(part, at, queries[at : at + size], gallery, logit_scale, use_reentrant=False)
            for at in range(0, len(queries), size)
        ]
        return torch.stack(sums).sum() / len(queries)


def takes_text(loss: nn.Module) -> TypeGuard[Contrastive]:
    """Whether a loss can be told which text each row has; one of a user's own may have a `forward` that cannot."""
    return isinstance(loss, Contrastive) and "text" in inspect.signature(loss.forward).parameters


def takes_turned(loss: nn.Module) -> bool:
    """Whether a loss can be given other embeddings for the direction from picture to text."""
    return "turned" in inspect.signature(loss.forward).parameters


def further_inputs(loss: nn.Module, text: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a loss is told beside the pairs: the text of each row, where texts are relevant to more than their own pictures."""
    return {"text": text} if isinstance(loss, Contrastive) and loss.relevant is not None else {}


@config_part
class Margin(Contrastive):
    """Two-direction hinge on cosine similarities: max(0, margin - s(i, i) + s(i, j)) and the same over s(j, i).

    `reduction=sum` adds over the negatives j (Kiros et al. 2014, arXiv 1411.2539); `hardest` takes the largest
    (VSE++, Faghri et al. 2018, arXiv 1707.05612, equation 6); `semi_hard` the largest s(i, j) that is still below s(i, i)
    (FaceNet, Schroff et al. 2015, arXiv 1503.03832, section 3.2; where none is below, which they leave open, the smallest).
    `sum_to_hardest` adds the k largest hinges, where k falls geometrically from all to one over the first `warm_up` share of
    the training: a cold start learns nothing from its hardest negatives alone.
    """

    def __init__(self, margin: float = 0.2, reduction: Reduction = "sum", warm_up: float = 0.5) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f"loss.reduction={reduction}: choose one of {', '.join(REDUCTIONS)}")
        if not 0 < margin <= 2:
            raise ConfigError(f"loss.margin={margin}: cosine similarities differ by at most 2, so choose within (0, 2]")
        if not 0 < warm_up <= 1:
            raise ConfigError(f"loss.warm_up={warm_up}: the share of the training until one negative is left: (0, 1]")
        self.margin, self.reduction, self.warm_up = margin, reduction, warm_up

    def remedy(self) -> str:
        """Of the hardest negatives: all of them."""
        if self.reduction != "hardest":
            return ""
        return "the hardest negatives alone do not get a cold start off the ground: begin with loss.reduction=sum"

    def rows(self, scores: torch.Tensor, negative: torch.Tensor, first: int, logit_scale: torch.Tensor) -> torch.Tensor:
        """The hinges of each query, as `reduction` says; `logit_scale` plays no part."""
        own = scores.diagonal(first)[:, None]
        if self.reduction == "semi_hard":
            return self._semi_hard(scores, own, negative)
        hinges = (self.margin - own + scores).clamp(min=0) * negative
        if self.reduction == "sum":
            return hinges.sum(1)
        if self.reduction == "hardest":
            return hinges.amax(1)
        return hinges.topk(self.count_kept(scores.shape[1] - 1), dim=1).values.sum(1)

    def count_kept(self, negatives: int) -> int:
        """How many of the hinges count with `sum_to_hardest` at this point of the training."""
        share = 1 - min(1.0, self.progress / self.warm_up)
        return max(1, round(math.pow(negatives, share)))

    def _semi_hard(self, scores: torch.Tensor, own: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        below = negative & (scores < own)
        hardest = scores.masked_fill(~below, -INFINITE).amax(1)
        easiest = scores.masked_fill(~negative, INFINITE).amin(1)
        chosen = torch.where(below.any(1), hardest, easiest)
        hinge = self.margin - own[:, 0] + torch.where(negative.any(1), chosen, -INFINITE)
        return hinge.clamp(min=0)


@config_part
class InfoNCE(Contrastive):
    """Symmetric cross-entropy over scaled cosine similarities (CLIP, figure 3), same-picture pairs left out.

    The mean of both directions. The learned log scale is clamped at ln 100, or at the model's own where that is higher.
    """

    ceiling = MAX_LOGIT_SCALE

    def rows(self, scores: torch.Tensor, negative: torch.Tensor, first: int, logit_scale: torch.Tensor) -> torch.Tensor:
        """Half the cross-entropy of each query."""
        logits = logit_scale.clamp(max=self.ceiling).exp() * scores
        left_out = ~negative
        left_out.diagonal(first).fill_(False)
        if (
            left_out.any()
        ):  # rarely: the sampler puts one text a picture into a batch, and a fill takes as long as a softmax
            logits = logits.masked_fill(left_out, -INFINITE)
        target = torch.arange(first, first + len(logits), device=logits.device)
        return F.cross_entropy(logits, target, reduction="none") / 2


@config_part
class SigLIP(Contrastive):
    """Pairwise sigmoid loss (Zhai et al. 2023, arXiv 2303.15343, equation 1): every pair is a yes-or-no question.

    Sum over all pairs of log(1 + exp(-z (t s + b))), z = 1 for a picture and any text relevant to it and -1 otherwise, over the
    batch size. The log scale `log t` and the bias `b` start as the model has them, and are learned and kept with the rest;
    neither plays a part in ranking. `bias` is what to start from instead; None: the model's own, or -10 where it has none, as in
    the paper.
    """

    def __init__(self, bias: float | None = None) -> None:
        super().__init__()
        self.wanted = bias
        self.bias = nn.Parameter(torch.tensor(START_BIAS if bias is None else float(bias)))

    def begin(self, backbone: TwoTower) -> None:
        """The bias that is trained is the backbone's from here on."""
        super().begin(backbone)
        if self.wanted is not None or backbone.logit_bias is None:
            backbone.set_bias(START_BIAS if self.wanted is None else self.wanted)
        assert backbone.logit_bias is not None
        self.bias = backbone.logit_bias
        self.bias.requires_grad_(True)

    def rows(self, scores: torch.Tensor, negative: torch.Tensor, first: int, logit_scale: torch.Tensor) -> torch.Tensor:
        """Half of each query's pairs: the other direction counts every pair once more."""
        logits = logit_scale.exp() * scores + self.bias
        sign = 1 - 2 * negative.to(logits.dtype)
        return -F.logsigmoid(sign * logits).sum(1) / 2


@config_part
class Mixture(Contrastive):
    """A weighted sum of losses: `parts` and `weights` have one length."""

    def __init__(self, parts: Sequence[Contrastive], weights: Sequence[float]) -> None:
        super().__init__()
        if len(parts) != len(weights) or not parts or min(weights) < 0:
            raise ConfigError(
                f"loss.weights={list(weights)}: one weight, 0 or more, for each of the {len(parts)} parts"
            )
        self.parts, self.weights = nn.ModuleList(parts), tuple(weights)

    def begin(self, backbone: TwoTower) -> None:
        """Each part begins; the lowest ceiling holds for all, as they share one scale."""
        for part in self.parts:
            part.begin(backbone)  # type: ignore[operator]
        self.ceiling = min(part.ceiling for part in self.parts)  # type: ignore[type-var,assignment]

    def rows(self, scores: torch.Tensor, negative: torch.Tensor, first: int, logit_scale: torch.Tensor) -> torch.Tensor:
        """The weighted sum for each query."""
        values = [
            weight * part.rows(scores, negative, first, logit_scale)  # type: ignore[operator]
            for weight, part in zip(self.weights, self.parts, strict=True)
        ]
        return torch.stack(values).sum(0)
