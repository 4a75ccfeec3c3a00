"""The two-stage systems A and D as experiments: what they are made of, and that nothing in them is left out."""

from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import schema
from tests.test_configs import CONF

BACKBONES = ("clip_b32", "clip_l14", "siglip_b16", "siglip2_so400m", "align", "blip", "jina_clip")
RERANKERS = ("identity", "vlm_judge", "llm_rewriting", "aesthetics")


@pytest.fixture(autouse=True, scope="module")
def composer() -> Iterator[None]:
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def experiment(name: str) -> DictConfig:
    return compose("evaluate", overrides=[f"experiment={name}"])


def test_system_a_is_bigg_headline_topics_top_five_itm() -> None:
    cfg = experiment("system_a")
    assert (cfg.backbone.model, cfg.backbone.pretrained) == ("ViT-bigG-14", "laion2b_s39b_b160k")
    assert cfg.prompt._target_.endswith("HeadlineTopics")
    assert cfg.prompt.max_tags == 5
    assert cfg.top_k == 5
    assert cfg.reranker._target_.endswith("itm.Itm")
    assert (cfg.reranker.model, cfg.reranker.max_tokens, cfg.reranker.picture_size) == (
        "Salesforce/blip-itm-base-coco",
        35,
        384,
    )
    assert cfg.reranker.add_similarity


def test_defect_d_every_backbone_has_every_reranker_and_each_setting_is_used() -> None:
    """System D parsed `index_type` and `m` and used neither; here a key that no constructor takes is an error."""
    assert {path.stem for path in (CONF / "experiment" / "system_d").glob("*.yaml")} == {
        f"{backbone}_{reranker}" for backbone in BACKBONES for reranker in RERANKERS
    }
    split = compose("evaluate", overrides=["split=random_80_10_10"]).split
    models = set()
    for backbone in BACKBONES:
        for reranker in RERANKERS:
            cfg = experiment(f"system_d/{backbone}_{reranker}")
            assert cfg.reranker.weight == (0.0 if reranker == "identity" else 0.2)
            assert cfg.split._target_ == split._target_
            assert "???" not in str(OmegaConf.to_container(cfg.reranker, resolve=False))
            models.add(cfg.backbone.model)
    assert len(models) == len(BACKBONES)
