"""Losses against values worked out by hand, and their gradients."""

import math

import numpy as np
import pytest
import torch

from picdesk.errors import ConfigError
from picdesk.training.features import Relevant
from picdesk.training.losses import Contrastive, InfoNCE, Margin, Mixture, SigLIP

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


def test_semi_hard_takes_the_hardest_that_is_still_further_away() -> None:
    # margin .9. Picture 1 (own 1): largest below 1 is .6 -> .5. Picture 2 (own .8): 0 -> .1. Picture 3 (own 1): 0 -> 0.
    # Text 1 (own 1): 0 -> 0. Text 2 (own .8): .6 -> .7. Text 3: 0. Together 1.3, as the hardest: none is nearer than its own.
    ids = torch.tensor([0, 1, 2])
    assert Margin(0.9, "semi_hard")(IMAGES, TEXTS, ids, SCALE).item() == pytest.approx(1.3 / 3)
    # Texts 1 and 2 swapped: scores [[.6, 1, 0], [.8, 0, 0], [0, 0, 1]], margin .5. The semi-hard ones:
    # picture 1 (own .6): 1 is nearer, so 0 -> 0. Picture 2 (own 0): none below 0, so the smallest, 0 -> .5. Picture 3: 0.
    # text 1 (own .6): .8 is nearer, so 0 -> 0. Text 2 (own 0): none below, the smallest is 0 -> .5. Text 3: 0.
    # The hardest ones would be .9 + 1.3 + 0 and .7 + 1.5 + 0.
    swapped = TEXTS[[1, 0, 2]]
    assert Margin(0.5, "semi_hard")(IMAGES, swapped, ids, SCALE).item() == pytest.approx(1.0 / 3)
    assert Margin(0.5, "hardest")(IMAGES, swapped, ids, SCALE).item() == pytest.approx(4.4 / 3)


def test_the_schedule_begins_with_the_sum_and_ends_with_the_hardest() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (unit(torch.randn(17, 4, generator=generator).tolist()) for _ in range(2))
    ids = torch.arange(17)
    loss = Margin(0.9, "sum_to_hardest", warm_up=0.5)

    def at(progress: float) -> float:
        loss.advance(progress)
        return float(loss(images, texts, ids, SCALE))

    assert at(0.0) == pytest.approx(Margin(0.9, "sum")(images, texts, ids, SCALE).item())
    assert at(0.5) == at(1.0) == pytest.approx(Margin(0.9, "hardest")(images, texts, ids, SCALE).item())
    assert at(0.0) > at(0.1) > at(0.25) > at(0.5)
    loss.advance(0.25)  # half of the way: 16 ** (1 - 1/2)
    assert loss.count_kept(16) == 4


def test_a_mixture_tells_its_parts_how_far_the_training_is() -> None:
    mixture = Mixture([InfoNCE(), Margin(reduction="sum_to_hardest")], [1.0, 1.0])
    mixture.advance(0.125)
    assert mixture.parts[1].count_kept(16) == 8  # type: ignore[operator]


ALL = [Margin(0.5, r) for r in ("sum", "hardest", "semi_hard", "sum_to_hardest")] + [InfoNCE(), SigLIP(bias=0.0)]  # type: ignore[arg-type]
BOTH = Mixture([InfoNCE(), Margin(0.5)], [1.0, 0.5])


@pytest.mark.parametrize("loss", [*ALL, BOTH])
def test_captions_of_one_picture_are_never_negatives(loss: torch.nn.Module) -> None:
    same, other = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2])
    images = unit([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    texts = unit([[1, 0, 0], [1, 0.1, 0], [0, 0, 1]])
    assert loss(images, texts, same, SCALE).item() < loss(images, texts, other, SCALE).item() - 0.1


FURTHER = Relevant(
    np.array([[5, 8], [6, 9]]), texts=7
)  # row 0's text is relevant to row 1's picture, row 1's to row 2's


@pytest.mark.parametrize("loss", [*ALL, BOTH])
def test_further_positives_are_never_negatives(loss: Contrastive) -> None:
    picture, text = torch.tensor([7, 8, 9]), torch.tensor([5, 6, 4])
    images = unit([[1, 0, 0], [1, 0.1, 0], [0.9, 0.1, 1]])
    texts = unit([[1, 0.1, 0], [1, 0, 0.1], [0, 0, 1]])
    without = loss(images, texts, picture, SCALE).item()
    loss.relevant = FURTHER
    try:
        assert abs(loss(images, texts, picture, SCALE, text).item() - without) > 0.05
        assert loss(images, texts, picture, SCALE, torch.tensor([4, 3, 2])).item() == without, "texts of other pictures"
    finally:
        loss.relevant = None


def test_further_positives_by_hand() -> None:
    loss, seen = InfoNCE(), []
    loss.rows = lambda scores, negative, first, scale: seen.append(negative.clone()) or scores.sum(1)  # type: ignore[func-returns-value,method-assign]
    loss.relevant = FURTHER
    picture, text = torch.tensor([9, 8, 7, 8]), torch.tensor([6, 4, 5, 3])
    rows = torch.eye(4)
    loss(rows, rows, picture, SCALE, text)
    to_text, to_image = seen
    apart = picture[:, None] != picture
    apart[2, 1] = apart[2, 3] = False  # text 5 and both rows of picture 8; text 6 and its picture 9 are row 0 itself
    torch.testing.assert_close(to_image, apart)
    torch.testing.assert_close(to_text, apart.T)


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


@pytest.mark.parametrize("loss", [*ALL, BOTH])
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


@pytest.mark.parametrize("loss", [*ALL, BOTH])
@pytest.mark.parametrize("block", [1, 3, 7])
def test_blocks_of_rows_give_the_same_value_and_gradients(loss: Contrastive, block: int) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.nn.functional.normalize(torch.randn(2, 7, 5, generator=generator), dim=-1)
    ids = torch.tensor([0, 0, 1, 2, 3, 3, 4])
    loss.relevant = Relevant(np.array([[0, 2], [1, 4], [6, 0]]), texts=7)

    def run(rows: int) -> tuple[torch.Tensor, ...]:
        images, texts = (side.clone().requires_grad_() for side in start)
        scale = torch.tensor(0.7, requires_grad=True)
        loss.block = rows
        value = loss(images, texts, ids, scale, torch.arange(7))
        value.backward()
        loss.block = 0
        return value.detach(), images.grad, texts.grad, scale.grad if scale.grad is not None else SCALE

    whole, parts = run(0), run(block)
    loss.relevant = None
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-6)


def test_a_block_of_rows_never_holds_the_whole_matrix() -> None:
    widths: list[tuple[int, ...]] = []

    class Watched(InfoNCE):
        def rows(self, scores: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            widths.append(tuple(scores.shape))
            return super().rows(scores, *others)  # type: ignore[arg-type]

    loss = Watched()
    loss.block = 8
    both = torch.nn.functional.normalize(torch.randn(2, 32, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    images, texts = (side.requires_grad_() for side in both.unbind())
    loss(images, texts, torch.arange(32), SCALE).backward()
    assert set(widths) == {(8, 32)}
    assert len(widths) == 2 * 2 * 4, "both directions, forward and again in the backward pass"


@pytest.mark.parametrize("block", [0, 3])
def test_each_direction_is_of_its_own_embeddings(block: int) -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = torch.nn.functional.normalize(torch.randn(2, 2, 7, 5, generator=generator), dim=-1)
    loss, picture, scale = InfoNCE(), torch.arange(7), torch.tensor(2.0)
    loss.block = block
    asked = torch.nn.functional.cross_entropy(scale.exp() * one[1] @ one[0].T, picture) / 2
    found = torch.nn.functional.cross_entropy(scale.exp() * other[0] @ other[1].T, picture) / 2
    turned = (other[0], other[1])
    assert float(loss(*one, picture, scale, turned=turned)) == pytest.approx(float(asked + found), rel=1e-6)
    assert float(loss(*one, picture, scale, turned=(one[0], one[1]))) == float(loss(*one, picture, scale))


def test_half_precision_embeddings_are_compared_in_single() -> None:
    ids = torch.tensor([0, 1, 2])
    whole = InfoNCE()(IMAGES.float(), TEXTS.float(), ids, torch.tensor(4.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = InfoNCE()(IMAGES.float(), TEXTS.float(), ids, torch.tensor(4.0))
    assert mixed.dtype == torch.float32
    assert mixed.item() == whole.item()


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


@pytest.mark.parametrize("settings", [{"reduction": "mean"}, {"margin": 0.0}, {"margin": 3.0}, {"warm_up": 0.0}])
def test_wrong_settings_are_named(settings: dict[str, object]) -> None:
    key = next(iter(settings))
    with pytest.raises(ConfigError, match=rf"loss\.{key}="):
        Margin(**settings)  # type: ignore[arg-type]
