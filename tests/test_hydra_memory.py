"""A config that the tests compose out of memory is the one that Hydra composes."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.errors import GrammarParseError, KeyValidationError, ReadonlyConfigError, ValidationError

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


@contextmanager
def without_memory() -> Iterator[None]:
    """Hydra and OmegaConf as they come; what is remembered is there again afterwards."""
    remembering = [(owner, name, getattr(owner, name)) for owner, name, _ in hydra_memory.AS_IT_COMES]
    try:
        for owner, name, own in hydra_memory.AS_IT_COMES:
            setattr(owner, name, own)
        yield
    finally:
        for owner, name, own in remembering:
            setattr(owner, name, own)


def test_configs_out_of_memory_are_hydras() -> None:
    assert doors.PROJECT
    schema.register()
    with initialize_config_dir(hydra_memory.CONF, version_base="1.3"):
        remembered = [composed(), composed()]
        with without_memory():
            plain = composed()
        assert composed() == plain
    assert remembered == [plain, plain]
    assert len(set(plain)) == len(CASES)


class Colour(Enum):
    RED = 1


@dataclass
class Odd:
    """Values of kinds that a config of picdesk has none of."""

    colour: Colour = Colour.RED
    place: Path = Path("/a")
    either: int | str = 3
    named: dict[str, list[int]] = field(default_factory=lambda: {"a": [1, 2]})
    same: Any = "${odd.named.a}"
    nothing: Any = None
    gone: dict[str, int] | None = None


def nodes_of(node: Any) -> list[tuple[Any, Any]]:
    """Each node below one with its parent."""
    content = node.__dict__.get("_content")
    inside = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return [pair for child in inside for pair in ((child, node), *nodes_of(child))]


def copied_and_merged() -> list[str]:
    """Of a config of odd kinds: its copy, and it merged with another; each node stands below its own parent."""
    first = OmegaConf.create({"odd": OmegaConf.structured(Odd), "rows": [{"x": 1}, []], "text": "${rows}"})
    OmegaConf.set_readonly(first.odd.named, True)
    second = copy.deepcopy(first)
    merged = OmegaConf.merge(first, {"rows": [{"y": "${text}"}], "more": {"deep": {"a": [1]}}, "odd": {"either": "b"}})
    for cfg in (second, merged):
        assert cfg == copy.copy(cfg)
        assert all(child._get_parent() is parent for child, parent in nodes_of(cfg))
        assert not {id(child) for child, _ in nodes_of(cfg)} & {id(child) for child, _ in nodes_of(first)}
        assert cfg.odd.named._get_flag("readonly")
        cfg.odd.colour, cfg.rows[0].z = "RED", [9]
        with pytest.raises(ValidationError):
            cfg.odd.colour = "BLUE"
    assert "z" not in first.rows[0]
    assert second.odd.same == first.odd.named.a
    return [OmegaConf.to_yaml(cfg) for cfg in (first, second, merged)]


def test_copies_and_merged_configs_are_omegaconfs() -> None:
    remembered = copied_and_merged()
    with without_memory():
        assert copied_and_merged() == remembered
    assert isinstance(OmegaConf.create({}), Container)
    assert not isinstance({}, Node)


PLAIN = {"a": {"b": [1, "x", None, True, 2.5, {"z": "${a.b}", 3: "???"}, []]}, 1.5: "1e3", "e": {}, "f": "", True: None}


def noted(node: Any) -> tuple[Any, ...]:
    """All that OmegaConf notes about a node, its value, and whether those inside know where they are."""
    content = node.__dict__.get("_content")
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    told = [(key, child._get_parent() is node, noted(child)) for key, child in inside]
    return type(node), vars(node._metadata), node.__dict__.get("_val"), told


def made_of_plain_values() -> list[Any]:
    cfg = OmegaConf.create({"x": 1, "rows": [PLAIN]})
    OmegaConf.update(cfg, "deep.er", PLAIN)
    cfg.rows.append({"q": [PLAIN]})
    cfg["again"] = OmegaConf.merge(OmegaConf.create(PLAIN), {"a": {"c": PLAIN}})
    strict = OmegaConf.structured(Odd)
    strict.named = {"b": [3]}
    strict.same = PLAIN
    for key, value in (("named", {"b": ["no"]}), ("gone", {"b": "no"}), ("named", {"b": "${"})):
        with pytest.raises((ValidationError, GrammarParseError)):
            strict[key] = value
    with pytest.raises(KeyValidationError):
        cfg.rows[0] = {"a": {("no", "key"): 1}}
    with pytest.raises(GrammarParseError):
        cfg.rows[0] = {"a": ["${"]}
    copied = OmegaConf.create(PLAIN, flags={"readonly": True})
    with pytest.raises(ReadonlyConfigError):
        copied.a.b = 1
    written = [OmegaConf.to_container(one, enum_to_str=text) for one in (cfg, strict, copied) for text in (True, False)]
    return [noted(cfg), noted(strict), noted(copied), OmegaConf.to_yaml(cfg), OmegaConf.to_yaml(strict), written]


def test_nodes_of_plain_values_are_omegaconfs() -> None:
    remembered = made_of_plain_values()
    with without_memory():
        assert made_of_plain_values() == remembered
