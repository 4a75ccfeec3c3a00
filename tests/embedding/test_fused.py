"""MobileCLIP's picture tower is encoded with its branches fused: the same function, a space of its own, the trunk as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models import efficientnet, fastvit, vision_transformer
from torch import nn

from picdesk.backbones.lite import Lite
from picdesk.backbones.two_tower import has_branches, weights_digest
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import fuse_branches, working
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.rerankers.cross_backbone import backbone_digest
from picdesk.retrieval.index_facts import of_backbone
from picdesk.training.low_rank import adapt
from tests.embedding.fakes import Pictures, Tiny
from tests.embedding.worker import blob, decode

SIZE = 64
MIXERS = ("repmixer", "repmixer", "repmixer", "attention")


def branches(seed: int = 0) -> nn.Module:
    """MobileCLIP-S1's picture tower, small, as if it were trained: no statistic, factor or branch is that of a new one."""
    torch.manual_seed(seed)
    tower = fastvit.fastvit_mci1(layers=(1, 1, 1, 1), embed_dims=(8, 16, 16, 32), token_mixers=MIXERS, num_classes=5)
    with torch.no_grad():
        for name, value in [*tower.named_parameters(), *tower.named_buffers()]:
            if name.endswith("running_mean"):
                value.normal_(0, 0.3)
            elif name.endswith("running_var") or name.endswith("gamma") or (value.ndim == 1 and "weight" in name):
                value.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                value.normal_(0, 0.3)
    return tower.eval()


class Branched(Tiny):
    """The tiny backbone with such a picture tower."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, SIZE)
        self.image_trunk = branches(seed)
        assert has_branches(self.image_trunk)
        self.fused_towers = frozenset({"image"})


def least_cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.double(), b.double()).min())


def test_fused_features_are_those_of_the_branches() -> None:
    tower, pixels = branches(), torch.randn(4, 3, SIZE, SIZE)
    before = weights_digest(tower)
    fused = fuse_branches(tower)
    with torch.inference_mode():
        plain, quick = tower(pixels), fused(pixels)
    assert least_cosine(plain, quick) > 0.999999
    assert float(plain.std()) > 0.01
    assert sum(1 for _ in fused.modules()) < sum(1 for _ in tower.modules())
    assert weights_digest(tower) == before


def test_what_lora_adds_is_fused_too() -> None:
    tower, pixels = branches(), torch.randn(2, 3, SIZE, SIZE)
    assert adapt(tower, 2, 4.0, 0) > 0
    with torch.no_grad():
        for name, value in tower.named_parameters():
            if name.endswith(".up"):
                value.normal_(0, 0.1)
    with torch.inference_mode():
        assert least_cosine(tower(pixels), fuse_branches(tower)(pixels)) > 0.999999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_callers_trunk_is_left_as_it_is(precision: str) -> None:
    tower = branches().train()
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    with working(tower, "cpu", precision, fused=True) as (ready, _):
        assert ready is not tower
        assert not ready.training
        assert next(ready.parameters()).dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert tower.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())
    assert all(parameter.requires_grad for parameter in tower.parameters())


def test_only_blocks_of_branches_are_fused() -> None:
    assert has_branches(branches())
    assert not has_branches(vision_transformer.VisionTransformer(SIZE, 32, depth=1, embed_dim=12, num_heads=2))
    assert not has_branches(efficientnet.tf_efficientnet_lite0())
    assert not Lite().fused_towers


def test_fused_features_have_a_space_of_their_own(tmp_path: Path) -> None:
    backbone, pictures = Branched(), Pictures([blob(i) for i in range(3)])
    found = Encoder(Store(tmp_path)).pictures(backbone, pictures, decode)
    Encoder(Store(tmp_path)).texts(backbone, ["a"])
    descriptions = sorted(path.read_text() for path in tmp_path.glob("*/space.json"))
    assert ['"fp32 fused"' in text for text in descriptions] == ['"image"' in text for text in descriptions]
    backbone.fused_towers = frozenset()
    encoder = Encoder(Store(tmp_path))
    plain = encoder.pictures(backbone, pictures, decode)
    assert encoder.counts.encoded["image"] == 3
    assert (plain != found).any()
    np.testing.assert_allclose(plain, found, rtol=1e-4, atol=1e-5)


def test_a_server_gives_the_same_bytes(tmp_path: Path) -> None:
    backbone, pictures = Branched(), Pictures([blob(7)])
    written = Encoder(Store(tmp_path / "job")).pictures(backbone, pictures, decode)
    asked = Standing.from_encoder(Encoder(Store(tmp_path / "server"))).pictures(backbone, pictures, decode)
    assert np.array_equal(written, asked)


def test_what_names_vectors_and_scores_says_it(tmp_path: Path) -> None:
    backbone, encoder = Branched(), Encoder(Store(tmp_path))
    names = [of_backbone(backbone, encoder)["precision"], backbone_digest(backbone)]
    backbone.fused_towers = frozenset()
    assert names[0] == "fp32 fused"
    assert of_backbone(backbone, encoder)["precision"] == "fp32"
    assert names[1] != backbone_digest(backbone)
