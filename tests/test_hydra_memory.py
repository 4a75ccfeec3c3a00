"""A config that the tests compose out of memory is the one that Hydra composes."""

import copy
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import schema
from tests import doors, hydra_memory

CASES = (
    ("train", "experiment=finetune_flickr8k_best", "split=official", "seed=3"),
    ("train", "split=official", "seed=3", "data.root='a: \"long\"  text, ÄÖ 🙂, of 1e3'"),
    ("train", "experiment=finetune_flickr8k_best", "split=official", "seed=4", "+optimizer={weight_decay:0.1}"),
    ("evaluate", "reranker=captions", "reranker.weight=0.3", "index=hnsw", "~index.repeatable"),
    ("retrieve", "task=index_build", "+extra=1"),
)
FLAGS = ("struct", "readonly")


def texts_of(door: str, *given: str) -> tuple[str, str]:
    """A composed config, and what it comes to in a copy in which a value is changed."""
    cfg = compose(door, overrides=list(given), return_hydra_config=True)
    other = copy.deepcopy(cfg)
    OmegaConf.update(other, "seed", 11)
    assert other.seed == 11
    assert cfg.seed != 11
    assert all(node._get_flag(flag) == cfg[key]._get_flag(flag) for key, node in groups_of(other) for flag in FLAGS)
    return OmegaConf.to_yaml(cfg), OmegaConf.to_yaml(other.data, resolve=True)


def groups_of(cfg: DictConfig) -> list[tuple[str, Any]]:
    return [(str(key), cfg[key]) for key in cfg if key != "hydra" and OmegaConf.is_config(cfg[key])]


def composed() -> list[tuple[str, str]]:
    return [texts_of(door, *given) for door, *given in CASES]


def test_configs_out_of_memory_are_hydras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doors.PROJECT
    schema.register()
    with initialize_config_dir(hydra_memory.CONF, version_base="1.3"):
        remembered = [composed(), composed()]
        for owner, name, own in hydra_memory.AS_IT_COMES:
            monkeypatch.setattr(owner, name, own)
        plain = composed()
    assert remembered == [plain, plain]
    assert len(set(plain)) == len(CASES)
