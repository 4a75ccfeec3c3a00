"""Everything that is given a device works there: no tensor is left behind, on a stand-in for a GPU (`tests/card.py`)."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from picdesk.backbones.captioner import Captioner
from picdesk.backbones.precomputed import Precomputed
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.forward import Forward, working
from picdesk.evaluation.metrics import exact_ranks, exact_ranks_both
from picdesk.interfaces import Embeddings
from picdesk.retrieval.measuring import qrels_of, unit
from picdesk.tasks.encode import own_device
from picdesk.training.inputs import embed_inputs, move_inputs
from picdesk.training.losses import Contrastive, InfoNCE, Margin, Mixture, SigLIP
from picdesk.training.probes import collapsed_loss, depends_on_scale, masks_same_picture
from tests.backbones.test_captioner import WRITERS
from tests.card import OnCard, WrongDeviceError, card
from tests.rerankers.helpers import context_of, plain_picture, run_over
from tests.rerankers.test_itm import folder as _folder
from tests.rerankers.test_itm import own_reranker
from tests.training.models import MAKERS

TEXTS = ["a dog runs", "two horses on a road", "night"]
LOSSES: dict[str, Any] = {
    "infonce": InfoNCE,
    "siglip": SigLIP,
    "mixture": lambda: Mixture([InfoNCE(), SigLIP(), Margin()], [0.5, 0.3, 0.2]),
    **{name: lambda name=name: Margin(reduction=name) for name in ("sum", "hardest", "semi_hard", "sum_to_hardest")},
}


folder = _folder  # the fixture, with a matching model in it
MODELS = [pytest.param(name, marks=[pytest.mark.slow] if name == "lite" else []) for name in MAKERS]


@pytest.fixture(autouse=True)
def modes_for_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast, which torch knows for real devices alone, does nothing, and inference mode is `no_grad`."""
    monkeypatch.setattr(torch, "inference_mode", lambda *_: torch.no_grad())
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def inputs_of(backbone: TwoTower) -> dict[str, dict[str, torch.Tensor]]:
    pictures = [Image.new("RGB", (70, 50), (40 * i, 90, 200)) for i in range(3)]
    return {
        "image": backbone.picture_inputs([backbone.picture_to_pixels(picture) for picture in pictures]),
        "text": dict(backbone.tokenize(TEXTS)),
    }


def test_the_stand_in_refuses_what_a_gpu_refuses() -> None:
    with card() as on_card:
        here, there = torch.ones(2, 3), torch.ones(2, 3).to(on_card)
        assert isinstance(there, OnCard)
        assert (there + torch.tensor(1.0)).cpu().tolist() == [[2.0] * 3] * 2
        for mixed in (lambda: here + there, lambda: there @ here.T, lambda: there[torch.tensor([0, 1])] * here):
            with pytest.raises(WrongDeviceError):
                mixed()
        with pytest.raises(RuntimeError):
            there.numpy()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_trunks_encode_on_the_device_that_is_named(name: str, modality: str) -> None:
    backbone = MAKERS[name]().eval()
    trunk, inputs = backbone.trunk(modality), inputs_of(backbone)[modality]  # type: ignore[arg-type]
    with card() as on_card:
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            made = {}
            for device in ("cpu", on_card):
                with working(trunk, device, precision) as (ready, layout):
                    assert {value.device.type for value in ready.parameters()} == {device}
                    made[device] = Forward(ready, device, dtype, backbone.normalise_pixels, 2, layout)(inputs)
            np.testing.assert_allclose(made[on_card], made["cpu"], atol=1e-5 if precision == "fp32" else 0.05)
        assert {value.device.type for value in trunk.parameters()} == {"cpu"}


@pytest.mark.parametrize("name", MODELS)
def test_a_backbone_that_is_trained_embeds_on_its_device(name: str) -> None:
    backbone = MAKERS[name]().eval()
    with card() as on_card:
        for modality, inputs in inputs_of(backbone).items():
            plain = embed_inputs(backbone, modality, inputs)  # type: ignore[arg-type]
            moved = move_inputs(inputs, torch.device(on_card))
            made = embed_inputs(backbone.to(on_card), modality, moved)  # type: ignore[arg-type]
            assert isinstance(made, OnCard)
            np.testing.assert_allclose(made.cpu().numpy(), plain.numpy(), atol=1e-5)
            backbone.cpu()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("block", [0, 3])
def test_losses_follow_their_inputs(name: str, block: int) -> None:
    loss: Contrastive = LOSSES[name]()
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.nn.functional.normalize(torch.randn(8, 6, generator=generator), dim=-1) for _ in range(2))
    picture, scale = torch.arange(8) // 2, torch.tensor(1.5)
    plain = loss(u, v, picture, scale)
    with card() as on_card:
        loss.to(on_card)
        loss.block = block
        made = loss(*(one.to(on_card) for one in (u, v, picture, scale)))
        assert float(made) == pytest.approx(float(plain), rel=1e-5)


def test_the_guard_asks_a_loss_where_training_runs() -> None:
    with card() as on_card:
        loss, device = InfoNCE().to(on_card), torch.device(on_card)
        assert depends_on_scale(loss, device)
        assert masks_same_picture(loss, device)


def test_a_collapsed_loss_is_of_a_batch_on_the_card() -> None:
    with card() as on_card:

        class Module:
            loss, device, backbone = InfoNCE(), torch.device(on_card), MAKERS["open_clip"]()

        batch = (None, None, torch.arange(8).to(on_card), torch.arange(8).to(on_card))
        assert collapsed_loss(Module(), batch) == pytest.approx(np.log(8), abs=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_matching_models_score_on_the_device_of_the_encoder(
    direction: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_over([[2, 0, 1]], 3)
    pictures = [plain_picture((9 * i, 90, 30), (40, 40)) for i in range(3)]
    context = context_of(
        run, TEXTS[:1] if direction == "t2i" else TEXTS, pictures if direction == "t2i" else pictures[:1], direction
    )
    reranker = own_reranker(folder)
    plain = reranker.score(run, context)
    with card() as on_card:
        monkeypatch.setattr(type(context.embedder), "device", on_card)
        np.testing.assert_allclose(reranker.score(run, context), plain, atol=1e-5)


def test_a_captioner_shows_pictures_where_its_trunk_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["blip"](tmp_path / "model")
    captioner = Captioner(str(tmp_path / "model"), max_new_tokens=4)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(type(captioner.image_trunk), "say", lambda _, pixels: seen.append(pixels))
    with card() as on_card:
        captioner.image_trunk.to(on_card)
        captioner.captions([Image.new("RGB", (40, 40), (200, 30, 30))])
        assert isinstance(seen[0], OnCard)


def test_given_vectors_are_compared_where_the_text_tower_lies() -> None:
    tower = MAKERS["open_clip"]()
    backbone = Precomputed(dim=16, text_encoder=tower)
    vectors = backbone.text_trunk(**backbone.tokenize(TEXTS)).detach().numpy()
    with card() as on_card:
        backbone.text_trunk.to(on_card)
        backbone.check_texts(TEXTS, vectors)


@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_ranks_are_counted_on_the_card(noise: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((40, 16)).astype(np.float32)
    image[20:30] = image[:10]
    picture_of = np.repeat(np.arange(40), 3)
    text = image[picture_of] + noise * rng.standard_normal((120, 16)).astype(np.float32)
    texts = Embeddings(tuple(f"t{i:03}" for i in range(120)), unit(text))
    pictures = Embeddings(tuple(f"p{i:03}" for i in range(40)), unit(image))
    qrels = qrels_of(picture_of, texts.ids, pictures.ids)
    with card() as on_card:
        for there, here in (
            (exact_ranks_both(texts, pictures, **qrels, device=on_card), exact_ranks_both(texts, pictures, **qrels)),
            (
                [exact_ranks(pictures, texts, qrels["i2t"], 7, "i2t", device=on_card)],
                [exact_ranks(pictures, texts, qrels["i2t"], 7, "i2t")],
            ),
        ):
            assert all(np.array_equal(a.ranks, b.ranks) for a, b in zip(there, here, strict=True))


@pytest.mark.parametrize(
    ("asked", "root", "wanted"),
    [
        ("cuda", "cuda:3", "cuda:3"),
        ("cuda", "cpu", "cuda"),
        ("cuda:1", "cuda:0", "cuda:1"),
        ("cpu", "cuda:0", "cpu"),
    ],
)
def test_a_rank_encodes_where_it_is_asked_to(asked: str, root: str, wanted: str) -> None:
    """Also on a GPU where the trainer, by default, is on the CPU."""
    assert own_device(asked, torch.device(root)) == wanted
