"""Another backbone's similarity over the candidates: a large model looks again at what a small one found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picdesk.files import digest_of
from picdesk.interfaces import Backbone, Embedder, RerankContext, Side
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, candidates, no_scores, similarities, take_rows
from picdesk.trec.runs import Run


@config_part
class CrossBackbone(Scorer):
    """Cosine of the query and each candidate in the space of `backbone`; only candidates are encoded, through the store.

    `ckpt` is a checkpoint of train.py that brings the backbone, with its heads; it is loaded before this is called.
    """

    def __init__(
        self, backbone: Backbone, ckpt: str | None = None, weight: float = 0.2, top_k: int | None = None
    ) -> None:
        super().__init__(weight, top_k)
        self.backbone, self.ckpt = backbone, ckpt
        self._fingerprint = ""

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """Cosines [queries, depth]."""
        embedder = context.embedder
        if embedder is None:
            return no_scores(run)
        backbone = self.backbone.facing(context.direction)
        asked = vectors(backbone, embedder, context.queries)
        rows = candidates(run)
        there = np.full((len(context.items.ids), asked.shape[1]), np.nan, np.float32)
        there[rows] = vectors(backbone, embedder, take_rows(context.items, rows))
        return similarities(run, asked, there)

    def fingerprint(self, context: RerankContext) -> str:
        """Trunks, preprocessing and heads of the backbone, with the prompts of the direction."""
        turned = self.backbone.facing(context.direction)
        return self.content() if turned is self.backbone else digest_of([self.content(), backbone_digest(turned)])

    def content(self) -> str:
        """The same, whatever is searched."""
        self._fingerprint = self._fingerprint or digest_of([type(self).__name__, backbone_digest(self.backbone)])
        return self._fingerprint


def vectors(backbone: Backbone, embedder: Embedder, side: Side) -> NDArray[np.float32]:
    """Embeddings [n, dim] of the texts, or the pictures, of a side."""
    if side.texts:
        return embedder.texts(backbone, side.texts)
    assert side.pictures is not None
    return embedder.pictures(backbone, side.pictures)


def backbone_digest(backbone: Backbone) -> str:
    """Trunks with their preprocessing and whether they are fused, and heads."""
    import hashlib

    parts = [backbone.trunk_fingerprint(modality) for modality in ("image", "text")]
    for head in (backbone.image_head, backbone.text_head):
        digest = hashlib.sha256()
        for name, tensor in sorted(head.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        parts.append(digest.hexdigest())
    parts += [f"{modality} fused" for modality in sorted(backbone.fused_towers)]
    return digest_of(parts)
