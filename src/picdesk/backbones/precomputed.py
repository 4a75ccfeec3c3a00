"""`backbone=precomputed`: the embeddings came with the data set, made elsewhere; nothing is encoded here.

For new texts it takes the text tower of another backbone, which must be the one that made the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.interfaces import Modality
from picdesk.parts import config_part

COMPARED = 16  # texts of the data set that are encoded to see whether the text encoder made its vectors
SAME_SPACE = 0.3  # other prompts leave a text above it; towers of two trainings are near 0 to each other
UNKNOWN = "backbone=precomputed knows the vectors of its data set alone; {what} needs {key}"


class TextTower(nn.Module):
    """Trunk and head of another backbone's text side, in one."""

    def __init__(self, backbone: TwoTower) -> None:
        super().__init__()
        self.trunk, self.head = backbone.text_trunk, backbone.text_head

    def forward(self, **tokens: torch.Tensor) -> torch.Tensor:
        """Keyword tensors to embeddings [n, dim] of length 1."""
        return nn.functional.normalize(self.head(self.trunk(**tokens)), dim=-1)


@config_part
class Precomputed(TwoTower):
    """Vectors of `dim` numbers as they are: both heads are the identity.

    `text_encoder` (a backbone, null for none) encodes texts that are asked from outside, with its trunk and head.
    """

    knows_given_alone = True

    def __init__(self, dim: int, text_encoder: TwoTower | None = None) -> None:
        if text_encoder is not None and text_encoder.dim != dim:
            raise ConfigError(
                f"backbone.text_encoder={text_encoder.name} makes {text_encoder.dim} numbers a text, "
                f"the data set's vectors have backbone.dim={dim}: another model made them"
            )
        rule = {"precomputed": True, "encoder": text_encoder.trunk_fingerprint("text") if text_encoder else None}
        super().__init__(
            name="precomputed" if text_encoder is None else f"precomputed+{text_encoder.name}",
            dim=dim,
            image_trunk=nn.Identity(),
            image_head=nn.Identity(),
            text_trunk=TextTower(text_encoder) if text_encoder else nn.Identity(),
            text_head=nn.Identity(),
            trunk_dims=(dim, dim),
            preprocessing={"image": {"precomputed": True}, "text": rule},
            logit_scale=float(text_encoder.logit_scale.detach()) if text_encoder else 0.0,
        )
        self._text_encoder = (
            [text_encoder] if text_encoder else []
        )  # in a list: its image tower is no part of this module

    def given(
        self, modality: Modality, vectors: Mapping[Modality, NDArray[np.float32]], name: str
    ) -> NDArray[np.float32]:
        """The data set's vectors, [n, dim]. Raises `ConfigError` where it has none, or of another width."""
        if modality not in vectors:
            raise ConfigError(
                f"backbone=precomputed: data={name} has no {modality} embeddings; use data=npz or data=clip_retrieval"
            )
        width = vectors[modality].shape[1]
        if width != self.dim:
            raise ConfigError(
                f"backbone.dim={self.dim}: the {modality} embeddings of data={name} have {width} numbers each"
            )
        return vectors[modality]

    def check_texts(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Raise `ConfigError` where the text encoder puts the data set's own texts elsewhere than their vectors [n, dim] are."""
        if not self._text_encoder or not len(texts):
            return
        some = range(0, len(texts), max(1, len(texts) // COMPARED))
        with torch.inference_mode():
            made = self.text_trunk(**self.tokenize([texts[i] for i in some])).float()
        given = nn.functional.normalize(torch.from_numpy(vectors[list(some)]), dim=-1)
        cosine = float((made * given).sum(1).mean())
        if cosine < SAME_SPACE:
            raise ConfigError(
                f"backbone.text_encoder={self._text_encoder[0].name}: its vectors of the data set's own texts have a cosine of "
                f"{cosine:.2f} with those that came with them, so another model made those (or its training); name that one"
            )

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[Any]:
        """Raises `ConfigError`: no picture is encoded."""
        self._refuse("a picture from outside", "the backbone that made them")

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """The text encoder's tokens. Raises `ConfigError` where there is none."""
        if not self._text_encoder:
            self._refuse(
                "a text from outside", "the text tower that made them: +backbone@backbone.text_encoder=vit_b_32_openai"
            )
        return self._text_encoder[0].tokenize(texts)

    def token_lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The text encoder's."""
        encoder = self._text_encoder[0] if self._text_encoder else None
        return super().token_lengths(inputs) if encoder is None else encoder.token_lengths(inputs)

    @property
    def context(self) -> int | None:
        """The text encoder's."""
        return self._text_encoder[0].context if self._text_encoder else None

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8] | None:
        """The text encoder's."""
        return self._text_encoder[0].text_flags(texts) if self._text_encoder else None

    def _refuse(self, what: str, key: str) -> NoReturn:
        raise ConfigError(UNKNOWN.format(what=what, key=key))
