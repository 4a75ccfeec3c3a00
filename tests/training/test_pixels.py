"""Training through the trunks: it starts at zero-shot, learns, never ends below its start, and leaves what is locked alone."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import DataError
from picdesk.training.adaptation import Adaptation, BitFit, Full, LastBlocks, LockImage, LockText, Lora
from picdesk.training.augmentation import CropFlip
from picdesk.training.averaging import Ema, copy_into, wise_ft
from picdesk.training.fit import Fitted, val_embeddings
from picdesk.training.losses import InfoNCE, Margin
from picdesk.training.module import MONITOR
from tests.embedding.fakes import Pictures
from tests.training import models, pixels

SIX = [Full(), LastBlocks(1), Lora(rank=2), BitFit(), LockImage(), LockText()]
CPU = torch.device("cpu")


@cache
def base(name: str) -> TwoTower:
    return models.make(name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the same trunks, which are encoded once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def learnt(store: Path) -> tuple[TwoTower, TwoTower, Fitted]:
    """A start that has learnt something, and what became of it."""
    start = copy.deepcopy(base("open_clip"))
    pixels.run(start, Full(), store, lr=1e-3, epochs=2)
    after = copy.deepcopy(start)
    fitted = pixels.run(after, Full(), store, lr=1e-3, epochs=8)
    return start, after, fitted


@pytest.fixture(scope="module", params=SIX, ids=lambda a: a.name)
def kept(request: pytest.FixtureRequest, store: Path) -> tuple[TwoTower, Fitted]:
    """A backbone of the transformers library after a fit, for each adaptation."""
    backbone = copy.deepcopy(base("transformers"))
    return backbone, pixels.run(backbone, request.param, store, lr=3e-3, epochs=2)


@pytest.mark.parametrize("adaptation", SIX, ids=lambda a: a.name)
def test_step_zero_is_the_zero_shot_evaluation(adaptation: Adaptation, store: Path) -> None:
    fitted = pixels.run(copy.deepcopy(base("open_clip")), adaptation, store, epochs=1)
    assert_zero_shot(fitted, "open_clip", store)


def test_so_it_is_with_the_transformers_library(kept: tuple[TwoTower, Fitted], store: Path) -> None:
    assert_zero_shot(kept[1], "transformers", store)


def assert_zero_shot(fitted: Fitted, library: str, store: Path) -> None:
    for name, value in pixels.zero_shot(base(library), store).items():
        assert fitted.history[0][name] == pytest.approx(value, abs=1e-6), name
    assert fitted.path.scores[0] == fitted.history[0][MONITOR]


@pytest.mark.parametrize("library", models.NAMES)
def test_validation_embeddings_are_those_of_the_encoder(library: str, store: Path) -> None:
    backbone = copy.deepcopy(base(library))
    data = pixels.data_of(backbone, Full(), store, augment=CropFlip(), each=1)
    val = data.val
    assert data.raw is not None
    with torch.inference_mode():
        expected = [backbone.embed(m, torch.from_numpy(f)) for m, f in (("image", val.images), ("text", val.texts))]  # type: ignore[arg-type]
    for found, wanted in zip(val_embeddings(backbone, data, CPU), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_training_through_the_trunks_learns(learnt: tuple[TwoTower, TwoTower, Fitted], store: Path) -> None:
    start, after, fitted = learnt
    assert pixels.score(after, store) == fitted.path.scores[fitted.path.best] == max(fitted.path.scores)
    assert pixels.score(after, store) >= pixels.score(start, store) + 0.2
    assert fitted.history[1]["train/loss"] > fitted.history[-1]["train/loss"]


@pytest.mark.parametrize("adaptation", [Full(), Lora(rank=2)], ids=lambda a: a.name)
def test_a_rate_of_zero_leaves_every_weight_bit_equal(adaptation: Adaptation, store: Path) -> None:
    backbone = copy.deepcopy(base("open_clip"))
    pixels.run(backbone, adaptation, store, lr=0.0, epochs=1)
    fresh = base("open_clip").state_dict()
    assert set(fresh) == set(backbone.state_dict())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, fresh[name]), name


def test_alpha_zero_is_the_start_and_alpha_one_the_trained_weights_to_the_bit(store: Path) -> None:
    backbone, start = copy.deepcopy(base("open_clip")), base("open_clip")
    data = pixels.data_of(backbone, Lora(rank=2), store)
    trained = Lora(rank=2).prepare(backbone)
    for name, value in trained:
        if name.endswith(".up"):
            torch.nn.init.normal_(value)
    end, before = trained.plain_weights(), Lora(rank=2).prepare(copy.deepcopy(start)).plain_weights()
    own = trained.fold()
    scored = []

    def embeddings(weights: Any) -> float:
        copy_into(own, weights)
        scored.append(val_embeddings(backbone, data, CPU))
        return 0.0

    wise_ft(before, end, embeddings)
    for found, wanted in zip(scored[0], val_embeddings(copy.deepcopy(start), data, CPU), strict=True):
        assert np.array_equal(found, wanted)
    assert all(torch.equal(own[name], value) for name, value in end.items())
    assert not np.array_equal(scored[0][0], scored[-1][0])


def test_the_locked_tower_is_never_run_and_stays_bit_equal(store: Path) -> None:
    backbone = copy.deepcopy(base("open_clip"))
    data = pixels.data_of(backbone, LockImage(), store)
    ran = {"image": 0, "text": 0}
    for modality in ran:
        trunk = backbone.trunk(modality)  # type: ignore[arg-type]
        trunk.register_forward_hook(lambda *_, m=modality: ran.__setitem__(m, ran[m] + 1))
    pixels.run(backbone, LockImage(), store, data=data, epochs=1)
    assert ran["image"] == 0
    assert ran["text"] > 3
    assert backbone.trunk_fingerprint("image") == base("open_clip").trunk_fingerprint("image")


def test_frozen_weights_are_bit_equal_after_a_fit_that_is_kept(kept: tuple[TwoTower, Fitted]) -> None:
    (backbone, fitted), fresh = kept, base("transformers").state_dict()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, fresh[name])}
    assert changed <= set(fitted.path.weights)
    assert fitted.path.alpha == 0 or changed
    assert set(backbone.state_dict()) == set(fresh), "nothing of the adaptation stays in the backbone"


def runs_away(backbone: TwoTower, folder: Path) -> Fitted:
    return pixels.run(backbone, Full(), folder, lr=0.1, epochs=2)


def gets_lost(backbone: TwoTower, folder: Path) -> Fitted:
    return pixels.run(backbone, Full(), folder, lr=1e30, epochs=2)


def hardest_from_cold(backbone: TwoTower, folder: Path) -> Fitted:
    return pixels.run(backbone, Full(), folder, lr=1e-2, epochs=2, loss=Margin(0.2, "hardest"))


def stuck_temperature(backbone: TwoTower, folder: Path) -> Fitted:
    with torch.no_grad():
        backbone.logit_scale.fill_(np.log(100.0))
    return pixels.run(backbone, Full(), folder, lr=1e-2, epochs=2)


class Blind(InfoNCE):
    """As if each caption were of a picture of its own: the captions of one picture are negatives of each other."""

    def forward(
        self, images: torch.Tensor, texts: torch.Tensor, picture: torch.Tensor, logit_scale: torch.Tensor
    ) -> Any:
        return super().forward(images, texts, torch.arange(len(picture)), logit_scale)


def captions_as_negatives(backbone: TwoTower, folder: Path) -> Fitted:
    data = pixels.data_of(backbone, Full(), folder, batch_size=48, sampler="texts")
    return pixels.run(backbone, Full(), folder, lr=1e-2, epochs=2, data=data, loss=Blind())


DISASTERS = [runs_away, gets_lost, hardest_from_cold, stuck_temperature, captions_as_negatives]


@pytest.mark.parametrize("disaster", DISASTERS, ids=lambda d: d.__name__)
def test_no_disaster_ends_below_the_start(
    disaster: Callable[[TwoTower, Path], Fitted], learnt: tuple[TwoTower, TwoTower, Fitted], store: Path
) -> None:
    good = learnt[1]
    before = pixels.score(good, store)
    backbone = copy.deepcopy(good)
    fitted = disaster(backbone, store)
    assert fitted.history[0][MONITOR] == pytest.approx(before)
    assert pixels.score(backbone, store) >= before
    assert min(row[MONITOR] for row in fitted.history[1:]) <= before, "training alone did not improve on it"


def test_one_text_a_picture_is_the_default_where_a_trunk_learns(store: Path) -> None:
    data = pixels.data_of(copy.deepcopy(base("open_clip")), Full(), store)
    assert len(data.sampler) == len(data.train.picture_ids)  # type: ignore[arg-type]
    for _, _, picture, _, _ in data.train_dataloader():
        assert len(set(picture.tolist())) == len(picture) == 8


def test_augmentation_changes_training_pictures_alone_and_repeats(store: Path) -> None:
    backbone = copy.deepcopy(base("open_clip"))
    plain, some, again = (
        pixels.data_of(backbone, LockText(), store, augment=augment) for augment in (None, CropFlip(), CropFlip())
    )

    def epochs(data: Any, count: int) -> list[torch.Tensor]:
        return [torch.cat([batch[0]["pixels"] for batch in data.train_dataloader()]) for _ in range(count)]

    same, drawn, repeated = epochs(plain, 1), epochs(some, 2), epochs(again, 2)
    assert not torch.equal(same[0], drawn[0])
    assert all(torch.equal(one, other) for one, other in zip(drawn, repeated, strict=True))
    for one, other in zip(plain.val_dataloader()[0], some.val_dataloader()[0], strict=True):
        assert torch.equal(one["pixels"], other["pixels"])  # type: ignore[index]


def test_what_is_drawn_depends_on_seed_epoch_and_picture_and_not_on_workers() -> None:
    backbone = base("open_clip")
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (36, 44, 3), dtype=np.uint8))
    blob = pixels.part(0, 1)[0].blobs[0]
    assert image.size == (44, 36)
    from picdesk.training.inputs import PictureRows

    def rows(seed: int, workers: int) -> PictureRows:
        return PictureRows(backbone, Pictures([blob] * 4), CropFlip(), seed, workers=workers)

    one, many = rows(0, 1).take([0, 1, 2], 5)["pixels"], rows(0, 3).take([2, 1, 0], 5)["pixels"]
    assert torch.equal(one, many.flip(0))
    assert not torch.equal(one, rows(0, 1).take([0, 1, 2], 6)["pixels"])
    assert not torch.equal(one, rows(1, 1).take([0, 1, 2], 5)["pixels"])
    assert not torch.equal(one[0], one[1])


def test_a_picture_that_is_cut_short_is_named_by_its_id_in_training(store: Path) -> None:
    data = pixels.data_of(copy.deepcopy(base("open_clip")), LockText(), store)
    assert data.raw is not None
    shown = data.raw.pictures["train"]
    assert isinstance(shown, Pictures)
    shown.blobs[3] = shown.blobs[3][:200]
    with pytest.raises(DataError, match=r"^picture 'p3': cannot be decoded .*; check=full leaves such pictures out"):
        data.pairs([6], 0)


def test_crops_keep_to_the_picture_and_flips_can_be_ruled_out() -> None:
    left = Image.fromarray(np.tile(np.linspace(0, 255, 40, dtype=np.uint8)[None, :, None], (30, 1, 3)))
    rng = np.random.default_rng(0)
    rising = []
    for _ in range(50):
        part = np.asarray(CropFlip(0.5, 1.3, flip=0.0)(left, rng))
        assert part.shape[0] <= 30
        assert part.shape[1] <= 40
        assert part.shape[0] * part.shape[1] >= 0.5 * 1200 * 0.9
        rising.append(part[0, -1, 0] > part[0, 0, 0])
    assert all(rising)
    flipped = [np.asarray(CropFlip(0.5, 1.3, flip=0.5)(left, rng)) for _ in range(50)]
    assert 10 < sum(bool(part[0, -1, 0] < part[0, 0, 0]) for part in flipped) < 40


def test_the_average_is_kept_of_trunks_too(store: Path) -> None:
    backbone = copy.deepcopy(base("open_clip"))
    fitted = pixels.run(backbone, Lora(rank=2), store, epochs=1, callbacks=[Ema(0.9)])
    assert any("in_proj_weight" in name for name in fitted.path.weights)
