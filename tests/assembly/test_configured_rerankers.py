"""A reranker's trunks are built when something must go through them, not to say what the reranker is made of."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from picdesk.assembly.configured_rerankers import Rerankers
from picdesk.assembly.reading import given_backbone
from picdesk.backbones.lite import Lite
from picdesk.backbones.two_tower import TwoTower
from picdesk.training.checkpoint import save
from tests import trunk_memory
from tests.assembly.test_kept_in_sweeps import composed


class Trained(Lite):
    """`lite` with heads that pass for trained ones."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.untrained = False


def test_a_trunk_whose_fingerprint_is_known_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoTower, "_take_fingerprint", trunk_memory.AS_IT_COMES)
    target = "picdesk.rerankers.cross_backbone.CrossBackbone"
    cfg = OmegaConf.create(
        {
            "paths": {"store": str(tmp_path)},
            "plugins": ["tests"],
            "reranker": {"_target_": target, "weight": 0.5, "backbone": {"_target_": f"{__name__}.Trained"}},
        }
    )
    contents, built = [], []
    for _ in range(2):
        reranker = Rerankers(cfg)._make(cfg.reranker)
        contents.append(reranker.content())
        built.append(reranker.backbone._modules.deferred("image_trunk") is None)
    assert contents[0] == contents[1]
    assert built == [True, False], "the first one had to be built, to find its fingerprint"


def test_of_a_text_tower_that_a_checkpoint_brings_the_picture_trunk_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TwoTower, "_take_fingerprint", trunk_memory.AS_IT_COMES)
    lite = Lite(seed=3)
    heads = {name: value.detach().clone() for name, value in lite.named_parameters() if "trunk" not in name}
    weights = save(tmp_path / "checkpoint", lite, heads, OmegaConf.to_yaml(composed("backbone=lite"), resolve=False))
    cfg = composed("backbone=precomputed", f"backbone.dim={lite.dim}", f"paths.store={tmp_path}")
    cfg.backbone.text_ckpt = str(weights)
    built = [given_backbone(cfg).text_encoder._modules.deferred("image_trunk") is None for _ in range(2)]  # type: ignore[attr-defined]
    assert built == [True, False]


JUDGE = "reranker=vlm_judge"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ((JUDGE,), "language_model.model"),
        (("reranker=llm_rewriting",), "language_model.model"),
        ((JUDGE, "+language_model@reranker.language_model=endpoint"), "reranker.language_model.model"),
        ((JUDGE, "+language_model@reranker.language_model=endpoint", "reranker.language_model.model=own"), ""),
        (("reranker=captions",), ""),
    ],
)
def test_the_model_that_the_environment_names_is_written_where_it_is_asked(
    given: tuple[str, ...], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "a-model-of-mine")
    cfg = composed(*given)
    Rerankers(cfg).name_language_model()
    found = OmegaConf.to_yaml(cfg, resolve=False).count("a-model-of-mine")
    assert found == bool(place)
    assert not place or OmegaConf.select(cfg, place) == "a-model-of-mine"
