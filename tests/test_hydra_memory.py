"""A config that the tests compose out of memory is the one that Hydra composes."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly import schema
from tests import doors, hydra_memory

CASES = (
    ("train", "experiment=finetune_flickr8k_best", "split=official", "seed=3"),
    ("train", "experiment=finetune_flickr8k_best", "split=official", "seed=4", "+optimizer={weight_decay:0.1}"),
    ("evaluate", "reranker=captions", "reranker.weight=0.3", "index=hnsw", "~index.repeatable"),
    ("retrieve", "task=index_build", "+extra=1"),
)


def composed() -> list[str]:
    return [OmegaConf.to_yaml(compose(door, overrides=list(given), return_hydra_config=True)) for door, *given in CASES]


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
