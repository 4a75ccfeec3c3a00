"""Backbones of three libraries for the tests of training: small ones with random weights, and the real lite one."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn

from picdesk.backbones.lite import Lite
from picdesk.backbones.open_clip import OpenClip
from picdesk.backbones.transformers import Transformers
from picdesk.backbones.two_tower import TwoTower
from tests.backbones import tiny_models, vocabulary_memory
from tests.folders import new_folder

vocabulary_memory.begin()

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 3},
}
RESNET = TINY | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
NAMES = ("open_clip", "transformers", "lite")


@cache
def folder() -> Path:
    """Where the small models lie."""
    place = new_folder()
    (place / "library").mkdir()
    (place / "library" / "tiny-train.json").write_text(json.dumps(TINY))
    (place / "library" / "tiny-train-resnet.json").write_text(json.dumps(RESNET))
    open_clip.add_model_config(place / "library")
    (place / "clip").mkdir()
    tiny_models.make("clip", place / "clip")
    return place


def tiny_open_clip(seed: int = 5, model: str = "tiny-train") -> OpenClip:
    """An open_clip ViT of three blocks a tower."""
    folder()
    return OpenClip(model, seed=seed)


def tiny_transformers() -> Transformers:
    """CLIP of the transformers library, two blocks a tower."""
    return Transformers(str(folder() / "clip"))


def lite() -> Lite:
    """The real trunks, with the first words of the vocabulary alone."""
    backbone = Lite(dim=16)
    words = backbone.text_trunk.get_submodule("transformer.embeddings.word_embeddings")
    words.weight = nn.Parameter(words.get_parameter("weight")[:6000].clone(), requires_grad=False)
    return backbone


MAKERS: dict[str, Callable[[], TwoTower]] = {
    "open_clip": tiny_open_clip,
    "transformers": tiny_transformers,
    "lite": lite,
}


def make(name: str) -> TwoTower:
    """A backbone by its library's name, the same weights each time."""
    return MAKERS[name]().eval()


def batch(backbone: TwoTower, count: int = 4, side: int = 64) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Normalised pixels of made-up pictures, at most `side` each way, and tokens of as many texts."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(picture) for picture in pictures]))
    texts = [f"{word} dog {'runs ' * i}" for i, word in enumerate(["red", "old", "big", "wet"][:count])]
    return backbone.normalise_pixels(pixels[..., :side, :side]), backbone.tokenize(texts)
