"""What the embeddings of an index were made with, so that another is never asked by mistake."""

from __future__ import annotations

from typing import Any

from picdesk.backbones.two_tower import TwoTower, weights_digest
from picdesk.embedding.encoder import Encoder
from picdesk.files import digest_of
from picdesk.retrieval.dataset import Dataset
from picdesk.training.checkpoint import MODALITIES


def made_from(dataset: Dataset, gallery: str, backbone: TwoTower, encoder: Encoder) -> dict[str, Any]:
    """What the embeddings of an index were made with; each key must be the same when it is asked."""
    return {
        "gallery": gallery,
        **of_backbone(backbone, encoder),
        "prompt": prompt_facts(dataset.prompt),
        "data": dataset.collection.name,
        "fields": list(dataset.collection.field_names()),
    }


def of_backbone(backbone: TwoTower, encoder: Encoder) -> dict[str, Any]:
    """Weights, preprocessing, precision and decoding."""
    heads = [weights_digest(backbone.head(modality)) for modality in MODALITIES]
    trunks = {f"{modality}_trunk": backbone.trunk_fingerprint(modality) for modality in MODALITIES}
    reading = {"precision": encoder.arithmetic(backbone), "decode": "draft" if encoder.fast_decode else "full"}
    return {"backbone": backbone.name, **trunks, "heads": digest_of(heads), **reading, "storage": encoder.storage}


def prompt_facts(prompt: Any) -> str:
    """A prompt with what it does: `headline_topics max_tags=5`."""
    if prompt is None:
        return "none"
    settings = {key: value for key, value in vars(prompt).items() if key not in ("name", "field", "fields")}
    return " ".join([prompt.name, *(f"{key}={value}" for key, value in sorted(settings.items()))])
