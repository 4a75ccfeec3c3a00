"""Trunk features of a part of a data set through the store, and what the heads make of them."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.images import Noted
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.unread import Unread
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import Embeddings, Modality
from picdesk.process.float32 import true_float32
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.keeping import Keep, make_anew
from picdesk.training.checkpoint import MODALITIES
from picdesk.training.features import Features
from picdesk.weights import finite

log = logging.getLogger(__name__)


def features_of(
    dataset: Dataset,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    without: tuple[Modality, ...] = (),
    keep: Keep = make_anew,
) -> Features:
    """Trunk features of one part, through the store; `without` leaves the matrices of some sides empty.

    What `keep` has of them is not encoded again; counts and unread texts are then those of the first time.
    """
    trunks = [backbone.trunk_fingerprint(modality) for modality in MODALITIES]
    how = (encoder.arithmetic(backbone), encoder.fast_decode, encoder.storage, list(without))
    key = digest_of([dataset.part_key(part), trunks, *how])
    made: list[Features] = []

    def make() -> Features:
        made.append(encoded_features(dataset, part, backbone, encoder, without))
        keep("unread", key, lambda: copy.deepcopy(encoder.unread))
        return made[0]

    features = keep("features", key, make)
    if not made:
        encoder.counts.reused["image"] += len(features.images)
        encoder.counts.reused["text"] += len(features.texts)
        encoder.unread.take_over(keep("unread", key, Unread))
    return features


def encoded_features(
    dataset: Dataset, part: Collection, backbone: TwoTower, encoder: Encoder, without: tuple[Modality, ...] = ()
) -> Features:
    """The same, whatever is kept."""
    if not part.text_ids:
        raise ConfigError(
            f"data={part.name}: this part has no texts, so there is nothing to train on or to score; retrieve.py searches it"
        )
    none = {modality: np.empty((0, backbone.trunk_dim(modality)), np.float32) for modality in MODALITIES}
    return Features(
        picture_ids=part.picture_ids,
        text_ids=part.text_ids,
        images=none["image"] if "image" in without else picture_features(part, backbone, encoder),
        texts=none["text"] if "text" in without else text_features(dataset, part, backbone, encoder),
        picture_of=part.picture_of,
        t2i=part.qrels("t2i"),
        i2t=part.qrels("i2t"),
    )


def turned_features(
    dataset: Dataset, part: Collection, backbone: TwoTower, encoder: Encoder, without: tuple[Modality, ...] = ()
) -> dict[Modality, NDArray[np.float32]]:
    """Trunk features of the sides that the backbone encodes otherwise where pictures ask and texts are found; those in `without`
    are empty. Nothing where each side has one prompt."""
    turned, found = backbone.facing("i2t"), dict[Modality, NDArray[np.float32]]()
    for modality in MODALITIES:
        if turned.role_parts(modality) == backbone.role_parts(modality):
            continue
        if modality in without:
            found[modality] = np.empty((0, turned.trunk_dim(modality)), np.float32)
        elif modality == "image":
            found[modality] = picture_features(part, turned, encoder)
        else:
            found[modality] = text_features(dataset, part, turned, encoder)
    return found


def picture_features(part: Collection, backbone: TwoTower, encoder: Encoder) -> NDArray[np.float32]:
    """Trunk features [pictures, trunk_dim] of one part, through the store or as they came with the data set."""
    given = backbone.given_features("image", part.vectors, part.name)
    if given is not None:
        return given
    noted = Noted()
    rows = encoder.pictures(backbone, part.pictures, noted.open, part.picture_ids)
    for line in noted.lines():
        log.info("data=%s: %s", part.name, line)
    return rows


def text_features(dataset: Dataset, part: Collection, backbone: TwoTower, encoder: Encoder) -> NDArray[np.float32]:
    """Trunk features [texts, trunk_dim] of one part, through the store or as they came with the data set."""
    given = backbone.given_features("text", part.vectors, part.name)
    if given is None:
        return encoder.texts(backbone, dataset.prompts(part))
    backbone.check_texts(dataset.prompts(part), given)
    return given


def embed(backbone: TwoTower, features: Features) -> tuple[Embeddings, Embeddings]:
    """Texts and pictures of one part in the shared space."""
    texts = head(backbone, "text", features.texts)
    return Embeddings(features.text_ids, texts), Embeddings(
        features.picture_ids, head(backbone, "image", features.images)
    )


def head(backbone: TwoTower, modality: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Trunk features to embeddings, float32; in blocks, each written where it belongs, so that no second copy is made."""
    import torch

    found = np.empty((len(features), backbone.dim), np.float32)
    start = 0
    with torch.inference_mode(), true_float32():
        for block in np.array_split(features, len(features) // 8192 + 1):
            own = backbone.embed(modality, torch.from_numpy(block)).float().numpy()
            found[start : start + len(block)] = finite(own, f"{modality} vectors of {backbone.name}")
            start += len(block)
    return found
