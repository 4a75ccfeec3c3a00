"""Aesthetic heads, on vectors and, where they are there, on the real heads and real CLIP vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.interfaces import Modality, RerankContext
from picdesk.rerankers.aesthetics import Aesthetics, apply_head, read_head
from tests.npz import arrays
from tests.rerankers.helpers import FakeEmbedder, context_of, plain_picture, run_over, unit
from tests.tiny import Tiny

PICTURES = [plain_picture((0, i, 0)) for i in range(6)]
CLIP = "open_clip(ViT-B-32, openai)"


@pytest.fixture
def head(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(nn.Linear(8, 1).state_dict(), tmp_path / "linear.pth")
    return tmp_path / "linear.pth"


def vectors(seed: int, count: int, dim: int = 8) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def test_the_value_is_that_of_torchs_linear_layer(head: Path) -> None:
    layer = nn.Linear(8, 1)
    layer.load_state_dict(torch.load(head, weights_only=True))
    own = vectors(1, 6)
    run = run_over([[5, 1], [0, -1]], 6)
    reranker = Aesthetics(str(head), ["ViT-B-32", "openai"])
    scores = reranker.score(run, context_of(run, ["x", "y"], PICTURES, vectors=own, made_by=CLIP))
    expected = layer(torch.from_numpy(own)).detach().numpy()[:, 0]
    assert scores[0].tolist() == pytest.approx(expected[[5, 1]].tolist(), abs=1e-6)
    assert scores[1, 0] == pytest.approx(expected[0], abs=1e-6)
    assert np.isnan(scores[1, 1])


def test_a_head_that_is_damaged_is_not_taken_for_one_that_scores_nothing(head: Path) -> None:
    torch.save({"weight": torch.full((1, 8), torch.nan), "bias": torch.zeros(1)}, head)
    run = run_over([[5, 1]], 6)
    context = context_of(run, ["x"], PICTURES, vectors=vectors(1, 6), made_by=CLIP)
    with pytest.raises(
        DataError, match=r"^scores of reranker\.head=.*: 2 of 2 are not finite; the weights are damaged"
    ):
        Aesthetics(str(head), ["ViT-B-32", "openai"]).score(run, context)


def test_the_improved_head_is_its_layers_one_after_the_other(tmp_path: Path) -> None:
    torch.manual_seed(1)
    stack = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 4), nn.Dropout(0.1), nn.Linear(4, 1)).eval()
    torch.save({f"layers.{name}": value for name, value in stack.state_dict().items()}, tmp_path / "mlp.pth")
    own = vectors(2, 9)
    layers = read_head(str(tmp_path / "mlp.pth"))
    assert len(layers) == 3
    with torch.inference_mode():
        assert apply_head(layers, own) == pytest.approx(stack(torch.from_numpy(own)).numpy()[:, 0], abs=1e-6)


def test_another_backbone_goes_through_the_right_clip(head: Path) -> None:
    run = run_over([[3, 1]], 6)
    clip, embedder = Tiny(), FakeEmbedder()
    context = context_of(run, ["x"], PICTURES, embedder=embedder, vectors=vectors(3, 6), made_by="lite(x)")
    scores = Aesthetics(str(head), ["ViT-B-32", "openai"], backbone=clip).score(run, context)
    assert embedder.asked == [("pictures", clip, 2)]
    assert np.isfinite(scores).all()
    with pytest.raises(
        ConfigError, match="this head wants embeddings of ViT-B-32, openai, the search has those of lite"
    ):
        Aesthetics(str(head), ["ViT-B-32", "openai"]).score(run, context)


def test_a_tower_that_was_trained_on_is_no_longer_the_heads(head: Path) -> None:
    run = run_over([[3, 1]], 6)
    clip, embedder = Tiny(), FakeEmbedder()

    def context(*tuned: Modality) -> RerankContext:
        return context_of(
            run, ["x"], PICTURES, embedder=embedder, vectors=vectors(3, 6), made_by=CLIP, tuned=frozenset(tuned)
        )

    reranker = Aesthetics(str(head), ["ViT-B-32", "openai"], backbone=clip)
    reranker.score(run, context("text"))
    assert embedder.asked == []
    reranker.score(run, context("image", "text"))
    assert embedder.asked == [("pictures", clip, 2)]
    assert reranker.fingerprint(context("image")) != reranker.fingerprint(context())
    with pytest.raises(ConfigError, match=r"the search has those of open_clip\(ViT-B-32, openai\), fine-tuned; give"):
        Aesthetics(str(head), ["ViT-B-32", "openai"]).score(run, context("image"))


def test_what_a_fit_would_leave_to_score_is_told_before_it(head: Path) -> None:
    names = ["ViT-B-32", "openai"]
    alone = Aesthetics(str(head), names)
    alone.check_fit(CLIP, {"text"})
    with pytest.raises(ConfigError, match="the search has those of lite"):
        alone.check_fit("lite(x)", ())
    Aesthetics(str(head), names, embeddings="searched").check_fit("lite(x)", {"image"})
    Aesthetics(str(head), names, backbone=Tiny()).check_fit(CLIP, {"image"})
    with pytest.raises(ConfigError, match="training changes its pictures'; give that CLIP a second time"):
        alone.check_fit(CLIP, {"image", "text"})


def test_vectors_made_elsewhere_are_taken_on_the_users_word(head: Path) -> None:
    run = run_over([[0, 1]], 2)
    own = vectors(4, 2)
    context = context_of(run, ["x"], PICTURES[:2], vectors=own, made_by="precomputed")
    scores = Aesthetics(str(head), ["ViT-B-32"], embeddings="searched").score(run, context)
    assert scores[0].tolist() == apply_head(read_head(str(head)), own).tolist()


def test_texts_are_left_unscored(head: Path) -> None:
    run = run_over([[0, 1]], 2)
    assert np.isnan(Aesthetics(str(head), []).score(run, context_of(run, ["a", "b"], PICTURES[:1], "i2t"))).all()


def test_another_width_is_refused(head: Path) -> None:
    with pytest.raises(ConfigError, match="takes 8 numbers a picture, the embeddings have 5"):
        apply_head(read_head(str(head)), vectors(0, 3, 5))


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.canary),)  # type: ignore[return-value,attr-defined]


def test_nothing_in_a_head_is_executed(tmp_path: Path) -> None:
    trap = Trap()
    trap.canary = str(tmp_path / "canary")  # type: ignore[attr-defined]
    torch.save({"weight": trap}, tmp_path / "trap.pth")
    with pytest.raises(DataError, match=r"reranker\.head"):
        read_head(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "canary").exists()


def test_files_that_are_no_heads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_head(str(tmp_path / "none.pth"))
    torch.save(nn.Linear(8, 2).state_dict(), tmp_path / "two.pth")
    torch.save({"weight": torch.zeros(1, 8)}, tmp_path / "half.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "noise.pth").write_bytes(b"not a head")
    for name in ("two", "half", "list", "noise"):
        with pytest.raises(DataError, match=r"reranker\.head"):
            read_head(str(tmp_path / f"{name}.pth"))


@pytest.mark.real
@pytest.mark.parametrize("name", ["sa_0_4_vit_b_32_linear.pth", "sa_0_4_vit_b_16_linear.pth"])
def test_the_real_heads_on_real_clip_vectors(data_root: Path, name: str) -> None:
    saved = torch.load(data_root.parent / "weights" / name, weights_only=True)
    own = arrays(data_root / "clip_vit_b32_openai_flickr8k.npz")["embedding"]
    layer = nn.Linear(512, 1)
    layer.load_state_dict(saved)
    with torch.inference_mode():
        expected = layer(torch.from_numpy(own)).numpy()[:, 0]
    found = apply_head(read_head(str(data_root.parent / "weights" / name)), own)
    assert np.array_equal(found, expected)
    assert len(found) == 2428


@pytest.mark.real
def test_the_real_improved_head_is_five_linear_layers(data_root: Path) -> None:
    layers = read_head(str(data_root.parent / "weights" / "sac+logos+ava1-l14-linearMSE.pth"))
    assert [tuple(weight.shape) for weight, _ in layers] == [(1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16)]
    own = vectors(5, 7, 768)
    stack = nn.Sequential(*(nn.Linear(w.shape[1], w.shape[0]) for w, _ in layers))
    for layer, (weight, bias) in zip(stack, layers, strict=True):
        layer.weight.data, layer.bias.data = weight, bias
    with torch.inference_mode():
        assert apply_head(layers, own) == pytest.approx(stack(torch.from_numpy(own)).numpy()[:, 0], abs=1e-5)
