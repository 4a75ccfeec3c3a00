"""The level of a weight never rises along the way from the input to the output, in the towers of every library."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from torch import nn

from picdesk.backbones.layers import as_registered, chains, levels
from picdesk.backbones.two_tower import TwoTower
from picdesk.training.adaptation import LastBlocks
from picdesk.training.depths import depths
from tests.backbones.forward_order import assert_falls, picture
from tests.folders import new_folder
from tests.training import models
from tests.training.families import FAMILIES, PICTURES

FAST = {
    "test_vit": {},
    "test_convnext": {},
    "test_resnet": {},
    "test_efficientnet": {},
    "vitamin_small_224": {"img_size": 64, "depth": 2},
    "fastvit_mci0": {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 32, 64)},
}


@pytest.mark.parametrize("name", FAST)
def test_levels_fall_in_towers_of_timm(name: str) -> None:
    options = dict(FAST[name])
    trunk = timm.create_model(name, num_classes=0, **options)
    run = picture(trunk, options.get("img_size", 64 if "mci" in name else trunk.default_cfg["input_size"][1]))
    assert_falls(trunk, levels(trunk, run), run)


def own_example(backbone: TwoTower, modality: Any) -> Callable[[], object]:
    pixels, tokens = models.batch(backbone, 1, side=1000)
    trunk = backbone.trunk(modality)
    return lambda: trunk(pixels) if modality == "image" else trunk(**tokens)


DIRECT = ("open_clip", "open_clip resnet", "open_clip coca", "open_clip mt5", "clip", "siglip2", "align", "flava")
NO_BLOCKS = ("fake", "own_code")
BACKBONES = [
    pytest.param(name, marks=() if name in DIRECT else pytest.mark.slow) for name in PICTURES if name not in NO_BLOCKS
]


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("kind", BACKBONES)
def test_levels_fall_in_our_backbones(kind: str, modality: Any) -> None:
    backbone = FAMILIES[kind]().eval()
    trunk = backbone.trunk(modality)
    beside = kind in ("lite_pair",) and modality == "image"
    assert_falls(trunk, depths(backbone, modality), own_example(backbone, modality), beside)


def test_the_stem_of_a_hybrid_is_not_among_the_last_blocks() -> None:
    models.folder()
    place = new_folder()
    tower = {
        "image_size": 64,
        "timm_model_name": "fastvit_mci0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
    }
    (place / "tiny-mobile.json").write_text(json.dumps({**models.TINY, "custom_text": True, "vision_cfg": tower}))
    open_clip.add_model_config(place)
    backbone = models.tiny_open_clip(model="tiny-mobile")
    trained = LastBlocks(1, lr_decay=0.5, towers="image").prepare(backbone)
    names = [name for name, _ in trained if "image_trunk" in name]
    assert not any("stem" in name for name in names)
    assert any("stages.3" in name for name in names)
    assert {trained.rates[name] for name in names} == {1.0, 0.5}


class Pair(nn.Module):
    """Two towers that see the same picture."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.a, self.b = one, other

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(pixels), self.b(pixels)], 1)


def test_towers_side_by_side_are_counted_each_for_itself() -> None:
    one, other = models.tiny_open_clip().image_trunk, models.tiny_transformers().image_trunk
    pair = Pair(one, other)
    found = levels(pair, picture(pair, 32))
    assert (found["a.conv1.weight"], found["a.ln_post.weight"]) == (4, 0)
    assert found["b.model.vision_model.post_layernorm.weight"] == 0
    assert found["b.model.vision_model.embeddings.patch_embedding.weight"] == 3


def test_looking_leaves_the_tower_as_it_was() -> None:
    trunk = models.tiny_open_clip(model="tiny-train-resnet").image_trunk
    trunk.train()
    trunk.conv1.requires_grad_(True)
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    frozen = {name: value.requires_grad for name, value in trunk.named_parameters()}
    levels(trunk)
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert {name: value.requires_grad for name, value in trunk.named_parameters()} == frozen
    assert all(module.training for module in trunk.modules())
    assert not any(module._forward_hooks for module in trunk.modules())


def test_looking_takes_pixels_that_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch warns, once a process, of a tensor whose memory must not be written."""
    writable: list[bool] = []
    taken = torch.from_numpy

    def from_numpy(array: np.ndarray) -> torch.Tensor:
        writable.append(array.flags.writeable)
        return taken(array.copy())

    monkeypatch.setattr(torch, "from_numpy", from_numpy)
    depths(models.tiny_open_clip(), "image")
    assert writable == [True]


def test_what_cannot_be_run_is_counted_as_it_is_registered() -> None:
    trunk = timm.create_model("test_vit", num_classes=0)
    seen = levels(trunk, picture(trunk, 160))

    def fails() -> None:
        raise TypeError("wants two pictures")

    guessed = levels(trunk, fails)
    assert guessed == as_registered(trunk, chains(trunk)[0]) == seen
