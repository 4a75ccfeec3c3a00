"""`backbone=precomputed`: the embeddings came with the data set, made elsewhere. As they are, or with heads to be trained.

Texts that have no vectors, and texts from outside, are encoded by the text tower of another backbone (`text_encoder`). Without a
text head that must be the one that made the vectors; a head learns to bring any text tower to the pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.heads import Head, Same
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS, Direction, Modality
from picdesk.parts import config_part

COMPARED = 16  # texts of the data set that are encoded to see whether the text encoder made its vectors
SAME_SPACE = 0.3  # other prompts leave a text above it; towers of two trainings are near 0 to each other
FIRST_SCALE = 2.66  # ln(1 / 0.07)
OF_TEXTS = (
    "the text tower that made them: +backbone@backbone.text_encoder=vit_b_32_openai (of an export: text_ckpt=export)"
)
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
    """Given vectors, `image_width` and `text_width` numbers each (None: `dim`), brought to `dim` by a head on either side.

    `text_encoder` (a backbone, null for none) encodes texts without a vector and texts that are asked from outside, with its
    trunk and head; where it is the backbone of a checkpoint, `text_ckpt` names that. `seed` draws the heads. `logit_scale` is
    where a fit begins (None: the text encoder's own, else 2.66).
    """

    knows_given_alone = True

    def __init__(
        self,
        dim: int,
        text_encoder: TwoTower | None = None,
        image_head: Head | None = None,
        text_head: Head | None = None,
        image_width: int | None = None,
        text_width: int | None = None,
        logit_scale: float | None = None,
        seed: int = 0,
        text_ckpt: str | None = None,
    ) -> None:
        if text_ckpt and text_encoder is None:
            raise ConfigError(f"backbone.text_ckpt={text_ckpt}: no text tower came of it")
        image_head, text_head = image_head or Same(), text_head or Same()
        widths = (image_width or dim, text_width or (text_encoder.dim if text_encoder else dim))
        if text_encoder is not None and text_encoder.dim != (dim if isinstance(text_head, Same) else widths[1]):
            raise ConfigError(
                f"backbone.text_encoder={text_encoder.name} makes {text_encoder.dim} numbers a text, "
                f"the data set's vectors have {'backbone.text_width' if text_width else 'backbone.dim'}="
                f"{text_width or dim}: another model made them, or a text head is needed (backbone/head@backbone.text_head)"
            )
        rule = {"precomputed": True, "encoder": text_encoder.trunk_fingerprint("text") if text_encoder else None}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = image_head.make(widths[0], dim, "image"), text_head.make(widths[1], dim, "text")
        super().__init__(
            name=name_of(image_head, text_head, text_encoder),
            dim=dim,
            image_trunk=nn.Identity(),
            image_head=heads[0],
            text_trunk=TextTower(text_encoder) if text_encoder else nn.Identity(),
            text_head=heads[1],
            trunk_dims=widths,
            preprocessing={"image": {"precomputed": True}, "text": rule},
            logit_scale=scale_of(text_encoder) if logit_scale is None else logit_scale,
        )
        self.untrained = image_head.chance or text_head.chance
        self._text_encoder = (
            [text_encoder] if text_encoder else []
        )  # in a list: its image tower is no part of this module

    def by_chance(self) -> str:
        """As of every backbone; also where an untrained tower encodes texts that no head of this one takes up."""
        tower = self.text_encoder
        if tower is None or not tower.untrained or not isinstance(self.text_head, nn.Identity):
            return super().by_chance()
        told = "is untrained, so its vectors of texts do not belong to those of the data set: these are chance results"
        hint = "name the one that made them: backbone.text_encoder, or its checkpoint: backbone.text_ckpt"
        return f"the text tower of {self.name} {told}; {hint}"

    @property
    def text_encoder(self) -> TwoTower | None:
        """The backbone whose text tower encodes texts."""
        return self._text_encoder[0] if self._text_encoder else None

    @property
    def turns(self) -> bool:
        """Whether the text encoder has another vector for a text that asks than for one that is found."""
        return any(encoder.turns for encoder in self._text_encoder)

    def facing(self, direction: Direction) -> Self:
        """As for all backbones, with the text encoder as it encodes for the direction."""
        turned = super().facing(direction)
        if turned is not self:
            (before,) = self._text_encoder
            encoder = before.facing(direction)
            turned._text_encoder = [encoder]
            if encoder.text_trunk is not before.text_trunk:  # one that puts the prompt before the text itself
                tower = turned._modules["text_trunk"] = copy.copy(self.text_trunk)
                tower._modules = tower._modules | {"trunk": encoder.text_trunk}
        return turned

    def role_parts(self, modality: Modality) -> dict[str, Any]:
        """The text encoder, for texts that are found; as texts ask it is in the fingerprint of either direction."""
        turned = modality == "text" and self.turns and self.direction != DIRECTIONS[0]
        return {"found_by": self._text_encoder[0].trunk_fingerprint("text")} if turned else {}

    def given_features(
        self, modality: Modality, vectors: Mapping[Modality, NDArray[np.float32]], name: str
    ) -> NDArray[np.float32] | None:
        """The data set's vectors, [n, width]; None for texts that the text encoder encodes. Raises `ConfigError` where there
        are none, or of another width."""
        if modality not in vectors and modality == "text" and self._text_encoder:
            return None
        if modality not in vectors:
            more = (
                "; for its texts name a text tower: +backbone@backbone.text_encoder=minilm"
                if modality == "text"
                else ""
            )
            raise ConfigError(
                f"backbone=precomputed: data={name} has no {modality} embeddings; use data=npz or data=clip_retrieval{more}"
            )
        width, wanted = vectors[modality].shape[1], self.trunk_dim(modality)
        if width != wanted:
            key = "dim" if wanted == self.dim else f"{modality}_width"
            raise ConfigError(
                f"backbone.{key}={wanted}: the {modality} embeddings of data={name} have {width} numbers each"
            )
        return vectors[modality]

    def check_texts(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Raise `ConfigError` where the text encoder puts the data set's own texts elsewhere than their vectors [n, dim] are."""
        if not self._text_encoder or not len(texts):
            return
        some = range(0, len(texts), max(1, len(texts) // COMPARED))
        with torch.inference_mode():
            tokens, home = self.tokenize([texts[i] for i in some]), next(self.text_trunk.parameters()).device
            made = self.text_trunk(**{name: tensor.to(home) for name, tensor in tokens.items()}).float().cpu()
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
                "a text from outside",
                OF_TEXTS,
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


def name_of(image_head: Head, text_head: Head, text_encoder: TwoTower | None) -> str:
    """With heads that are no identity, and the text tower: `precomputed(mlp, residual)+sentences(minilm-l6)`."""
    heads = [head.name for head in (image_head, text_head)]
    shown = f"({', '.join(heads)})" if set(heads) != {"identity"} else ""
    return f"precomputed{shown}" + (f"+{text_encoder.name}" if text_encoder is not None else "")


def scale_of(text_encoder: TwoTower | None) -> float:
    """Where the temperature begins: the text encoder's, else 1 / 0.07."""
    return float(text_encoder.logit_scale.detach()) if text_encoder is not None else FIRST_SCALE
