"""Hydra's own sweeper, less work: it composes each job's config twice, to check the sweep before any job runs and then to run it.

Lies here because Hydra takes plug-ins from `hydra_plugins` alone. Imports nothing of the project: Hydra reads it at every start.
"""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

MOST = 256
"""Configs that are kept from the check to their job: a few hundred kilobytes each. Those of further jobs are composed again."""


class OverLoader:
    """Stands before a loader of configs, and hands on whatever it does not do itself."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while it is unpickled it has nothing yet
            raise AttributeError(name)
        return getattr(self._loader, name)


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

    def __reduce__(self) -> tuple[Any, ...]:
        return Composed, (self._loader,)


class ComposingOnce(BasicSweeper):
    """Hydra's basic sweeper, whose launcher is given the configs that the sweeper has composed to check them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hand the loader that keeps configs to the launcher."""
        loader: Any = Composed(hydra_context.config_loader)
        keeping = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
        super().setup(hydra_context=keeping, task_function=task_function, config=config)
