"""From the text of a `_target_` to the class it may stand for: a part of the project, a foreign class of a short list, a plug-in.

What is compared is the object that the text leads to: a class written down as a part (`parts.config_part`), under the name it was
defined by. So no path leads through one module into whatever that has imported, and a function is never called.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError, first_line
from picdesk.parts import PARTS

FOREIGN = (
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.strategies.DDPStrategy",
    "torch.optim.AdamW",
)
"""Classes of other libraries that `conf/` names, each by the one path that it is named by."""
SHOWN_BY = ("picdesk.readers",)
"""Packages that give their parts by name alone, whichever of their files defines them; a config may name those so."""
FORMER = {
    "picdesk.training.schedules.cosine": "picdesk.training.schedules.Cosine",
    "picdesk.data.splits.SplitFile": "picdesk.readers.split_files.SplitFile",
    "picdesk.training.schedules.constant": "picdesk.training.schedules.Constant",
}
"""What older configs call parts that have another name now."""
FORMER_ROOMS = {"picdesk.data.readers.": "picdesk.readers."}
"""Packages that have another name now, each with the dot behind it."""
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
OWN = "picdesk"
ENTRY_POINTS = "picdesk.plugins"


def class_of(target: Any, key: str, plugins: Sequence[str] = ()) -> type:
    """The class that `target`, the `_target_` of the config node `key`, stands for; `plugins` are packages of the user's own.

    Raises `ConfigError` for anything that is no class on the list.
    """
    path = current(target) if isinstance(target, str) else ""
    if not PATH.fullmatch(path):
        raise ConfigError(f"{key}._target_={printable_value(target)}: not the name of a class")
    module, _, name = path.rpartition(".")
    if path in FOREIGN:
        found = getattr(importlib.import_module(module), name)
    elif module.split(".")[0] == OWN:
        found = own_part(path, module, name)
    else:
        found = plugin_class(path, module, name, key, plugins)
    if not isinstance(found, type):
        raise ConfigError(f"{key}._target_={path}: no part of picdesk that a config may name; --help lists the options")
    return found


def current(target: str) -> str:
    """The name that a part has now, for the one that an older config calls it by."""
    for former, now in FORMER_ROOMS.items():
        if target.startswith(former):
            return now + target.removeprefix(former)
    return FORMER.get(target, target)


def own_part(path: str, module: str, name: str) -> object:
    """The part of this path; None where there is none, or where it is reached by another path than its own."""
    try:
        home = importlib.import_module(module)
    except ImportError:
        return None
    found = getattr(home, name, None)
    listed = PARTS.get(f"{found.__module__}.{found.__qualname__}") if isinstance(found, type) else None
    if listed is None or listed is not found:
        return None
    return found if module in SHOWN_BY or path == f"{found.__module__}.{found.__qualname__}" else None


def plugin_class(path: str, module: str, name: str, key: str, plugins: Sequence[str]) -> type:
    """A class that a package named by `plugins=` defines. Raises `ConfigError` saying how to admit it where it is not."""
    home = next((package for package in check_plugins(plugins) if f"{module}.".startswith(f"{package}.")), None)
    if home is None:
        raise ConfigError(
            f"{key}._target_={path}: no part of picdesk; if it is your own, or you have read it, "
            f"say plugins=[{path.split('.')[0]}]"
        )
    try:
        importlib.import_module(home)
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # it is somebody's code
        raise ConfigError(f"{key}._target_={path} cannot be imported ({first_line(error, 160)})") from error
    if not isinstance(found, type) or not f"{found.__module__}.".startswith(f"{home}."):
        raise ConfigError(f"{key}._target_={path}: not a class that plugins=[{home}] defines")
    return found


def check_plugins(plugins: Sequence[str]) -> Sequence[str]:
    """Raise `ConfigError` for what is no package of a user's: Python's own modules could do anything, ours are listed."""
    for package in plugins:
        if not isinstance(package, str) or not PACKAGE.fullmatch(package):
            raise ConfigError(
                f"plugins={printable_value(package)}: the name of a package is needed, such as plugins=[mylab]"
            )
        root = package.split(".")[0]
        if root == OWN or root in sys.stdlib_module_names:
            raise ConfigError(
                f"plugins=[{package}]: that is no package of your own; its classes are not for a config to name"
            )
    return plugins


@functools.cache
def installed_plugins() -> tuple[str, ...]:
    """Packages whose own installation says that they are plug-ins, by an entry point of the group `picdesk.plugins`."""
    return tuple(sorted({point.value.partition(":")[0] for point in entry_points(group=ENTRY_POINTS)}))


def import_plugins(plugins: Sequence[str]) -> None:
    """Import packages of the user's own, so that what they add to the lists of picdesk is known. Raises `ConfigError`."""
    for package in check_plugins(plugins):
        try:
            importlib.import_module(package)
        except Exception as error:  # it is somebody's code
            raise ConfigError(f"plugins=[{package}] cannot be imported ({first_line(error, 160)})") from error


def option_folders(plugins: Sequence[str]) -> list[Path]:
    """The `conf` folders of packages of the user's own: further options for the groups, `conf/loss/mine.yaml`."""
    found = []
    for package in check_plugins(plugins):
        try:
            spec = importlib.util.find_spec(package)
        except ImportError:
            spec = None
        if spec is None:
            raise ConfigError(f"plugins=[{package}]: no such package here; install it, or put its folder on PYTHONPATH")
        places = [Path(place) / "conf" for place in spec.submodule_search_locations or ()]
        found += [place.resolve() for place in places if place.is_dir()]
    return found


def printable_value(value: object) -> str:
    """A value for an error line, short and in printable letters."""
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:100]
