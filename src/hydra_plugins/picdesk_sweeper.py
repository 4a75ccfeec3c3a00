"""Hydra's own sweeper, less work: it composes each job's config twice, to check the sweep before any job runs and then to run it,
and each time from all of its files, though most jobs differ in a number alone.

Lies here because Hydra takes plug-ins from `hydra_plugins` alone. Imports nothing of the project: Hydra reads it at every start.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

KNOWN = "1.3."
"""The versions of Hydra that compose as is relied on here and in `picdesk.commands.composing`."""
MOST = 256
"""Configs that are kept from the check to their job: a few hundred kilobytes each. Those of further jobs are composed again."""
MOST_KINDS = 16
"""Kinds of jobs whose common config is kept."""


def itself(loader: ConfigLoader) -> ConfigLoader:
    """The loader below."""
    return loader


def sets_a_value(override: Override) -> bool:
    """Whether an override does nothing but set a key that is there already; not one of Hydra itself."""
    plain = override.type == OverrideType.CHANGE and not override.is_sweep_override()
    return plain and override.package is None and override.key_or_group != "hydra"


class OverLoader:
    """Stands before a loader of configs, and hands on whatever it does not do itself."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while it is unpickled it has nothing yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return itself, (self._loader,)  # a launcher's worker is sent one job


class ComposedByKind(OverLoader):
    """A loader that composes once what jobs have in common, and sets in a copy of it the values in which they differ.

    Jobs are of one kind where they choose the same of every group and set the same keys of Hydra. Hydra too makes a config
    of the chosen groups first, which values cannot change, and sets the values then. What adds or removes a key, and
    whatever is wrong, is left to Hydra, whose message it then is.
    """

    composes_by_kind = True
    """Asked for by name, as Hydra reads this file once more as a plug-in, and then has classes of its own."""

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader)
        self._kinds: OrderedDict[tuple[Any, ...], DictConfig] = OrderedDict()
        self._groups: dict[str, bool] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The config of one job of a sweep; it belongs to whom it is given."""
        try:
            found = self._of_its_kind(master_config, sweep_overrides)
        except Exception:  # told below, as Hydra tells it
            found = None
        return self._loader.load_sweep_config(master_config, sweep_overrides) if found is None else found

    def _of_its_kind(self, master: DictConfig, lines: list[str]) -> DictConfig | None:
        from hydra._internal.config_loader_impl import get_overrides_dirname
        from hydra.core.override_parser.overrides_parser import OverridesParser

        if not hydra.__version__.startswith(KNOWN):
            return None
        parsed = OverridesParser.create().parse_overrides(lines)
        chosen: list[Override] = []
        values: list[Override] = []
        for one in parsed:
            (chosen if one.is_hydra_override() or self._chooses(one) else values).append(one)
        if not values or not all(map(sets_a_value, values)):
            return None
        kind = self._kind(master, [str(one.input_line) for one in chosen])
        if kind.hydra.searchpath or kind.hydra.job.env_copy:  # groups that the loader does not know; what may change
            return None
        config = copy.deepcopy(kind)
        for one in values:
            OmegaConf.update(config, one.key_or_group, one.value(), merge=True)
        own = [one for one in parsed if not one.is_hydra_override()]
        noted = config.hydra.overrides.task
        del noted[len(noted) - len(own) + len(values) :]  # of the lines that choose
        noted.extend([one.input_line for one in own])
        config.hydra.runtime.cwd = str(Path.cwd())
        config.hydra.job.override_dirname = get_overrides_dirname(
            own,
            **{key: config.hydra.job.config.override_dirname[key] for key in ("exclude_keys", "item_sep", "kv_sep")},
        )
        OmegaConf.copy_cache(from_config=master, to_config=config)
        return config

    def _kind(self, master: DictConfig, chosen: Sequence[str]) -> DictConfig:
        key = (master.hydra.job.config_name, tuple(master.hydra.overrides.hydra), *chosen)
        if key not in self._kinds:
            self._kinds[key] = self._loader.load_sweep_config(master, list(chosen))
        self._kinds.move_to_end(key)
        while len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        return self._kinds[key]

    def _chooses(self, override: Override) -> bool:
        """Whether an override chooses of a group; one that gives a mapping sets values in what was chosen."""
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = bool(self.repository.group_exists(key))
        return self._groups[key] and not isinstance(override.value(), dict)


class Composed(OverLoader):
    """A loader of configs that gives what it composed of a job's overrides once more, to the next who asks for the same."""

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader)
        self._kept: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The config of one job of a sweep; what is given a second time belongs to whom it is given."""
        key = tuple(sweep_overrides)
        if key in self._kept:
            return self._kept.pop(key)
        config = self._loader.load_sweep_config(master_config, sweep_overrides)
        if len(self._kept) < MOST:
            self._kept[key] = config
        return config


class ComposingOnce(BasicSweeper):
    """Hydra's basic sweeper, whose launcher is given the configs that the sweeper has composed to check them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hand the loader that keeps configs to the launcher."""
        below: Any = hydra_context.config_loader
        by_kind: Any = below if getattr(below, "composes_by_kind", False) else ComposedByKind(below)
        loader: Any = Composed(by_kind)
        keeping = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
        super().setup(hydra_context=keeping, task_function=task_function, config=config)
