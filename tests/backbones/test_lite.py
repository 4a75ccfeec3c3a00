"""The lite backbone against its libraries' own pipelines."""

import numpy as np
import pytest
import torch
from PIL import Image

from picdesk.backbones.lite import MEAN, STD, Lite
from picdesk.errors import ConfigError


@pytest.fixture(scope="module")
def lite() -> Lite:
    return Lite(dim=16)


def test_text_trunk_is_mean_pooled_minilm(lite: Lite) -> None:
    texts = ["a dog runs on the beach", "flood"]
    batch = lite.tokenize(texts)
    with torch.inference_mode():
        together = lite.text_trunk(**batch)
        alone = torch.cat([lite.text_trunk(**lite.tokenize([text])) for text in texts])
    assert together.shape == (2, lite.trunk_dim("text"))
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_similar_sentences_are_near(lite: Lite) -> None:
    with torch.inference_mode():
        x = torch.nn.functional.normalize(
            lite.text_trunk(**lite.tokenize(["a dog runs", "a puppy is running", "tax law"])), dim=-1
        )
    assert x[0] @ x[1] > 0.6 > 0.3 > x[0] @ x[2]


def test_image_trunk_gives_pooled_features_of_the_documented_pixels(lite: Lite) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    pixels = lite.picture_to_pixels(picture)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 224, 224))
    floats = lite.normalise_pixels(torch.from_numpy(pixels.copy())[None])
    expected = (pixels / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(floats[0], expected, atol=1e-6)
    with torch.inference_mode():
        assert lite.image_trunk(floats).shape == (1, 1280)


def test_seed_draws_the_heads_alone(lite: Lite) -> None:
    same, other = Lite(dim=16), Lite(dim=16, seed=1)
    assert torch.equal(same.image_head[2].weight, lite.image_head[2].weight)  # type: ignore[index]
    assert not torch.equal(other.image_head[2].weight, lite.image_head[2].weight)  # type: ignore[index]
    for modality in ("image", "text"):
        assert same.trunk_fingerprint(modality) == other.trunk_fingerprint(modality) == lite.trunk_fingerprint(modality)  # type: ignore[arg-type]


def test_unknown_trunk_is_named() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.image_trunk=resnet"):
        Lite(image_trunk="resnet")
