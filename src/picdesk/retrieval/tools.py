"""What rerankers are handed: both sides of a search with their texts and pictures, and embeddings through the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.backbones.two_tower import TwoTower, weights_digest
from picdesk.collection import Chosen, Collection, Fields
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.files import digest_of
from picdesk.interfaces import Direction, Embeddings, PictureBytes, RerankContext, Side
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import head, picture_features
from picdesk.training.checkpoint import MODALITIES


@dataclass(frozen=True)
class Tools:
    """The encode loop with the backbone that is searched by; it is the `Embedder` that rerankers see."""

    backbone: TwoTower
    encoder: Encoder
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: Mapping[str, Sequence[Fields]] = field(default_factory=dict)
    render: Callable[[Fields], str] | None = None

    @classmethod
    def over(
        cls,
        backbone: TwoTower,
        encoder: Encoder,
        part: Collection | None,
        render: Callable[[Fields], str] | None = None,
    ) -> Tools:
        """With all that a data set says of its pictures; `render` makes its texts, and what is asked."""
        return (
            cls(backbone, encoder, captions_of(part), known_of(part), render)
            if part is not None
            else cls(backbone, encoder)
        )

    @property
    def device(self) -> str:
        """Where models run."""
        return self.encoder.device

    def texts(self, backbone: TwoTower, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of texts by any backbone."""
        return head(backbone, "text", self.encoder.texts(backbone, list(texts)))

    def pictures(self, backbone: TwoTower, pictures: PictureBytes, ids: Sequence[str] = ()) -> NDArray[np.float32]:
        """Embeddings [n, dim] of pictures by any backbone; `ids` name one that cannot be decoded."""
        return head(backbone, "image", self.encoder.pictures(backbone, pictures, open_picture, ids))

    def nearness(self, texts: Sequence[str]) -> Callable[[Sequence[int], PictureBytes], NDArray[np.float32]] | None:
        """What tells how near each picture is to one of the texts, by its number; None where no picture can be encoded."""
        if self.backbone.by_captions or self.backbone.knows_given_alone:
            return None

        def nearness_of(rows: Sequence[int], pictures: PictureBytes) -> NDArray[np.float32]:
            asked = self.texts(self.backbone, texts)[list(rows)]
            nearness: NDArray[np.float32] = np.einsum("nd,nd->n", asked, self.pictures(self.backbone, pictures))
            return nearness

        return nearness_of

    def decode(self, data: bytes) -> Image.Image:
        """Bytes to an RGB picture."""
        return open_picture(data, self.encoder.max_pixels)

    @cached_property
    def _heads(self) -> list[str]:
        """A digest of each head; both directions have the same."""
        return [weights_digest(self.backbone.head(modality)) for modality in MODALITIES]

    def space(self, direction: Direction) -> str:
        """The name of the searched space with a digest of everything that made it."""
        backbone = self.backbone.facing(direction)
        trunks = [backbone.trunk_fingerprint(modality) for modality in MODALITIES]
        return f"{backbone.name}:{digest_of([trunks, self._heads, self.encoder.arithmetic(backbone), self.encoder.storage])}"

    def context(self, direction: Direction, queries: Side, items: Side) -> RerankContext:
        """What a reranker may look at."""
        return RerankContext(
            direction,
            queries,
            items,
            self.space(direction),
            lambda texts: self.texts(self.backbone.facing(direction), texts),
            self.backbone.name,
            self.captions,
            self,
            self.backbone.tuned,
            self.known,
            self.render,
        )


@dataclass(frozen=True)
class Sources:
    """A part of a data set with its prompts, as both sides of a search."""

    part: Collection
    prompts: tuple[str, ...]
    tools: Tools
    dataset: Dataset | None = None

    @classmethod
    def of(cls, dataset: Dataset, part: Collection, backbone: TwoTower, encoder: Encoder) -> Sources:
        """What there is of this part."""
        tools = Tools.over(backbone, encoder, part, dataset.prompt.render if part.text_ids else None)
        return cls(part, tuple(dataset.prompts(part)), tools, dataset)

    def sides(self, direction: Direction, queries: Embeddings, items: Embeddings) -> tuple[Side, Side]:
        """Queries and items of a direction."""
        if direction == "t2i":
            return self._texts(queries), self._pictures(items)
        return self._pictures(queries), self._texts(items)

    def embed_for_i2t(self, texts: Embeddings, pictures: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Texts and pictures as they are embedded for i2t, given those for t2i; the same where the backbone has one of each."""
        backbone = self.tools.backbone.facing("i2t")
        if backbone is self.tools.backbone:
            return texts, pictures
        given = backbone.given_features("text", self.part.vectors, self.part.name)
        found = self.tools.texts(backbone, self.prompts) if given is None else head(backbone, "text", given)
        asking = head(backbone, "image", picture_features(self.part, backbone, self.tools.encoder))
        return Embeddings(texts.ids, found), Embeddings(pictures.ids, asking)

    def _texts(self, embeddings: Embeddings) -> Side:
        if len(embeddings.ids) == len(self.part.text_ids):
            return Side(embeddings.ids, embeddings, self.prompts, self.part.texts)
        place = {name: i for i, name in enumerate(self.part.text_ids)}
        rows = [place[name] for name in embeddings.ids]
        texts = tuple(self.prompts[row] for row in rows)
        return Side(embeddings.ids, embeddings, texts, tuple(self.part.texts[row] for row in rows))

    def _pictures(self, embeddings: Embeddings) -> Side:
        """All pictures, or those of them that have texts."""
        pictures: PictureBytes = self.part.pictures
        if len(embeddings.ids) != len(self.part.picture_ids):
            place = {name: i for i, name in enumerate(self.part.picture_ids)}
            pictures = Chosen(pictures, np.array([place[name] for name in embeddings.ids], np.int64))
        return Side(embeddings.ids, embeddings, pictures=pictures)


def captions_of(part: Collection) -> dict[str, list[str]]:
    """The captions, or else titles, that the data set has of its pictures, by picture id."""
    found: dict[str, list[str]] = {}
    for fields, picture in zip(part.texts, part.picture_of.tolist(), strict=True):
        text = fields.get("caption") or fields.get("title")
        if isinstance(text, str) and text:
            found.setdefault(part.picture_ids[picture], []).append(text)
    return found


def known_of(part: Collection) -> dict[str, list[Fields]]:
    """All fields of the texts that the data set has of its pictures, by picture id."""
    found: dict[str, list[Fields]] = {}
    for fields, picture in zip(part.texts, part.picture_of.tolist(), strict=True):
        found.setdefault(part.picture_ids[picture], []).append(fields)
    return found
