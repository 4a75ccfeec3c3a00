"""Names found in data files, turned into paths that are certain to lie inside the data folder."""

import os
import stat
from pathlib import Path, PureWindowsPath

from picdesk.errors import MissingFileError


class RefusedError(Exception):
    """A name that may not be opened, or cannot be; the text is the reason for the list of what was left out."""


def data_folder(root: str, name: str) -> Path:
    """The folder that `data.root` names. Raises `MissingFileError` if it is not there."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise MissingFileError(
            f"data={name}: data.root={root} is not a folder; set data.root to the folder that holds it"
        )
    return folder


def data_file(root: str, file: str, name: str) -> Path:
    """The file `data.file` inside `data.root`. Raises `MissingFileError` if it is not there."""
    path = data_folder(root, name) / file
    if not path.is_file():
        raise MissingFileError(f"data={name}: no file {file!r} in data.root={root}; set data.file or data.root")
    return path


class Inside:
    """Turns names into paths below one folder; nothing that would lead out of it is ever opened."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._prefix = str(self.root).rstrip(os.sep) + os.sep
        self._found: dict[str, Path] = {}

    def path(self, name: str) -> Path:
        """The resolved path of a regular file below the root. Raises `RefusedError` with the reason otherwise."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look(name)
        return found

    def _look(self, name: str) -> Path:
        check_name(name)
        real = os.path.realpath(self.root / name)
        if not real.startswith(self._prefix):
            raise RefusedError(f"{name!r} leaves the data folder through a link")
        try:
            mode = Path(real).stat().st_mode
        except OSError:
            raise RefusedError(f"no file {name!r}") from None
        if not stat.S_ISREG(mode):
            raise RefusedError(f"{name!r} is not a regular file")
        return Path(real)


def check_name(name: str) -> None:
    """Raise `RefusedError` for a name that is empty, absolute, climbs out with `..` or holds a NUL."""
    if not name.strip():
        raise RefusedError("no picture is named")
    if "\0" in name:
        raise RefusedError(f"{name!r} holds a NUL character")
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        raise RefusedError(f"{name!r} is an absolute path")
    if ".." in windows.parts:
        raise RefusedError(f"{name!r} climbs out of the data folder")
