"""A door's config, composed once. Hydra composes a whole one only to see whether it asks for a sweep, and then again.

Nothing of Hydra is changed: it is given a loader of configs that keeps what it composed for the first look. Whatever is not a
plain list of overrides goes the way of `@hydra.main`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.picdesk_sweeper import OverLoader
from picdesk.command import DOORS
from picdesk.home import PROJECT

KNOWN = "1.3."
"""The versions of Hydra whose calls these are."""
MULTIRUN = ("-m", "--multirun")


class ComposedAhead(OverLoader):
    """A loader of configs whose first look is the config that comes next, or what is wrong with it."""

    def __init__(self, loader: ConfigLoader, mode: RunMode) -> None:
        super().__init__(loader)
        self._mode = mode
        self._kept: tuple[list[str], DictConfig | Exception] | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """A config. Only the first look does not check what is swept, so by that it is known."""
        (before, found), self._kept = self._kept or ([], None), None
        if not validate_sweep_overrides:
            return self._look(config_name, overrides, run_mode, from_shell)
        added = f"hydra.mode={self._mode.name}"  # Hydra adds it where nothing chose a mode
        if found is None or run_mode != self._mode or overrides not in (before, [*before, added]):
            return self._loader.load_configuration(config_name, overrides, run_mode, from_shell)
        if isinstance(found, Exception):
            raise found
        if overrides != before:
            found.hydra.mode = self._mode
            found.hydra.overrides.hydra.append(added)
        return found

    def _look(self, config_name: str | None, overrides: list[str], run_mode: RunMode, from_shell: bool) -> DictConfig:
        """Compose as it is done next if nothing chooses a mode. What fails so, but for a wrong value, may do for a look."""
        try:
            config = self._loader.load_configuration(config_name, overrides, self._mode, from_shell)
        except Exception as error:
            self._kept = list(overrides), error
            if isinstance(error.__cause__, OmegaConfBaseException):
                raise
            return self._loader.load_configuration(config_name, overrides, run_mode, from_shell, False)
        self._kept = list(overrides), config
        return config

    def __reduce__(self) -> tuple[Any, ...]:
        return itself, (self._loader,)  # a launcher's worker has no first look


def itself(loader: ConfigLoader) -> ConfigLoader:
    """The loader below."""
    return loader


def run_composed_once(main: Callable[[], Any], arguments: Sequence[str]) -> bool:
    """Run the `@hydra.main` function of one of the project's doors; False where it has to be called for that."""
    overrides = [argument for argument in arguments if argument not in MULTIRUN]
    flags = [argument for argument in overrides if argument.startswith("-")]
    if flags or len(arguments) - len(overrides) > 1 or not hydra.__version__.startswith(KNOWN):
        return False
    from hydra._internal import utils
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    task: Any = getattr(main, "__wrapped__", main)
    file, module = utils.detect_calling_file_or_module_from_task_function(task)
    if file is None or Path(file).resolve().parent != PROJECT or Path(file).stem not in DOORS:
        return False
    name, is_sweep = Path(file).stem, len(overrides) < len(arguments)
    place = utils.create_automatic_config_search_path(file, module, "conf")
    loader: Any = ComposedAhead(ConfigLoaderImpl(place), RunMode.MULTIRUN if is_sweep else RunMode.RUN)
    try:
        composing = Hydra(task_name=name, config_loader=loader)
        GlobalHydra.instance().initialize(composing)
        utils._run_app(
            run=not is_sweep,
            multirun=is_sweep,
            mode=composing.get_mode(name, overrides),
            hydra=composing,
            config_name=name,
            task_function=task,
            overrides=overrides,
        )
    finally:
        GlobalHydra.instance().clear()
    return True
