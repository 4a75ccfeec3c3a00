"""Shards: safetensors files of keys and features, written whole, named by their own content; large ones are mapped to be read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import os
import re
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from picdesk.errors import DataError
from picdesk.files import file_digest, write_text, written_whole
from picdesk.process import machine

log = logging.getLogger(__name__)
KEY_BYTES = 16
NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
DTYPES: Mapping[str, Any] = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}
SETTLED_S = 2.0
SMALL = 1 << 16
"""Bytes up to which a shard is read and not mapped: each question that was ever asked is one, and a process has few mappings."""
MOST_OF_MACOS = 10_240
"""Files that a process may have open there (OPEN_MAX), where it begins with 256 and is told that there is no limit."""
Stamp = list[int]


@dataclass(frozen=True)
class Shard:
    """`keys` [n, 16] uint8 and `features` [n, width], both as they lie in the file `path`."""

    path: Path
    keys: NDArray[np.uint8]
    features: NDArray[Any]


def shard_paths(folder: Path) -> list[Path]:
    """Files of a folder that bear a shard's name, in order; temporary files of jobs at work or killed are not among them."""
    return sorted(path for path in folder.glob("*.safetensors") if NAME.fullmatch(path.name))


def write_shard(folder: Path, fingerprint: str, keys: Sequence[bytes], features: NDArray[Any]) -> Path:
    """Write one shard whole, under the name that its content gives it."""
    tensors: dict[str, NDArray[Any]] = {
        "features": np.ascontiguousarray(features),
        "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES),
    }
    content = save(tensors, {"space": fingerprint})
    path = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.safetensors"
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return path


def check_digest(path: Path) -> None:
    """Raise `DataError` unless the shard's content is what its name says."""
    if file_digest(path)[:32] != path.stem:
        raise DataError(f"store: {path} is damaged (its content does not match its name); delete it and run again")


def open_shard(path: Path, fingerprint: str, width: int, storage: str) -> Shard:
    """Open a shard whose digest has been checked. Raises `DataError` where it belongs to another space."""
    try:
        content = content_of(path)
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        space = header.get("__metadata__", {}).get("space", "")
        arrays = {name: _array(content, start, header[name]) for name in ("keys", "features")}
    except (ValueError, KeyError, TypeError, OSError, AttributeError) as error:
        machine.refuse(error)
        raise DataError(f"store: {path} cannot be read as a shard ({error}); delete it and run again") from None
    if space != fingerprint:
        raise DataError(f"store: {path} belongs to space {space[:12]}, not to {fingerprint[:12]}; delete it")
    keys, features = arrays["keys"], arrays["features"]
    if features.shape != (len(keys), width) or features.dtype != storage or keys.shape[1:] != (KEY_BYTES,):
        raise DataError(
            f"store: {path} holds {features.dtype} features {features.shape} for {len(keys)} keys, "
            f"not {storage} of width {width}; delete it"
        )
    return Shard(path, keys, features)


def content_of(path: Path) -> bytes | mmap.mmap:
    """What a shard holds: the bytes of a small one, a mapping of any other. A million pictures lie in a thousand shards, which is
    as many files as a process may have open by default, so where Python lets go of a mapped file it does."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size <= SMALL:
            return stream.read()
        if sys.version_info >= (3, 13):
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
        allow_open_files()
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


@cache
def allow_open_files() -> None:
    """Let this process have as many files open as the system permits it, mostly far more than it begins with."""
    begun, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, MOST_OF_MACOS):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        except (ValueError, OSError):  # a system that says that there is no limit, and has one
            if begun >= MOST_OF_MACOS:
                break
        else:
            return
    log.debug("the limit of open files stays as it is")


def _array(content: bytes | mmap.mmap, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    dtype = np.dtype(DTYPES[entry["dtype"]])
    shape = tuple(entry["shape"])
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError("shape and size of a tensor differ")
    return np.frombuffer(content, dtype, math.prod(shape), start + begin).reshape(shape)


class Verified:
    """Remembers which shards have been checked against their names, for as long as size and times of the file stay.

    A file younger than two seconds is not remembered: a second change might not show in its times.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, Stamp] = self._load()
        self._changed = False

    def check(self, path: Path) -> None:
        """Check a shard once. Raises `DataError` if it is damaged."""
        stamp = stamp_of(path)
        if self._known.get(path.name) == stamp:
            return
        check_digest(path)
        if time.time_ns() - max(stamp[1:]) >= SETTLED_S * 1e9:
            self._known[path.name] = stamp
            self._changed = True

    def save(self) -> None:
        """Write what is known, whole. Two jobs at once: the last one wins, and the other's shards are checked once more."""
        if self._changed:
            write_text(self.file, json.dumps(self._known, separators=(",", ":")))
            self._changed = False

    def _load(self) -> dict[str, Stamp]:
        try:
            stored = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}


def stamp_of(path: Path) -> Stamp:
    """Size and times (modified, changed; ns) of a file. The second cannot be set back by hand."""
    info = path.stat()
    return [info.st_size, info.st_mtime_ns, info.st_ctime_ns]
