"""The list of families has every class of backbone that can be trained; the others refuse it in one line."""

from collections.abc import Callable
from functools import cache

import pytest
from omegaconf import OmegaConf

from picdesk.backbones.captioner import Captioner
from picdesk.backbones.heads import Head
from picdesk.backbones.sentence_transformers import SentenceTransformers
from picdesk.backbones.sentences import Sentences
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.training.adaptation import Heads
from tests.backbones.tiny_multimodal import make_folder
from tests.conftest import PROJECT
from tests.folders import new_folder
from tests.training.families import ADAPTATIONS, FAMILIES, GIVEN, HEADLESS


@cache
def family(name: str) -> TwoTower:
    return FAMILIES[name]()


def classes_in_configs() -> dict[str, str]:
    """The class of each option in `conf/backbone/`, with one config that names it."""
    paths = sorted((PROJECT / "conf" / "backbone").glob("*.yaml"))
    return {str(OmegaConf.load(path)["_target_"]): path.stem for path in paths}


UNTRAINABLE: dict[str, Callable[[], TwoTower]] = {
    "SentenceTransformers": lambda: SentenceTransformers(str(make_folder("clip_with_prompts", new_folder()))),
    "Captioner": lambda: Captioner(None),
    "Sentences": Sentences,
}
"""A model of each class that has no family."""
ONE_OF_EACH = {
    "OpenClip": "open_clip",
    "Transformers": "clip",
    "OwnCode": "own_code",
    "Precomputed": "precomputed linear",
    "Lite": "lite",
}


def path_of_class(backbone: TwoTower) -> str:
    return f"{type(backbone).__module__}.{type(backbone).__qualname__}"


@pytest.mark.parametrize("target", classes_in_configs())
def test_every_class_of_backbone_is_in_the_list_or_refuses_to_be_trained(target: str) -> None:
    name = target.rpartition(".")[2]
    if name in ONE_OF_EACH:
        assert path_of_class(family(ONE_OF_EACH[name])) == target
        return
    backbone = UNTRAINABLE[name]()
    assert path_of_class(backbone) == target
    for adaptation in (Heads(), *ADAPTATIONS.values()):
        with pytest.raises(ConfigError, match=rf"adaptation(={adaptation.name}: |\.n=)"):
            adaptation.check(backbone)


def test_every_head_for_given_vectors_is_in_the_list() -> None:
    named = {str(OmegaConf.load(path)["_target_"]) for path in (PROJECT / "conf/backbone/head").glob("*.yaml")}
    made = {part for name in GIVEN for part in FAMILIES[name]().name.partition("(")[2].partition(")")[0].split(", ")}
    assert {f"picdesk.backbones.heads.{one.__name__}" for one in Head.__subclasses__() if one.name in made} == named


@pytest.mark.parametrize("name", HEADLESS)
def test_a_model_without_heads_refuses_to_have_them_trained(name: str) -> None:
    with pytest.raises(ConfigError, match=r"adaptation=heads: .* has no head of its own to train"):
        Heads().check(family(name))
