"""A door's config, composed once. Hydra composes a whole one only to see whether it asks for a sweep, and then again.

Nothing of Hydra is changed: it is given a loader of configs that keeps what it composed for the first look, and for `--help` one
that copies the options once. Whatever else is not a plain list of overrides goes the way of `@hydra.main`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.picdesk_sweeper import KNOWN, ComposedByKind, OverLoader
from picdesk.command import DOORS
from picdesk.home import PROJECT

MULTIRUN = ("-m", "--multirun")
HELP = {"-h", "--help"}


class ComposedAhead(ComposedByKind):
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


class ListedOnce(OverLoader):
    """A loader that lists each group once, all out of one copy of the options; Hydra lists some four times, each from a copy."""

    @functools.cached_property
    def _options_of(self) -> Callable[..., list[str]]:
        options = self._loader._parse_overrides_and_create_caching_repo(None, [])[1]  # type: ignore[attr-defined]
        return functools.cache(options.get_group_options)

    def list_groups(self, parent_name: str) -> list[str]:
        """The groups within a group."""
        return self.get_group_options(parent_name, ObjectType.GROUP)

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        """What a group has, as no override adds to it."""
        return list(self._options_of(group_name, results_filter))


def run_composed_once(main: Callable[[], Any], arguments: Sequence[str]) -> bool:
    """Run the `@hydra.main` function of one of the project's doors; False where it has to be called for that."""
    overrides = [argument for argument in arguments if argument not in MULTIRUN]
    flags = [argument for argument in overrides if argument.startswith("-")]
    sweeps = len(arguments) - len(overrides)
    if sweeps > 1 or (flags and (sweeps or not HELP.issuperset(flags))) or not hydra.__version__.startswith(KNOWN):
        return False
    from hydra._internal import utils
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    task: Any = getattr(main, "__wrapped__", main)
    file, module = utils.detect_calling_file_or_module_from_task_function(task)
    if file is None or Path(file).resolve().parent != PROJECT or Path(file).stem not in DOORS:
        return False
    name, mode = Path(file).stem, RunMode.MULTIRUN if sweeps else RunMode.RUN
    place = utils.create_automatic_config_search_path(file, module, "conf")
    loader: Any = ConfigLoaderImpl(place)
    loader = ListedOnce(loader) if flags else ComposedAhead(loader, mode)
    try:
        composing = Hydra(task_name=name, config_loader=loader)
        GlobalHydra.instance().initialize(composing)
        if flags:
            parser = utils.get_args_parser()
            composing.app_help(name, parser, parser.parse_args(arguments))
            return True
        utils._run_app(
            run=not sweeps,
            multirun=bool(sweeps),
            mode=composing.get_mode(name, overrides),
            hydra=composing,
            config_name=name,
            task_function=task,
            overrides=overrides,
        )
    finally:
        GlobalHydra.instance().clear()
    return True
