"""Levels of the towers that timm and open_clip have, one of every kind, on the `meta` device: no weights, so any size will do."""

import json
from typing import Any

import open_clip
import pytest
import timm
import torch
from timm.models._registry import _model_to_module

from picdesk.backbones.clip_text import TextTrunk
from picdesk.backbones.layers import levels
from picdesk.backbones.open_clip import Latent, quiet_library, take_image_head, take_text_head
from tests.backbones import tiny_open_clip
from tests.backbones.forward_order import assert_falls, picture

TOWERS = [
    "beit_base_patch16_224",
    "botnet26t_256",
    "mobileone_s0",
    "repvgg_a0",
    "cait_xxs24_224",
    "coat_lite_tiny",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "convnext_atto",
    "convnextv2_atto",
    "cpubone_nano",
    "crossvit_9_240",
    "csatv2",
    "cs3darknet_s",
    "cspnext_tiny",
    "davit_tiny",
    "deepseek_vit_412m",
    "deit_tiny_distilled_patch16_224",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientnet_b0",
    "efficientvim_m1",
    "efficientvit_b0",
    "efficientvit_m0",
    "eva02_tiny_patch14_224",
    "vit_pe_core_tiny_patch16_384",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "gemma4_vit_167m_enc",
    "ghostnet_050",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "sam2_hiera_tiny",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "lcnetv2_small",
    "levit_128s",
    "lowformer_b0",
    "test_mambaout",
    "coatnet_nano_rw_224",
    "maxvit_rmlp_pico_rw_256",
    "poolformer_s12",
    "caformer_s18",
    "mixer_s32_224",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small_035",
    "mobilenetv5_base",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "mvitv2_tiny",
    "naflexvit_base_patch16_gap",
    "nest_tiny_jx",
    "nextvit_small",
    "nf_resnet26",
    "pit_ti_224",
    "pvt_v2_b0",
    "qwen3_vit_88m",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m0_9",
    "res2net50_14w_8s",
    "resnest14d",
    "resnet10t",
    "resnetv2_18",
    "resnetv2_50x1_bit",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "visformer_tiny",
    "vit_tiny_patch16_224",
    "vit_base_patch32_clip_224",
    "vit_base_mci_224",
    "vit_tiny_r_s16_p8_224",
    "vit_base_resnet26d_224",
    "test_vit_relpos",
    "vit_relpos_base_patch32_plus_rpn_256",
    "samvit_base_patch16_224",
    "vitamin_small_224",
    "volo_d1_224",
    "ese_vovnet19b_slim_dw",
    "xception41",
    "xcit_nano_12_p16_224",
    "inception_resnet_v2",
    "inception_v4",
    "fastvit_mci3",
    "convnext_xxlarge",
]
BRANCHES = ("crossvit_9_240", "efficientvim_m1", "inception_resnet_v2", "coat_tiny")
"""Towers that have chains of blocks beside each other."""
NO_BLOCKS = ("densenet121", "dla46_c", "dpn48b", "inception_v3", "vgg11", "legacy_xception")
"""Towers without a chain of blocks as `chains` knows them: all their weights are at level 0, and last_blocks refuses them."""
NO_TOWERS = {
    "nasnet": "331 pixels, not used since 2018",
    "pnasnet": "331 pixels, not used since 2018",
}


def test_every_module_of_timm_has_a_tower_in_the_list() -> None:
    names = [*TOWERS, *NO_BLOCKS]
    assert [name for name in names if not timm.is_model(name)] == []
    assert set(BRANCHES) <= set(TOWERS)
    covered = {_model_to_module[name] for name in names}
    own = [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("timm.")]
    assert {_model_to_module[name] for name in own} - covered == set(NO_TOWERS)  # other tests may register towers too


def tower_of_timm(name: str) -> tuple[Any, Any]:
    with torch.device("meta"):
        trunk = timm.create_model(name, num_classes=0).eval()
    return trunk, picture(trunk, trunk.default_cfg["input_size"][1], "meta")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOWERS)
def test_levels_fall_in_a_tower_of_every_module_of_timm(name: str) -> None:
    trunk, run = tower_of_timm(name)
    assert_falls(trunk, levels(trunk, run), run, name in BRANCHES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_BLOCKS)
def test_a_tower_without_blocks_has_one_level(name: str) -> None:
    trunk, run = tower_of_timm(name)
    assert set(levels(trunk, run).values()) == {0}


def plain_kind(cfg: dict[str, Any]) -> str:
    """What makes a pair of towers another kind than one of other sizes or another vocabulary."""
    sizes = ("image_size", "vocab_size", "context_length", "hf_tokenizer_name", "tokenizer_kwargs")
    sides = [{k: v for k, v in cfg[side].items() if k not in sizes} for side in ("vision_cfg", "text_cfg")]
    return json.dumps(sides, sort_keys=True)


def of_open_clip() -> list[str]:
    """One name for each pair of towers in the library that differs in more than the size of its inputs, smallest inputs first."""
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    kinds: dict[str, str] = {}
    for name in sorted(configs, key=lambda name: configs[name]["vision_cfg"].get("image_size", 224)):
        if not configs[name]["text_cfg"].get("hf_model_name"):  # those are in `tiny_open_clip`, see below
            kinds.setdefault(plain_kind(configs[name]), name)
    return sorted(kinds.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", of_open_clip())
def test_levels_fall_in_both_towers_of_every_kind_of_open_clip(name: str) -> None:
    cfg = open_clip.get_model_config(name)
    with quiet_library(), torch.device("meta"):
        made = {"load_weights": False, "pretrained_text": False, "pretrained_image": False, "device": "meta"}
        model = open_clip.create_model(name, **made).eval()
    take_image_head(model, 1)
    take_text_head(model, 1)
    image = Latent(model.visual) if hasattr(model, "text_decoder") else model.visual
    text = TextTrunk(model)
    text.cuttable = False  # to cut a batch asks for its values, which there are none of
    see = picture(image, cfg["vision_cfg"].get("image_size", 224), "meta")
    tokens = torch.ones(1, cfg["text_cfg"].get("context_length", 77), dtype=torch.long, device="meta")
    assert_falls(image, levels(image, see), see)
    assert_falls(text, levels(text, lambda: text(tokens)), lambda: text(tokens))


def test_every_text_tower_from_transformers_has_a_small_one() -> None:
    """Their levels are looked at in `test_depth`, through the families of `tests/training`."""
    from open_clip.hf_configs import arch_dict

    assert set(arch_dict) == set(tiny_open_clip.TEXT_TOWERS)
