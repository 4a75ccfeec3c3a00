"""In bf16 an EfficientNet has its batch norms folded into its convolutions: the same function, with features in a space of
their own; the trunk itself stays as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.functional import cosine_similarity

from picdesk.backbones.lite import Lite
from picdesk.backbones.two_tower import weights_digest
from picdesk.embedding import folded
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.folded import FoldedConvolution, fold_norms
from picdesk.embedding.forward import working
from picdesk.embedding.precision import MEASURED, Arithmetic
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.retrieval.index_facts import of_backbone
from tests.embedding.fakes import Pictures, Tiny
from tests.embedding.test_in_place import batch, made
from tests.embedding.worker import blob, decode


@pytest.fixture(scope="module")
def trunk() -> nn.Module:
    """An EfficientNet of TensorFlow's padding, as if it were trained."""
    return made("tf_efficientnet_lite0")


class Small(Tiny):
    """The tiny backbone with such a picture tower."""

    folded_towers = frozenset(("image",))

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, 64)
        self.image_trunk = made("tf_efficientnet_lite0")
        self._trunk_dims["image"] = 1280


def folded_layers(model: nn.Module) -> list[FoldedConvolution]:
    return [module for module in model.modules() if isinstance(module, FoldedConvolution)]


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("tf_efficientnet_lite0", True),
        ("tf_efficientnet_b0", True),  # squeeze and excitation, another activation
        ("tf_efficientnetv2_b0", True),
        ("efficientnet_lite0", False),  # pads both ends alike, so there is nothing to save
    ],
)
def test_it_is_the_same_function(name: str, turned: bool) -> None:
    model = made(name)
    other = fold_norms(model)
    for size in ((64, 64), (65, 90), (37, 224)):
        assert_same(model, other, size)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in other.modules())
    assert [layer.turns_input for layer in folded_layers(other)].count(True) == int(turned)
    assert not any(layer.padded for layer in folded_layers(other))


def assert_same(model: nn.Module, other: nn.Module, size: tuple[int, int]) -> None:
    """Both give the same features of pictures of that size, up to rounding."""
    with torch.inference_mode():
        plain, quick = model(batch(size)), other(batch(size))
    assert float(plain.std()) > 0.01
    torch.testing.assert_close(
        quick, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()), msg=lambda m: f"{size}: {m}"
    )


def test_a_map_of_places_is_not_turned() -> None:
    model, pictures = made("tf_efficientnet_lite0", global_pool=""), batch((64, 64))
    other = fold_norms(model)
    assert not any(layer.turns_input for layer in folded_layers(other))
    assert any(layer.padded for layer in folded_layers(other))
    with torch.inference_mode():
        plain, quick = model(pictures), other(pictures)
    assert plain.ndim == 4
    torch.testing.assert_close(quick, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tf_efficientnet_cc_b0_4e", {}),  # convolutions of its own kind
        ("tf_efficientnet_lite0", {"aa_layer": "avg"}),
        ("tf_efficientnet_lite0", {"aa_layer": "blur"}),
        ("tf_efficientnet_lite0", {"output_stride": 16}),  # holes in its kernels
        ("tf_mixnet_s", {}),  # kernels of several sizes beside each other
    ],
)
def test_what_may_know_directions_is_not_turned(name: str, options: dict[str, Any]) -> None:
    model = made(name, **options)
    other = fold_norms(model)
    assert not any(layer.turns_input for layer in folded_layers(other))
    for size in ((64, 64), (65, 90)):
        assert_same(model, other, size)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padded", "can"),
    [
        (3, 2, 1, True, True),
        (5, (1, 2), 1, True, True),
        (3, 1, 1, False, True),
        (1, 1, 1, False, True),
        (1, 2, 1, True, False),  # pads nothing, and takes every second place from the first
        (3, 2, 1, False, False),
        (3, 3, 1, True, False),
        (4, 2, 1, True, False),
        (3, 1, 2, True, False),
    ],
)
def test_only_convolutions_that_pad_their_own_way_are_turned(
    kernel: int, stride: Any, dilation: int, padded: bool, can: bool
) -> None:
    padding = 0 if padded else kernel // 2
    layer = nn.Conv2d(2, 2, kernel, stride, padding, dilation)
    assert FoldedConvolution(layer, BatchNormAct2d(2).eval(), padded).can_turn == can


@pytest.mark.parametrize("turned", [True, False])
def test_what_onednn_joins_has_the_bits_of_one_after_the_other(
    trunk: nn.Module, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    if not turned:
        monkeypatch.setattr(folded, "turn_convolutions", lambda model: None)
    pictures = batch((65, 90)).to(torch.bfloat16, memory_format=torch.channels_last)
    with working(trunk, "cpu", "bf16", folded=True) as (ready, layout):
        assert layout is torch.channels_last
        assert len(folded_layers(ready)) == 49
        joined = ready(pictures)
        monkeypatch.setattr(folded, "joins", lambda x: False)
        assert torch.equal(joined, ready(pictures))


def test_it_is_about_as_far_from_float32_as_bf16_is_anyway() -> None:
    trunk, pictures = Lite().image_trunk, torch.randn(8, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = trunk(pictures)
    apart = {}
    for way in (False, True):
        with working(trunk, "cpu", "bf16", folded=way) as (ready, layout):
            found = ready(pictures.to(torch.bfloat16, memory_format=layout)).float()
            apart[way] = 1 - float(cosine_similarity(exact, found).min())
    assert 0 < apart[True] < 1.5 * apart[False] < 0.03


def test_the_callers_trunk_is_left_as_it_is(trunk: nn.Module) -> None:
    before = weights_digest(trunk)
    with working(trunk, "cpu", "bf16", folded=True) as (ready, _):
        assert ready is not trunk
        assert {parameter.dtype for parameter in ready.parameters()} == {torch.bfloat16}
    assert weights_digest(trunk) == before
    assert not folded_layers(trunk)
    assert any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())


@pytest.mark.parametrize(
    "options", [{}, {"image_trunk": ["efficientnet_lite0", "efficientnet_lite2"], "mirrored": True}]
)
def test_every_norm_of_lite_is_folded(options: dict[str, Any]) -> None:
    backbone = Lite(**options)
    assert backbone.folded_towers == {"image"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold_norms(backbone.image_trunk).modules())


@pytest.mark.parametrize(
    ("precision", "engine", "words"),
    [
        ("fp32", "torch", "fp32"),
        ("bf16", "torch", "bf16 folded"),
        ("bf16", "openvino", "openvino bf16"),
        (MEASURED, "torch", "bf16 folded"),
    ],
)
def test_what_names_features_says_it(precision: str, engine: str, words: str) -> None:
    backbone, computing = Lite(), Arithmetic(precision, engine)
    assert computing.words(backbone, "image") == words
    assert "folded" not in computing.words(backbone, "text")
    assert computing.preparation(backbone, "image")["folded"] == ("folded" in words)
    assert bool(computing.by_trunk) == (engine == "torch" and precision != "fp32")


def test_folded_features_have_a_space_of_their_own(tmp_path: Path) -> None:
    backbone, pictures = Small(), Pictures([blob(i) for i in range(3)])
    found = Encoder(Store(tmp_path), precision="bf16").pictures(backbone, pictures, decode)
    assert of_backbone(backbone, Encoder(Store(tmp_path), precision="bf16"))["precision"] == "bf16 folded"
    backbone.folded_towers = frozenset()
    encoder = Encoder(Store(tmp_path), precision="bf16")
    plain = encoder.pictures(backbone, pictures, decode)
    assert encoder.counts.encoded["image"] == 3
    assert (plain != found).any()


def test_a_server_gives_the_same_bytes(tmp_path: Path) -> None:
    backbone, pictures = Small(), Pictures([blob(7)])
    written = Encoder(Store(tmp_path / "job"), precision="bf16").pictures(backbone, pictures, decode)
    server = Encoder(Store(tmp_path / "server"), precision="bf16")
    assert np.array_equal(written, Standing.from_encoder(server).pictures(backbone, pictures, decode))
