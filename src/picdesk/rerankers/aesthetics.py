"""How good a picture looks, whatever is asked: an aesthetic head on CLIP's picture embeddings.

Heads: LAION's linear ones (`sa_0_4_vit_*_linear.pth`: weight [1, dim], bias [1]) and the improved predictor
(`sac+logos+ava1-l14-linearMSE.pth`: linear layers one after the other; it has no activation between them, and dropout is off).
Both were trained on embeddings of length 1 of one particular CLIP, and mean nothing on any other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.files import digest_of, file_digest
from picdesk.interfaces import Backbone, Modality, RerankContext
from picdesk.needs import Need, file_need
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, candidates, no_scores, take_rows
from picdesk.trec.runs import Run
from picdesk.weights import finite, why

Layers = list[tuple[torch.Tensor, torch.Tensor]]
WAYS = ("auto", "searched", "own")


@config_part
class Aesthetics(Scorer):
    """The head's score of each candidate picture; texts are left unscored, so picture to text stays as it was.

    `trained_on` are names, in part, of the backbone whose embeddings the head was trained on. `embeddings` says whose to take:
    `searched` (those of the search: the user vouches that they are the right CLIP's, as for vectors made elsewhere), `own`
    (pictures through `backbone`), or `auto`: the searched ones where the name of the backbone fits and its picture tower is as
    published, else `own`.
    """

    def __init__(
        self,
        head: str,
        trained_on: Sequence[str],
        backbone: Backbone | None = None,
        embeddings: str = "auto",
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        if embeddings not in WAYS:
            raise ConfigError(f"reranker.embeddings={embeddings}: choose one of {', '.join(WAYS)}")
        self.head, self.trained_on, self.backbone, self.way = head, tuple(trained_on), backbone, embeddings
        self.layers = read_head(head)

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The head."""
        return [file_need(values["head"], f"{key}.head", "the aesthetic head")]

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """The head's value for each candidate [queries, depth], the same for every query."""
        if context.direction != "t2i":
            return no_scores(run)
        rows = candidates(run)
        values = np.full(len(context.items.ids), np.nan, np.float32)
        values[rows] = finite(
            apply_head(self.layers, self._vectors(rows, context)), f"scores of reranker.head={self.head}"
        )
        return np.where(run.index >= 0, values[np.maximum(run.index, 0)], np.float32(np.nan))

    def fingerprint(self, context: RerankContext) -> str:
        """The head, and what makes the embeddings."""
        from picdesk.rerankers.cross_backbone import backbone_digest

        source = context.space if self._takes_searched(context) else ""
        if not source and self.backbone is not None:
            source = backbone_digest(self.backbone)
        return digest_of(["aesthetics", file_digest(Path(self.head).expanduser()), source])

    def content(self) -> str:
        """The head, and a backbone of its own."""
        from picdesk.rerankers.cross_backbone import backbone_digest

        own = "" if self.backbone is None else backbone_digest(self.backbone)
        return digest_of(["aesthetics", file_digest(Path(self.head).expanduser()), own])

    def check_fit(self, made_by: str, tuned: Collection[Modality]) -> None:
        """Raise at the start what `score` would of embeddings that the backbone called `made_by` makes, the towers `tuned` of
        which a fit has changed, or will."""
        if self.way != "auto" or self.backbone is not None:
            return
        if not self._fits(made_by):
            raise self._unfit(f"those of {made_by}")
        if "image" in tuned:
            raise ConfigError(
                f"reranker=aesthetics: this head wants embeddings of {made_by} as published, and training changes its pictures'; "
                "give that CLIP a second time (+backbone@reranker.backbone=vit_b_32_openai), or take adaptation=lock_image "
                "adaptation.head=false"
            )

    def _unfit(self, there: str) -> ConfigError:
        return ConfigError(
            f"reranker=aesthetics: this head wants embeddings of {', '.join(self.trained_on)}, the search has {there}; "
            "give that CLIP (+backbone@reranker.backbone=vit_b_32_openai), or reranker.embeddings=searched if they are its"
        )

    def _fits(self, made_by: str) -> bool:
        return all(part in made_by for part in self.trained_on)

    def _takes_searched(self, context: RerankContext) -> bool:
        fits = self._fits(context.made_by) and "image" not in context.tuned
        return self.way == "searched" or (self.way == "auto" and fits and context.items.embeddings is not None)

    def _vectors(self, rows: NDArray[np.int64], context: RerankContext) -> NDArray[np.float32]:
        if self._takes_searched(context):
            if context.items.embeddings is None:
                raise ConfigError(
                    "reranker.embeddings=searched: a saved index is searched without its vectors; use own"
                )
            return np.ascontiguousarray(context.items.embeddings.matrix[rows])
        if self.backbone is None or context.embedder is None:
            made_by = f"{context.made_by or '?'}{', fine-tuned' if 'image' in context.tuned else ''}"
            there = f"those of {made_by}" if context.items.embeddings is not None else "none (a saved index)"
            raise self._unfit(there)
        pictures = take_rows(context.items, rows).pictures
        assert pictures is not None
        return context.embedder.pictures(self.backbone, pictures)


def read_head(file: str) -> Layers:
    """The linear layers of a head, first to last. Raises `DataError` where the file is none."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(
            f"reranker.head={file}: no such file; LAION publishes sa_0_4_vit_b_32_linear.pth and others"
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and the zip reader raise many kinds; nothing in the file is executed
        raise DataError(f"reranker.head={file}: not a file of tensors ({why(error, path, 120)})") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise DataError(f"reranker.head={file}: wanted named tensors (weight, bias)")
    names = sorted((name for name in found if name.endswith("weight")), key=_number)
    layers = [(found[name].float(), found.get(f"{name.removesuffix('weight')}bias")) for name in names]
    chained = all(a[0].shape[0] == b[0].shape[-1] for a, b in pairwise(layers))
    shaped = all(w.ndim == 2 and b is not None and b.shape == w.shape[:1] for w, b in layers)
    if not layers or not shaped or not chained or layers[-1][0].shape[0] != 1 or len(found) != 2 * len(layers):
        shapes = {name: tuple(value.shape) for name, value in found.items()}
        raise DataError(f"reranker.head={file}: not a chain of linear layers that ends in one value, but {shapes}")
    return [(weight, bias.float()) for weight, bias in layers if bias is not None]


def apply_head(layers: Layers, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values [n] of embeddings [n, dim]. Raises `ConfigError` for another dim than the head's."""
    width = int(layers[0][0].shape[1])
    if vectors.shape[1] != width:
        raise ConfigError(
            f"reranker.head takes {width} numbers a picture, the embeddings have {vectors.shape[1]}: another CLIP's head"
        )
    with torch.inference_mode():
        values = torch.from_numpy(np.ascontiguousarray(vectors))
        for weight, bias in layers:
            values = torch.nn.functional.linear(values, weight, bias)
    return values[:, 0].numpy()


def _number(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0
