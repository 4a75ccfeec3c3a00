"""What an experiment sets in a part, where the command line chose another option for that part."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.allowed import option_folders
from picdesk.assembly.build import plugins_of
from picdesk.assembly.schema import CONF
from picdesk.assembly.shelf import keep_in_sweep

log = logging.getLogger(__name__)


def without_replaced(cfg: DictConfig, hydra: Any = None) -> DictConfig:
    """The config without keys that the experiment meant for an option which the command line replaced; `hydra` is Hydra's own
    part of the config, where a caller in Python composed it.

    `experiment=finetune_flickr8k_best split=official`: the experiment's `split.seed` belongs to the option that it names itself,
    and goes with it. What the command line sets itself stays, and is refused later if the option does not take it.
    """
    if hydra is None and not HydraConfig.initialized():
        return cfg
    hydra = HydraConfig.get() if hydra is None else hydra
    chosen = hydra.runtime.choices
    folders = [CONF, *option_folders(plugins_of(cfg))]
    meant = option_of(folders, f"experiment/{chosen.get('experiment')}.yaml")
    overrides = [override.lstrip("+") for override in hydra.overrides.task]
    for group in groups_replaced(CONF, meant, overrides) if meant is not None else ():
        option = option_of(folders, f"{group}/{chosen[group]}.yaml")
        if meant is not None and option is not None and "defaults" not in option:
            cfg = without(cfg, group, surplus(meant[group], option, group, overrides), f"{group}={chosen[group]}")
    return cfg


def option_of(folders: Sequence[Path], name: str) -> DictConfig | None:
    """The file of an option, of the first folder that has it; None where none has, or it is no table."""
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    found = None if path is None else keep_in_sweep("option", str(path), lambda: OmegaConf.load(path))
    return found if isinstance(found, DictConfig) else None


def groups_replaced(conf: Path, meant: Mapping[str, object], overrides: Iterable[str]) -> list[str]:
    """Groups in which the experiment sets something, and whose option the command line chooses."""
    named = {override.partition("=")[0] for override in overrides}
    return [
        str(key) for key in meant if key in named and (conf / str(key)).is_dir() and isinstance(meant[key], Mapping)
    ]


def surplus(
    meant: Mapping[str, object], option: Mapping[str, object], group: str, overrides: Iterable[str]
) -> list[str]:
    """Keys of the experiment that the chosen option does not have and the command line does not set."""
    typed = [override.partition("=")[0] for override in overrides]
    return [
        str(key)
        for key in meant
        if key not in option and not any(f"{name}.".startswith(f"{group}.{key}.") for name in typed)
    ]


def without(cfg: DictConfig, group: str, keys: list[str], option: str) -> DictConfig:
    """A copy of the config without these keys of a group, which is said."""
    if not keys:
        return cfg
    left = cfg.copy()
    with open_dict(left):
        for key in keys:
            left[group].pop(key, None)
    log.info("left out: the experiment's %s, which %s does not take", ", ".join(f"{group}.{k}" for k in keys), option)
    return left
