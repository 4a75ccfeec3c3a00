"""Hydra does in the tests' own processes once what it would do alike for every job; processes of their own have all of it.

What is kept is of `conf/` alone, whose files do not change while tests run. Half of the time of a short job is Hydra's.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.hydra import Hydra

Patch = tuple[Any, str, Callable[..., Any]]
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def begin() -> None:
    """Put it in place."""
    for owner, name, _ in AS_IT_COMES:
        setattr(owner, name, MEMORIES[name](getattr(owner, name)))


def is_ours(repository: IConfigRepository) -> bool:
    """Whether options come from `conf/`, from Hydra and from code, and from no other folder."""
    return [source.path for source in repository.get_sources() if source.scheme() == "file"] == [CONF]


def without_first_look(get_mode: Callable[..., Any]) -> Callable[..., Any]:
    """Hydra composes a whole config before it begins, to see whether that asks for a sweep; only where something given could."""

    def mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        asks = any(given.lstrip("+~").startswith(("hydra", "hparams_search")) for given in overrides)
        return get_mode(hydra, config_name, overrides) if asks else None

    return mode


def parse_once(load: Callable[..., Any]) -> Callable[..., Any]:
    """Options of `conf/` are parsed once, and copied for each config that they go into."""
    known: dict[str, Any] = {}

    def load_once(repository: ConfigRepository, config_path: str) -> Any:
        if not is_ours(repository):
            return load(repository, config_path)
        if config_path not in known:
            found = load(repository, config_path)
            if found is None or found.provider != "main":
                return found
            known[config_path] = found
        return copy.deepcopy(known[config_path])

    return load_once


def choose_once(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Which options a config is made of depends on the groups that are chosen, and not on single values."""
    known: dict[Any, Any] = {}

    def choose_again(
        repo: IConfigRepository, config_name: str | None, overrides_list: Sequence[Any], **other: Any
    ) -> Any:
        given = [one for one in overrides_list if not one.is_sweep_override()]
        values = [one for one in given if isinstance(one.value(), dict) or not repo.group_exists(one.key_or_group)]
        if not is_ours(repo) or len(given) < len(overrides_list):
            return choose(repo=repo, config_name=config_name, overrides_list=overrides_list, **other)
        groups = [one for one in given if not any(one is value for value in values)]
        key = (config_name, tuple(one.input_line for one in groups), tuple(sorted(other.items())))
        if key not in known:
            known[key] = choose(repo=repo, config_name=config_name, overrides_list=groups, **other)
        return replace(copy.copy(known[key]), config_overrides=values)

    return choose_again


def merge_once(merge: Callable[..., Any]) -> Callable[..., Any]:
    """The same options in the same order make the same config; it is copied."""
    known: dict[Any, Any] = {}

    def merge_again(loader: ConfigLoaderImpl, defaults: Sequence[Any], repo: IConfigRepository) -> Any:
        key = tuple((one.config_path, one.parent, one.package, one.is_self, one.primary) for one in defaults)
        if not is_ours(repo):
            return merge(loader, defaults=defaults, repo=repo)
        if key not in known:
            known[key] = merge(loader, defaults=defaults, repo=repo)
        return copy.deepcopy(known[key])

    return merge_again


MEMORIES = {
    "get_mode": without_first_look,
    "load_config": parse_once,
    "create_defaults_list": choose_once,
    "_compose_config_from_defaults_list": merge_once,
}
AS_IT_COMES: list[Patch] = [
    (owner, name, getattr(owner, name))
    for owner, name in zip((Hydra, ConfigRepository, config_loader_impl, ConfigLoaderImpl), MEMORIES, strict=True)
]
"""Where each stands, and Hydra's own."""
