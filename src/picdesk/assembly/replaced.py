"""What an experiment sets in a part, where the command line chose another option for that part."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger(__name__)


def without_replaced(cfg: DictConfig, conf: Path) -> DictConfig:
    """The config without keys that the experiment meant for an option which the command line replaced.

    `experiment=finetune_flickr8k_best split=official`: the experiment's `split.seed` belongs to the option that it names itself,
    and goes with it. What the command line sets itself stays, and is refused later if the option does not take it.
    """
    if not HydraConfig.initialized():
        return cfg
    chosen = HydraConfig.get().runtime.choices
    experiment = conf / "experiment" / f"{chosen.get('experiment')}.yaml"
    overrides = [override.lstrip("+") for override in HydraConfig.get().overrides.task]
    if not experiment.is_file():
        return cfg
    meant = OmegaConf.load(experiment)
    assert isinstance(meant, DictConfig)
    for group in groups_replaced(conf, meant, overrides):
        option = OmegaConf.load(conf / group / f"{chosen[group]}.yaml")
        if isinstance(option, DictConfig) and "defaults" not in option:
            cfg = without(cfg, group, surplus(meant[group], option, group, overrides), f"{group}={chosen[group]}")
    return cfg


def groups_replaced(conf: Path, meant: DictConfig, overrides: Iterable[str]) -> list[str]:
    """Groups in which the experiment sets something, and whose option the command line chooses."""
    named = {override.partition("=")[0] for override in overrides}
    return [str(key) for key in meant if key in named and (conf / str(key)).is_dir() and OmegaConf.is_dict(meant[key])]


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
