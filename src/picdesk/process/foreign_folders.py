"""What lies in a folder that somebody else may have made: links that lead out of it, and what is no plain file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from picdesk.errors import DataError, short_repr

LOGS_OF_WANDB = re.compile(r"(.*/)?wandb/[\w-]*run-[^/]+/logs/[^/]+\.log")
"""Links that wandb itself makes into its cache. It goes on in a folder of a new name and writes to none of these."""


def links_out(path: Path, folder: Path) -> str:
    """`path` itself, or the first soft link below it, if it leads out of `folder`; empty where there is none."""
    inside = Path(os.path.realpath(folder))
    if leads_out(path, inside):
        return str(path)
    return next((str(entry) for entry, _ in below(path) if entry.is_symlink() and leads_out(entry, inside)), "")


def leads_out(link: Path, inside: Path) -> bool:
    """Whether what a path leads to in the end lies outside a folder, whose own path holds no links."""
    return not Path(os.path.realpath(link)).is_relative_to(inside)


def below(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder with what the disk says of the thing itself; links are not followed."""
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(parent, name)
            with suppress(FileNotFoundError):  # what another process was writing has its name now
                yield entry, entry.lstat()


def check_to_write(folder: Path, key: str) -> None:
    """Raise `DataError` where writing into this folder would write elsewhere, or wait for ever.

    That is: a soft link that leads out of it, a file that has a second name (a hard link, perhaps one outside), a pipe or a
    device. Whoever made the folder chose them, and a log is written on at its end.
    """
    if not folder.is_dir():
        return
    inside = Path(os.path.realpath(folder))
    for entry, about in below(folder):
        kind, name = stat.S_IFMT(about.st_mode), entry.relative_to(folder).as_posix()
        if kind == stat.S_IFLNK and not LOGS_OF_WANDB.fullmatch(name) and leads_out(entry, inside):
            raise DataError(f"{key}={folder}: {short_repr(name)} is a link that leads out of the folder")
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise DataError(f"{key}={folder}: {short_repr(entry.name)} is no plain file")
        if kind == stat.S_IFREG and about.st_nlink > 1:
            raise DataError(
                f"{key}={folder}: {short_repr(entry.name)} has another name elsewhere on the disk (a hard link); copy the folder"
            )
