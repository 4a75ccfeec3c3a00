"""Names found in data files, turned into paths that are certain to lie inside the data folder."""

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from picdesk.data.spellings import Claims, SameNames, fold_name, plain_path
from picdesk.data.unmatched import any_case, fitting_files
from picdesk.errors import ConfigError, MissingFileError, examples, short_repr

BASE64 = re.compile(r"data:image/|(/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/\s]{60}")  # of JPEG, PNG, GIF, WebP


class RefusedError(Exception):
    """A name that may not be opened, or cannot be; the text is the reason for the list of what was left out."""


class AbsentError(RefusedError):
    """A name under which there is no file."""


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


def files_of_splits(
    root: Path, files: Mapping[str, str | Sequence[str]], key: str, name: str, what: str = "file"
) -> dict[Path, str]:
    """Each file that the names or patterns of the splits fit, below `root`, and its split, in the order of the names.

    The ending may be in letters of either case.

    Raises `MissingFileError` for a pattern without a file, `ConfigError` for one that leads out, and for a file of two splits.
    """
    found: dict[Path, str] = {}
    for split, pattern in [
        (split, one) for split, own in files.items() for one in ([own] if isinstance(own, str) else own)
    ]:
        if not pattern or ".." in Path(pattern).parts or Path(pattern).is_absolute():
            raise ConfigError(f"data={name}: {key}={pattern!r}: a name or pattern below data.root={root} is needed")
        paths = fitting_files(root, pattern)
        if not paths:
            deeper = next(root.rglob(any_case(pattern)), None) if "/" not in pattern else None
            hint = f"; there are some deeper: {key}='**/{pattern}'" if deeper is not None else ""
            raise MissingFileError(f"data={name}: no {what} {pattern!r} in data.root={root} ({key}){hint}")
        for path in paths:
            if found.setdefault(path, split) != split:
                raise ConfigError(f"data={name}: {key}: {path.name} fits split {split!r} and split {found[path]!r}")
    return found


class Inside:
    """Turns names into paths below one folder; nothing that would lead out of it is ever opened."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._prefix = str(self.root).rstrip(os.sep) + os.sep
        self._found: dict[str, Path] = {}
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._near: dict[str, str] = {}
        self._several: dict[str, list[str]] = {}
        self._claims = Claims()
        self.same = SameNames()

    def path(self, name: str) -> Path:
        """The resolved path of a regular file below the root. Raises `RefusedError` with the reason otherwise."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look(name)
        return found

    def claim(self, names: Iterable[str]) -> None:
        """All names that `picture` is going to be asked for."""
        self._claims.add(names)

    def picture(self, name: str, endings: Iterable[str] = ()) -> Path:
        """As `path`; where there is no such file, the one of that name with one of the `endings` (the first there is), or
        in letters of another case, where no other name was claimed that means it, and no other file fits as well. `notes`
        counts what was found so. Raises `RefusedError`."""
        self._claims.add((name,))
        try:
            return self.path(name)
        except AbsentError as absent:
            found = self._look_near(plain_path(name), tuple(endings))
            doubt = self._doubt(name, found) if found else ""
            if doubt or not found:
                raise AbsentError(f"{absent}{doubt or self._hint(name)}") from None
        if len(found) > 1:
            self._several[name] = found
        self._near[name] = found[0]
        path = self._found[name] = self.path(found[0])
        return path

    def first_name(self, name: str, path: Path) -> str:
        """The id of the picture in a file: the first name that it was found by. `notes` counts the others."""
        return self.same.first(name, str(path))

    def notes(self) -> list[str]:
        """What to say of pictures that were not found under the very name that was asked for."""
        near = self._near.items()
        cased = [f"{name} -> {real}" for name, real in near if not real.startswith(plain_path(name))]
        several = [f"{name} -> {', '.join(found)}" for name, found in self._several.items()]
        told = []
        if cased:
            told.append(f"{len(cased)} pictures stand under a name in letters of another case: {examples(cased)}")
        if several:
            told.append(f"{len(several)} names fit several pictures, the first was taken: {examples(several)}")
        return told + self.same.notes()

    def _doubt(self, name: str, found: list[str]) -> str:
        """Why the first of the files that were found but for case may be another picture; "" if it is this one."""
        first = found[0]
        if first.startswith(plain_path(name)):
            return ""
        alike = [real for real in found if fold_name(real) == fold_name(first)]
        if len(alike) > 1:
            return f" ({examples(alike)} fit but for the case of letters)"
        others = (other for other in self._claims.others(name, first) if other == first or not self._is_file(other))
        other = next(others, None)
        return "" if other is None else f" ({short_repr(first)} is that of a row that names {short_repr(other)})"

    def _hint(self, name: str) -> str:
        """The file that a name means as Windows or as web addresses write it; "" if there is none."""
        for other, way in ((name.replace("\\", "/"), "/ between folders"), (unquote(name), "no % codes")):
            if other != name and self._is_file(other):
                return f" (there is {short_repr(other)}, with {way})"
        return ""

    def _is_file(self, name: str) -> bool:
        try:
            self.path(name)
        except RefusedError:
            return False
        return name not in self._near

    def _look_near(self, name: str, endings: tuple[str, ...]) -> list[str]:
        """Names of files that may be meant, those that begin with the very name first, then in the order of the endings."""
        folder, slash, base = name.rpartition("/")
        there = self._listing(folder)
        found = [real for ending in ("", *endings) for real in there.get(fold_name(base + ending), [])]
        found.sort(key=lambda real: not real.startswith(base))
        return [folder + slash + real for real in dict.fromkeys(found)]

    def _listing(self, folder: str) -> dict[str, list[str]]:
        """Files of a folder by their names without case; empty for one that is not there or not inside."""
        listed = self._listed.get(folder)
        if listed is None:
            listed = self._listed[folder] = {}
            real = os.path.realpath(self.root / folder)
            try:
                inside = (real + os.sep).startswith(self._prefix)
                entries = sorted(path.name for path in Path(real).iterdir()) if inside else []
            except OSError:
                entries = []
            for entry in entries:
                listed.setdefault(fold_name(entry), []).append(entry)
        return listed

    def _look(self, name: str) -> Path:
        check_name(name)
        real = os.path.realpath(self.root / name)
        if not real.startswith(self._prefix):
            raise RefusedError(f"{short_repr(name)} leaves the data folder through a link")
        try:
            mode = Path(real).stat().st_mode
        except OSError:
            raise AbsentError(f"no file {short_repr(name)}") from None
        if not stat.S_ISREG(mode):
            raise RefusedError(f"{short_repr(name)} is not a regular file")
        return Path(real)


def check_name(name: str) -> None:
    """Raise `RefusedError` for a name that is empty, absolute, climbs out with `..` or holds a NUL."""
    if not name.strip():
        raise RefusedError("no picture is named")
    if "\0" in name:
        raise RefusedError(f"{short_repr(name)} holds a NUL character")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise RefusedError(f"{short_repr(name)} is not UTF-8")
    if BASE64.match(name):
        raise RefusedError(f"{short_repr(name, 40)} is a picture in base64, where a path is needed; decode it to bytes")
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        raise RefusedError(f"{short_repr(name)} is an absolute path")
    if ".." in windows.parts:
        raise RefusedError(f"{short_repr(name)} climbs out of the data folder")
