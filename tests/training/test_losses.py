"""Losses against values worked out by hand, and their gradients."""

import math

import pytest
import torch

from picdesk.errors import ConfigError
from picdesk.training.losses import InfoNCE, Margin, Mixture, SigLIP

SCALE = torch.tensor(0.0)


def unit(rows: list[list[float]]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


# Pictures e1, e2, e3. Text 1 is its picture; text 2 leans towards picture 1 (cosines .6, .8); text 3 is its picture.
# Scores (picture i, text j): [[1, .6, 0], [0, .8, 0], [0, 0, 1]].
IMAGES = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
TEXTS = unit([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])


@pytest.mark.parametrize("reduction", ["sum", "hardest"])
def test_margin_by_hand(reduction: str) -> None:
    # margin .5. By picture: 1 - .6 < .5 -> .1 for (1, 2). By text: text 2: .5 - .8 + .6 = .3. Over 3 pairs: .4 / 3.
    loss = Margin(0.5, reduction)(IMAGES, TEXTS, torch.tensor([0, 1, 2]), SCALE)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0.4 / 3)


def test_sum_adds_what_hardest_does_not() -> None:
    # margin .9. Picture 1: (.9-1+.6)=.5; picture 2: (.1)+(.1)=.2, hardest .1; picture 3: 0.
    # Text 1: 0; text 2: .7 + .1 = .8, hardest .7; text 3: 0. Sum (.5+.2+.8)/3, hardest (.5+.1+.7)/3.
    ids = torch.tensor([0, 1, 2])
    assert Margin(0.9, "sum")(IMAGES, TEXTS, ids, SCALE).item() == pytest.approx(1.5 / 3)
    assert Margin(0.9, "hardest")(IMAGES, TEXTS, ids, SCALE).item() == pytest.approx(1.3 / 3)


@pytest.mark.parametrize("loss", [Margin(0.5, "sum"), Margin(0.5, "hardest"), InfoNCE(), SigLIP(bias=0.0)])
def test_captions_of_one_picture_are_never_negatives(loss: torch.nn.Module) -> None:
    same, other = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2])
    images = unit([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    texts = unit([[1, 0, 0], [1, 0.1, 0], [0, 0, 1]])
    assert loss(images, texts, same, SCALE).item() < loss(images, texts, other, SCALE).item() - 0.1


def test_margin_of_one_picture_alone_is_zero() -> None:
    ids = torch.zeros(3, dtype=torch.long)
    assert Margin(0.2, "hardest")(IMAGES, TEXTS, ids, SCALE).item() == 0.0


def test_infonce_by_hand() -> None:
    # Two orthogonal pairs at scale s: every row is log(1 + e^-s).
    eye = torch.eye(2, dtype=torch.float64)
    loss = InfoNCE()(eye, eye, torch.tensor([0, 1]), torch.tensor(math.log(3.0), dtype=torch.float64))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-3.0)))


def test_infonce_clamps_the_scale_at_100() -> None:
    ids = torch.tensor([0, 1, 2])
    at, beyond = (InfoNCE()(IMAGES, TEXTS, ids, torch.tensor(math.log(x))) for x in (100.0, 1e6))
    assert at.item() == pytest.approx(beyond.item())


@pytest.mark.parametrize("loss", [Margin(0.5, "sum"), Margin(0.5, "hardest"), InfoNCE(), SigLIP()])
def test_gradients(loss: torch.nn.Module) -> None:
    loss = loss.double()
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2))
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([0, 0, 1, 2, 3])

    def run(u: torch.Tensor, v: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        normal = torch.nn.functional.normalize
        value: torch.Tensor = loss(normal(u, dim=-1), normal(v, dim=-1), ids, s)
        return value

    assert torch.autograd.gradcheck(run, (images, texts, scale))


def test_siglip_by_hand() -> None:
    # Two orthogonal pairs, t = 3, b = -1: own pairs log(1 + e^-(3 - 1)), the two others log(1 + e^-1); over 2.
    eye = torch.eye(2, dtype=torch.float64)
    loss = SigLIP(bias=-1.0)(eye, eye, torch.tensor([0, 1]), torch.tensor(math.log(3.0), dtype=torch.float64))
    expected = (2 * math.log(1 + math.exp(-2.0)) + 2 * math.log(1 + math.exp(-1.0))) / 2
    assert loss.item() == pytest.approx(expected)


def test_mixture_is_the_weighted_sum() -> None:
    ids = torch.tensor([0, 1, 2])
    both = Mixture([InfoNCE(), Margin(0.5)], [1.0, 0.25])(IMAGES, TEXTS, ids, SCALE).item()
    apart = InfoNCE()(IMAGES, TEXTS, ids, SCALE).item() + 0.25 * Margin(0.5)(IMAGES, TEXTS, ids, SCALE).item()
    assert both == pytest.approx(apart)
    with pytest.raises(ConfigError, match=r"loss\.weights="):
        Mixture([InfoNCE()], [1.0, 2.0])


@pytest.mark.parametrize("settings", [{"reduction": "mean"}, {"margin": 0.0}, {"margin": 3.0}])
def test_wrong_settings_are_named(settings: dict[str, object]) -> None:
    key = next(iter(settings))
    with pytest.raises(ConfigError, match=rf"loss\.{key}="):
        Margin(**settings)  # type: ignore[arg-type]
