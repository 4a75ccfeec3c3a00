"""Every option of every group, and every experiment, composes under every door and fits its class's signature."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly import schema
from picdesk.assembly.build import check, parts_of
from picdesk.errors import ConfigError

CONF = Path(__file__).resolve().parents[1] / "conf"
DOORS = ("train", "evaluate", "retrieve", "serve")
NO_TARGET = ("paths", "experiment", "hparams_search", "forget_on")
BY_PLUGINS = ("hydra", "hydra/launcher", "hydra/sweeper")
EXTRA = {"trainer": {"callbacks", "logger"}}


def options() -> list[tuple[str, str]]:
    found = [(path.parent.relative_to(CONF), path.stem) for path in sorted(CONF.rglob("*/*.yaml"))]
    return [(group.as_posix(), name) for group, name in found if group.as_posix() not in BY_PLUGINS]


@pytest.fixture(autouse=True)
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


def what_it_sets(name: str) -> tuple[str, ...]:
    """The options that an experiment's file takes, and the keys that it gives values."""
    file = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
    assert isinstance(file, dict)
    keys = [f"{key}.{own}" for key, node in file.items() if isinstance(node, dict) for own in node]
    return (*map(str, file.pop("defaults", ())), *sorted({*map(str, file), *keys}))


def one_of_a_kind(door: str) -> set[tuple[str, str]]:
    """Experiments that a door composes: `evaluate` each of them, the others one of those that set the same keys."""
    found = [option for option in options() if option[0].partition("/")[0] == "experiment"]
    found = [option for option in found if door_of(*option) in (None, door)]
    if door == "evaluate":
        return set(found)
    full = {option: "/".join((*option[0].split("/")[1:], option[1])) for option in found}
    return set({what_it_sets(full[option]): option for option in found}.values())


def compositions(door: str) -> Iterator[list[tuple[str, str]]]:
    """Options that are composed at once: one of each group that stands for itself, the n-th with the n-th; the rest alone."""
    by_group: dict[str, list[str]] = {}
    experiments = one_of_a_kind(door)
    for group, name in options():
        apart = group.partition("/")[0] == "experiment" and (group, name) not in experiments
        if apart or door_of(group, name) not in (None, door):
            continue
        if group.startswith(ALONE):
            yield [(group, name)]
        else:
            by_group.setdefault(group, []).append(name)
    for i in range(max(map(len, by_group.values()))):
        yield [(group, names[i]) for group, names in by_group.items() if i < len(names)]


@pytest.mark.parametrize("door", DOORS)
def test_every_option_composes_and_fits(door: str) -> None:
    seen: set[tuple[str, str]] = set()
    for chosen in compositions(door):
        cfg = compose(door, overrides=[given for option in chosen for given in override(*option)])
        assert check_all(cfg) >= 12, chosen
        for group, name in chosen:
            root = group.partition("/")[0]
            if root not in NO_TARGET and group != "callbacks":
                assert OmegaConf.is_dict(cfg[root])
                assert "_target_" in cfg[root], f"{group}={name} has no _target_"
        seen |= set(chosen)
    left = {option for option in options() if door_of(*option) not in (None, door)}
    alike = {option for option in options() if option[0].partition("/")[0] == "experiment"} - one_of_a_kind(door)
    assert seen | left | alike == set(options())


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
