"""The level of a weight never rises along the way from the input to the output, in the towers of every library."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from picdesk.backbones.layers import as_registered, chains, levels
from picdesk.backbones.two_tower import TwoTower
from picdesk.training.adaptation import LastBlocks
from picdesk.training.depths import depths
from tests.backbones import tiny_models
from tests.training import models


class FirstUse(TorchFunctionMode):
    """Takes down in which order the parameters of a module are first used in a calculation."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.names = {id(value): name for name, value in trunk.named_parameters()}
        self.order: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in [*args, *(kwargs or {}).values()]:
            name = self.names.get(id(value)) if isinstance(value, nn.Parameter) else None
            if name and getattr(func, "__name__", "") != "__get__":  # asking for its type or shape is no use
                self.order.append(self.names.pop(id(value)))
        return func(*args, **(kwargs or {}))


def parameters_used(trunk: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the parameters in the order of their first use."""
    with torch.no_grad(), FirstUse(trunk) as seen:
        run()
    return seen.order


def assert_falls(trunk: nn.Module, found: dict[str, int], run: Callable[[], object]) -> None:
    """No rise along the forward order; the first weight lies below all blocks, and there are as many levels as blocks."""
    order = parameters_used(trunk.eval(), run)
    assert len(order) > 0.5 * len(found)
    rises = [(a, found[a], b, found[b]) for a, b in pairwise(order) if found[b] > found[a]]
    assert rises == []
    blocks = sum(len(chain) for chain in chains(trunk))
    assert max(found.values()) >= blocks > 0
    assert found[order[0]] == max(found.values())
    assert set(range(1, blocks + 1)) <= set(found.values())


def picture(trunk: nn.Module, size: int) -> Callable[[], object]:
    return lambda: trunk(torch.zeros(1, 3, size, size))


FAST = {
    "test_vit": {},
    "test_convnext": {},
    "test_resnet": {},
    "test_efficientnet": {},
    "vitamin_small_224": {"img_size": 64, "depth": 2},
    "fastvit_mci0": {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 32, 64)},
}
WIDE = [
    *(
        "vit_base_mci_224",
        "vit_relpos_base_patch32_plus_rpn_256",
        "eva02_tiny_patch14_224",
        "swin_tiny_patch4_window7_224",
    ),
    *("vit_tiny_r_s16_p8_224", "levit_128s", "mobilevit_xxs", "convnextv2_atto", "regnetx_002", "efficientformer_l1"),
    *(
        "resnetv2_50x1_bit",
        "maxvit_rmlp_pico_rw_256",
        "coatnet_nano_rw_224",
        "mobileclip_b",
        "hiera_tiny_224",
        "pvt_v2_b0",
    ),
    *("fastvit_t8", "efficientnet_b0", "mixer_s32_224", "beit_base_patch16_224", "cait_xxs24_224", "edgenext_xx_small"),
    *(
        "mobilenetv3_small_050",
        "mobilenetv4_conv_small_035",
        "repvgg_a0",
        "twins_svt_small",
        "poolformer_s12",
        "vit_base_patch32_clip_224",
    ),
]


@pytest.mark.parametrize("name", FAST)
def test_levels_fall_in_towers_of_timm(name: str) -> None:
    options = dict(FAST[name])
    trunk = timm.create_model(name, num_classes=0, **options)
    run = picture(trunk, options.get("img_size", 64 if "mci" in name else trunk.default_cfg["input_size"][1]))
    assert_falls(trunk, levels(trunk, run), run)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WIDE if timm.is_model(name)])
def test_levels_fall_in_many_towers_of_timm(name: str) -> None:
    trunk = timm.create_model(name, num_classes=0)
    run = picture(trunk, trunk.default_cfg["input_size"][1])
    assert_falls(trunk, levels(trunk, run), run)


def of_open_clip() -> list[str]:
    """One name for each type of picture tower in the library: its timm name, or the kind of its own class."""
    kinds: dict[str, str] = {}
    for name in open_clip.list_models():
        cfg = open_clip.get_model_config(name)
        vision = cfg["vision_cfg"]
        tower = vision.get("timm_model_name") or ("resnet" if isinstance(vision.get("layers"), list) else "vit")
        if not cfg["text_cfg"].get("hf_model_name"):
            kinds.setdefault(str(tower).split("_patch")[0], name)
    return sorted(kinds.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", of_open_clip())
def test_levels_fall_in_every_type_of_picture_tower_of_open_clip(name: str) -> None:
    cfg = open_clip.get_model_config(name)
    size = cfg["vision_cfg"].get("image_size", 224)
    if "L-" in name or "gopt" in name or "SO400M" in name or "bigG" in name or size > 400:
        pytest.skip("the same type as a smaller one, and too large here")
    model = open_clip.create_model(name, pretrained=None, pretrained_text=False, pretrained_image=False)
    run = picture(model.visual, size)
    assert_falls(model.visual, levels(model.visual, run), run)


def own_example(backbone: TwoTower, modality: Any) -> Callable[[], object]:
    pixels, tokens = models.batch(backbone, 1)
    trunk = backbone.trunk(modality)
    return lambda: trunk(pixels) if modality == "image" else trunk(**tokens)


def make_backbone(kind: str) -> TwoTower:
    from picdesk.backbones.transformers import Transformers

    folder = Path(mkdtemp(prefix="picdesk-test-"))
    return Transformers(str(tiny_models.make(kind, folder)))


BACKBONES: dict[str, Callable[[], TwoTower]] = {
    **{kind: partial(make_backbone, kind) for kind in ("clip", "siglip2", "align", "blip")},
    "open_clip": models.tiny_open_clip,
    "resnet": lambda: models.tiny_open_clip(model="tiny-train-resnet"),
}


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("kind", BACKBONES)
def test_levels_fall_in_our_backbones(kind: str, modality: Any) -> None:
    backbone = BACKBONES[kind]().eval()
    trunk = backbone.trunk(modality)
    assert_falls(trunk, depths(backbone, modality), own_example(backbone, modality))


def test_the_stem_of_a_hybrid_is_not_among_the_last_blocks() -> None:
    models.folder()
    place = Path(mkdtemp(prefix="picdesk-test-"))
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


def test_what_cannot_be_run_is_counted_as_it_is_registered() -> None:
    trunk = timm.create_model("test_vit", num_classes=0)
    seen = levels(trunk, picture(trunk, 160))

    def fails() -> None:
        raise TypeError("wants two pictures")

    guessed = levels(trunk, fails)
    assert guessed == as_registered(trunk, chains(trunk)[0]) == seen
