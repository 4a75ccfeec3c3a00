"""Every option of every group, and every experiment, composes under every door and fits its class's signature."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import schema
from picdesk.assembly.build import check, parts_of
from picdesk.errors import ConfigError

CONF = Path(__file__).resolve().parents[1] / "conf"
DOORS = ("train", "evaluate", "retrieve", "serve")
NO_TARGET = ("paths", "experiment", "hparams_search", "forget_on")
BY_PLUGINS = ("hydra", "hydra/launcher", "hydra/sweeper")
GLOBAL = ("experiment", "hparams_search")
Option = tuple[str, str]


def options() -> list[Option]:
    found = [(path.parent.relative_to(CONF), path.stem) for path in sorted(CONF.rglob("*/*.yaml"))]
    return [(group.as_posix(), name) for group, name in found if group.as_posix() not in BY_PLUGINS]


@pytest.fixture(autouse=True, scope="module")
def composer() -> Iterator[None]:
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def check_all(cfg: object) -> int:
    """Bind every node with a `_target_`; how many there were."""
    plain = OmegaConf.to_container(cfg, resolve=False)  # type: ignore[arg-type]
    assert isinstance(plain, dict)
    parts = [(str(key), part) for key, node in plain.items() for part in parts_of(node)]
    for key, part in parts:
        check(part, key, {})
    return len(parts)


def test_there_are_as_many_options_as_files() -> None:
    files = [path for path in CONF.rglob("*") if path.is_file()]
    assert all(path.suffix == ".yaml" for path in files)
    assert len(options()) >= 30
    groups = {group for group, _ in options()}
    assert {"data", "split", "prompt", "backbone", "adaptation", "loss", "optimizer", "scheduler"} <= groups
    assert {"trainer", "callbacks", "index", "reranker", "fusion", "logger", "paths", "experiment"} <= groups


ALONE = ("experiment", "hparams_search", "backbone/head", "hydra")  # what sets other groups, or stands within one


def override(group: str, name: str) -> list[str]:
    """How an option is asked for on the command line."""
    root, _, below = group.partition("/")
    if group == "backbone/head":  # a part of a backbone, which takes one on either side
        return ["backbone=precomputed", "backbone.dim=8", f"{group}@backbone.image_head={name}"]
    if root == "hydra":
        return [f"+{group}={name}"]
    return [f"{root}={below}/{name}" if below else f"{group}={name}"]


def door_of(group: str, name: str) -> str | None:
    """The one door that reads what an option says: published numbers, a run to hand in."""
    if group == "experiment/reproduce":
        return "evaluate"
    return "retrieve" if (group, name) == ("experiment/newsimages26", "submit") else None


def text_of(group: str, name: str) -> str:
    return (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")


def plain(group: str, name: str) -> dict[str, Any]:
    """The content of an option's file."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def leaves(node: Any, name: str = "") -> list[str]:
    """The full names of all single values and lists of a node."""
    if not isinstance(node, dict) or not node:
        return [name]
    return [leaf for key, value in node.items() for leaf in leaves(value, f"{name}.{key}")]


def what_it_sets(group: str, name: str) -> tuple[str | None, ...]:
    """The door of an experiment, its package, the options that it takes and the keys that it gives values."""
    content = plain(group, name)
    taken = [str(entry) for entry in content.pop("defaults", [])]
    return (door_of(group, name), text_of(group, name).partition("\n")[0], *taken, *sorted(leaves(content)))


def alike() -> list[list[Option]]:
    """Experiments by what they set: those of one kind differ in the values alone."""
    kinds: dict[tuple[str | None, ...], list[Option]] = {}
    for option in options():
        if option[0].startswith("experiment"):
            kinds.setdefault(what_it_sets(*option), []).append(option)
    return list(kinds.values())


def at_once() -> Iterator[list[Option]]:
    """Options that are composed at once, but for experiments: one of each group that stands for itself, the n-th with the n-th;
    the rest alone."""
    by_group: dict[str, list[str]] = {}
    for group, name in options():
        if group.startswith("experiment"):
            continue
        if group.startswith(ALONE):
            yield [(group, name)]
        else:
            by_group.setdefault(group, []).append(name)
    for i in range(max(map(len, by_group.values()))):
        yield [(group, names[i]) for group, names in by_group.items() if i < len(names)]


def composed(door: str, chosen: list[Option]) -> DictConfig:
    """The config that options make at a door; it fits."""
    cfg = compose(door, overrides=[given for option in chosen for given in override(*option)])
    assert check_all(cfg) >= 12, chosen
    return cfg


def test_every_option_composes_and_fits() -> None:
    seen: set[Option] = set()
    for chosen in at_once():
        cfg = composed("evaluate", chosen)
        for group, name in chosen:
            root = group.partition("/")[0]
            if root not in NO_TARGET and group != "callbacks":
                assert OmegaConf.is_dict(cfg[root])
                assert "_target_" in cfg[root], f"{group}={name} has no _target_"
        seen |= set(chosen)
    assert seen == {option for option in options() if not option[0].startswith("experiment")}


def test_every_experiment_composes_and_fits() -> None:
    for first, *others in alike():
        cfg = composed(door_of(*first) or "evaluate", [first])
        own = {key: value for key, value in plain(*first).items() if key != "defaults"}
        asked = OmegaConf.to_container(OmegaConf.merge(cfg, own), resolve=False)
        assert OmegaConf.to_container(cfg, resolve=False) == asked, (
            "what an experiment sets counts before our own values"
        )
        for option in others:  # their values take the place of the first one's
            cfg.merge_with({key: value for key, value in plain(*option).items() if key != "defaults"})
            assert check_all(cfg) >= 12, option


@pytest.mark.parametrize("door", DOORS)
def test_a_door_composes_and_fits(door: str) -> None:
    composed(door, [])


def test_what_an_option_makes_at_one_door_it_makes_at_each() -> None:
    """The doors differ in their task and in values of the schema alone, and no option chooses a task or gives one a value."""
    values = {one.name for one in fields(schema.Settings) if one.name != "task"}
    for door in DOORS:
        own = OmegaConf.to_container(OmegaConf.load(CONF / f"{door}.yaml"))
        assert isinstance(own, dict)
        assert own.pop("defaults") == ["base", {"override /task": door}, "_self_"]
        assert list(own.pop("hydra")) == ["help"]
        assert values.issuperset(own)
    for group, name in options():
        is_global = group.startswith(GLOBAL)
        assert ("@package" in text_of(group, name)) == is_global, f"{group}={name}"
        content = plain(group, name)
        taken = [str(key) for entry in content.get("defaults", []) if isinstance(entry, dict) for key in entry]
        assert not [key for key in taken if "task" in key], f"{group}={name} chooses a task"
        if is_global and door_of(group, name) is None:
            assert "task" not in content, f"{group}={name} gives a task values: tell door_of which door's"


def test_a_misspelt_key_is_told_with_the_right_ones() -> None:
    cfg = compose("train", overrides=["+loss.margn=0.3"])
    with pytest.raises(ConfigError, match=r"loss: margn unknown to .*Margin; it takes margin, reduction"):
        check_all(cfg)


def test_a_foreign_target_is_refused() -> None:
    cfg = compose("train", overrides=["loss._target_=os.system"])
    with pytest.raises(ConfigError, match=r"loss\._target_=os\.system"):
        check_all(cfg)


def test_outputs_stay_under_outputs() -> None:
    cfg = compose("train", return_hydra_config=True, overrides=["hydra.runtime.output_dir=x"])
    raw = OmegaConf.to_container(cfg.hydra, resolve=False)
    assert raw["run"]["dir"].startswith("${job_dir:${task},${paths.outputs}/")  # type: ignore[index,call-overload]
    assert raw["sweep"]["dir"].startswith("${paths.outputs}/")  # type: ignore[index,call-overload]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "hparams_search").glob("*.yaml")))
def test_a_search_tries_what_there_is(name: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    searched = OmegaConf.load(CONF / "hparams_search" / f"{name}.yaml").hydra.sweeper.params
    assert len(searched) >= 4
    tried = 0
    for key, value in searched.items():
        choices = str(value).removeprefix("choice(").removesuffix(")").split(", ")
        for choice in choices if str(value).startswith("choice(") else []:
            assert check_all(compose("train", overrides=["loss=margin", f"{key}={choice}"])) > 10
            tried += 1
    assert tried >= 2
