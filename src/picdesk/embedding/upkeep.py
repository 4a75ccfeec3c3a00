"""Upkeep of the store: what lies in it, whether it is sound, and how to make room."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.embedding.claims import Claims
from picdesk.embedding.shards import KEY_BYTES, check_digest, open_shard, shard_paths
from picdesk.embedding.store import DESCRIPTION, PARTS, read_description
from picdesk.errors import ConfigError, DataError, MissingFileError, examples
from picdesk.files import digest_of


@dataclass(frozen=True)
class Summary:
    """One space: `size` in bytes, `unused_days` since a job last opened it."""

    name: str
    label: str
    precision: str
    decode: str
    storage: str
    width: int
    items: int
    shards: int
    size: int
    unused_days: float


def spaces(root: Path) -> list[Path]:
    """Folders of all spaces, by name. Raises `MissingFileError` where there is no store."""
    if not root.is_dir():
        raise MissingFileError(f"--store={root}: no such folder; a job that encodes something makes it")
    return sorted(path.parent for path in root.glob(f"*/{DESCRIPTION}"))


def summary(folder: Path) -> Summary:
    """What a space holds. Raises `DataError` where its description or a shard cannot be read."""
    about = read_description(folder)
    paths = shard_paths(folder)
    width, storage = int(about["width"]), str(about["storage"])
    shards = [open_shard(path, fingerprint_of(folder), width, storage) for path in paths]
    return Summary(
        name=folder.name,
        label=str(about["label"]),
        precision=str(about["precision"]),
        decode=str(about["decode"]),
        storage=storage,
        width=width,
        items=len({key.tobytes() for shard in shards for key in shard.keys}),
        shards=len(shards),
        size=sum(path.stat().st_size for path in paths),
        unused_days=max(time.time() - (folder / DESCRIPTION).stat().st_mtime, 0) / 86400,
    )


def fingerprint_of(folder: Path) -> str:
    """The fingerprint that a space's description amounts to. Raises `DataError` where the folder's name is another."""
    about = read_description(folder)
    lacking = [key for key in ("label", *PARTS) if key not in about]
    if lacking:
        raise DataError(f"store: {folder / DESCRIPTION}: {', '.join(lacking)} missing; delete the folder {folder.name}")
    fingerprint = digest_of({key: about[key] for key in PARTS})
    if folder.name != f"{about['modality']}-{fingerprint[:16]}":
        raise DataError(f"store: {folder / DESCRIPTION} describes another space than {folder.name}; delete the folder")
    return fingerprint


def verify(folder: Path) -> list[str]:
    """Faults of one space: every byte of every shard is read."""
    faults: list[str] = []
    try:
        about, fingerprint = read_description(folder), fingerprint_of(folder)
    except DataError as error:
        return [str(error)]
    for path in shard_paths(folder):
        try:
            check_digest(path)
            open_shard(path, fingerprint, int(about["width"]), str(about["storage"]))
        except DataError as error:
            faults.append(str(error))
    return faults


def prune(root: Path, names: Sequence[str] | None, unused_days: float | None, *, dry_run: bool) -> list[Summary]:
    """Remove spaces by the beginnings of their names, or by age. Raises `ConfigError` for a name that fits none, or several,
    and for a space that a job is encoding into.
    """
    every = {folder: summary(folder) for folder in spaces(root)}
    if names:
        chosen = [_find_space(list(every), name) for name in dict.fromkeys(names)]
    else:
        chosen = [folder for folder, space in every.items() if space.unused_days >= (unused_days or 0)]
    for folder in chosen:
        claims = Claims(folder, KEY_BYTES)
        with claims.turn():
            if claims.others():
                raise ConfigError(f"--space={folder.name}: a job is encoding into it; wait for its end")
            if not dry_run:
                shutil.rmtree(folder)
    return [every[folder] for folder in chosen]


def _find_space(folders: Sequence[Path], name: str) -> Path:
    fitting = [folder for folder in folders if folder.name.startswith(name)]
    if len(fitting) != 1:
        names = examples([folder.name for folder in fitting or folders], 8)
        raise ConfigError(
            f"--space={name} fits {len(fitting)} spaces; {'they are' if fitting else 'there are'} {names}"
        )
    return fitting[0]
