"""Each adaptation trains what it names, at the rate it names, and leaves the rest as it was, to the bit."""

import copy
from functools import cache

import peft
import pytest
import torch
from torch import nn

from picdesk.backbones.layers import chains
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.training import low_rank
from picdesk.training.adaptation import Adaptation, BitFit, Full, Heads, LastBlocks, LockImage, LockText, Lora
from picdesk.training.depths import depths
from picdesk.training.losses import InfoNCE
from tests.embedding.fakes import Tiny
from tests.training.models import NAMES, batch, make, tiny_open_clip

ADAPTATIONS = [Heads(), Full(), LastBlocks(1), Lora(rank=2), BitFit(), LockImage(), LockText()]


@cache
def fresh_backbone(name: str) -> TwoTower:
    return make(name)


def state(backbone: nn.Module) -> dict[str, torch.Tensor]:
    return {low_rank.plain_name(name): value.clone() for name, value in backbone.state_dict().items()}


def step(backbone: TwoTower, trained: list[tuple[str, nn.Parameter]]) -> None:
    pixels, tokens = batch(backbone)
    u = backbone.embed("image", backbone.image_trunk(pixels))
    v = backbone.embed("text", backbone.text_trunk(**tokens))
    optimizer = torch.optim.SGD([value for _, value in trained], lr=0.1)
    InfoNCE()(u, v, torch.arange(len(pixels)), backbone.logit_scale).backward()
    optimizer.step()


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=lambda a: a.name)
@pytest.mark.parametrize("library", NAMES)
def test_what_is_named_moves_and_the_rest_stays_bit_equal(library: str, adaptation: Adaptation) -> None:
    backbone = copy.deepcopy(fresh_backbone(library))
    trained = adaptation.prepare(backbone)
    before, frozen = state(backbone), {low_rank.plain_name(name) for name, _ in backbone.named_buffers()}
    step(backbone, trained)
    after = state(backbone)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    named = {low_rank.plain_name(name) for name, _ in trained}
    assert moved <= named
    assert not moved & frozen
    still = {
        name for name in named - moved if not name.endswith(".down")
    }  # has no gradient while the other factor is zero
    assert len(still) <= len(named) // 3, still  # tables, of which few rows occur, and biases of keys, which cancel
    trunks = {m for m in ("image", "text") if any(name.startswith(f"{m}_trunk") for name in moved)}
    expected = {"heads": set(), "lock_image": {"text"}, "lock_text": {"image"}}.get(adaptation.name, {"image", "text"})
    assert trunks == expected == set(trained.learning)


@pytest.mark.parametrize("library", NAMES)
def test_last_blocks_are_the_last(library: str) -> None:
    backbone = copy.deepcopy(fresh_backbone(library))
    names = [name for name, _ in LastBlocks(1).prepare(backbone) if "_trunk" in name]
    last = {
        "open_clip": ("resblocks.2.", "ln_post", "ln_final"),
        "transformers": ("layers.1.", "post_layernorm", "final_layer_norm"),
        "lite": ("blocks.6.0.", "conv_head", "bn2", "layer.5."),
    }[library]
    assert names
    assert all(any(part in name for part in last) for name in names), names
    assert all(any(part in name for name in names) for part in last)


@pytest.mark.parametrize(("library", "blocks"), [("open_clip", (3, 3)), ("transformers", (2, 2)), ("lite", (16, 6))])
def test_levels_count_from_the_top(library: str, blocks: tuple[int, int]) -> None:
    backbone = fresh_backbone(library)
    for modality, count in zip(("image", "text"), blocks, strict=True):
        trunk = backbone.trunk(modality)  # type: ignore[arg-type]
        found = depths(backbone, modality)  # type: ignore[arg-type]
        assert [len(chain) for chain in chains(trunk)] == [count]
        assert set(found) == {name for name, _ in trunk.named_parameters()}
        assert set(found.values()) - {0} == set(range(1, count + 2)), "each block, and what is below the first"
    lowest = {name for name, level in depths(backbone, "text").items() if level == blocks[1] + 1}
    assert any("embedding" in name for name in lowest)


def test_the_stages_of_a_resnet_are_one_chain() -> None:
    found = chains(tiny_open_clip(model="tiny-train-resnet").image_trunk)
    assert found == [["layer1.0", "layer2.0", "layer3.0", "layer4.0"]]


def test_towers_side_by_side_have_a_chain_each() -> None:
    towers = (fresh_backbone("open_clip").image_trunk, fresh_backbone("transformers").image_trunk)
    assert [len(chain) for chain in chains(nn.ModuleDict({"trunks": nn.ModuleList(towers)}))] == [3, 2]


@pytest.mark.parametrize("library", NAMES)
def test_rates_fall_with_depth(library: str) -> None:
    backbone = copy.deepcopy(fresh_backbone(library))
    trained = Full(trunk_rate=0.5, lr_decay=0.1).prepare(backbone)
    level = {f"text_trunk.{name}": value for name, value in depths(backbone, "text").items()}
    for name, _ in trained:
        if name.startswith("text_trunk"):
            assert trained.rates[name] == pytest.approx(0.5 * 0.1 ** level[name])
        elif "trunk" not in name:
            assert trained.rates[name] == 1.0
    groups = trained.groups()
    assert sum(len(group["params"]) for group in groups) == len(trained)  # type: ignore[arg-type]
    assert len({group["rate"] for group in groups}) >= len(set(level.values()))


@pytest.mark.parametrize("library", NAMES)
def test_biases_norms_and_the_temperature_do_not_decay(library: str) -> None:
    backbone = copy.deepcopy(fresh_backbone(library))
    trained = Full().prepare(backbone)
    free = {
        id(value)
        for group in trained.groups()
        if group.get("weight_decay") == 0.0
        for value in group["params"]  # type: ignore[attr-defined]
    }
    modules = dict(backbone.named_modules())
    for name, value in trained:
        module = modules[name.rpartition(".")[0]]
        norm = "norm" in type(module).__name__.lower()
        if norm or name.endswith("bias") or name == "logit_scale":
            assert id(value) in free, name
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            assert id(value) not in free, name


def test_a_norm_with_a_matrix_of_weights_does_not_decay_either() -> None:
    backbone = Tiny()
    backbone.image_head = nn.LayerNorm([5, 5])
    trained = Heads().prepare(backbone)
    (decaying,) = [group for group in trained.groups() if "weight_decay" not in group]
    assert [value.shape for value in decaying["params"]] == [backbone.text_head.weight.shape]  # type: ignore[attr-defined]


@pytest.mark.parametrize("library", NAMES)
def test_lora_starts_as_the_backbone_and_merged_equals_unmerged(library: str) -> None:
    backbone, untouched = copy.deepcopy(fresh_backbone(library)), fresh_backbone(library)
    pixels, tokens = batch(backbone)

    def features() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            return backbone.image_trunk(pixels), backbone.text_trunk(**tokens)

    start = features()
    original = {name: value.clone() for name, value in backbone.named_parameters()}
    trained = Lora(rank=2).prepare(backbone)
    assert all(torch.equal(value, original[name]) for name, value in trained.plain_weights().items()), "to the bit"
    for one, other in zip(features(), start, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    for _ in range(3):
        step(backbone, trained)
    unmerged = features()
    plain = trained.plain_weights()
    own = trained.fold()
    back = dict(backbone.named_parameters())
    for name, value in untouched.named_parameters():
        if "_trunk" in name:
            assert torch.equal(back[name], value), "the frozen weights are back"
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(plain[name])
    for merged, apart, before in zip(features(), unmerged, start, strict=True):
        torch.testing.assert_close(merged, apart, atol=1e-5, rtol=1e-5)
        assert (merged - before).abs().max() > 1e-4, "the sums did something"
    assert {name for name, _ in backbone.named_parameters()} == {name for name, _ in untouched.named_parameters()}
    assert backbone.trunk_fingerprint("image") != untouched.trunk_fingerprint("image")


def test_the_low_rank_sum_is_pefts() -> None:
    torch.manual_seed(0)
    theirs = peft.inject_adapter_in_model(
        peft.LoraConfig(r=4, lora_alpha=6, target_modules=["0"]), nn.Sequential(nn.Linear(7, 5))
    )
    ours = nn.Sequential(nn.Linear(7, 5))
    layer = theirs[0]
    ours[0].load_state_dict(layer.base_layer.state_dict())
    assert low_rank.adapt(ours, rank=4, alpha=6, seed=0) == 1
    sums = ours[0].parametrizations.weight[0]
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
        sums.down.copy_(layer.lora_A["default"].weight)
        sums.up.copy_(layer.lora_B["default"].weight)
    x = torch.randn(3, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("part", ["in_proj_weight", "out_proj.weight"])
def test_the_sums_reach_packed_attention(part: str) -> None:
    backbone = copy.deepcopy(fresh_backbone("open_clip"))
    trained = Lora(rank=2).prepare(backbone)
    step(backbone, trained)
    named = dict(trained)
    prefix, _, last = f"text_trunk.tower.transformer.resblocks.1.attn.{part}".rpartition(".")
    assert named[f"{prefix}.parametrizations.{last}.0.up"].abs().max() > 0


MISTAKES = {
    "towers": (lambda: LastBlocks(towers="left"), r"adaptation\.towers=left: choose one of both, image, text"),  # type: ignore[arg-type]
    "rate": (lambda: Full(trunk_rate=0), r"adaptation\.trunk_rate=0"),
    "decay": (lambda: Full(lr_decay=1.5), r"adaptation\.lr_decay=1\.5"),
    "n": (lambda: LastBlocks(0), r"adaptation\.n=0"),
    "rank": (lambda: Lora(rank=0), r"adaptation\.rank=0"),
    "more blocks than there are": (lambda: LastBlocks(9).prepare(tiny_open_clip()), r"adaptation\.n=9: .* 3 blocks"),
    "no blocks": (lambda: LastBlocks(1).prepare(Tiny()), r"adaptation\.n=1: .* 0 blocks"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    make_it, words = MISTAKES[name]
    with pytest.raises(ConfigError, match=words):
        make_it()


def test_the_towers_whose_embeddings_change() -> None:
    backbone = Tiny()
    for adaptation in (Heads(), Full(), LockImage(), Full("image")):
        assert adaptation.tunes(backbone) == {"image", "text"}, "both heads learn"
    assert LockImage(head=False).tunes(backbone) == {"text"}
    assert LockText(head=False).tunes(backbone) == {"image"}
    backbone.image_head = nn.Identity()
    assert Heads().tunes(backbone) == {"text"}
    assert LockImage().tunes(backbone) == {"text"}


@pytest.mark.parametrize("adaptation", [Full(), LockImage(), LockText()], ids=lambda a: a.name)
def test_what_learns_is_told_as_a_part_of_the_whole(adaptation: Adaptation, caplog: pytest.LogCaptureFixture) -> None:
    backbone = tiny_open_clip()
    whole = sum(value.numel() for value in backbone.parameters()) / 1e6
    with caplog.at_level("INFO"):
        adaptation.prepare(backbone)
    assert f" of {whole:.2f} million weights learn" in caplog.text
