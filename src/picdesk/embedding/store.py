"""The store: trunk features kept per item, so that each picture and each text is encoded once ever.

A *space* is one folder: everything that features depend on besides the item (weights, preprocessing, tokenizer, precision,
decoding) is in its fingerprint, which names it, and stands in plain words in its `space.json`. Inside, an item's key is the
digest of its content (the picture's bytes, the text), so a renamed file or a reordered table encodes nothing, and a changed
one is simply another key. Features lie in shards: see `shards`. Which job encodes what: see `claims`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from picdesk.embedding.claims import Claims
from picdesk.embedding.shards import KEY_BYTES, Shard, Verified, open_shard, shard_paths, write_shard
from picdesk.embedding.unread import Kept
from picdesk.errors import ConfigError, DataError
from picdesk.files import digest_of, write_json
from picdesk.interfaces import Modality
from picdesk.process import machine, unfinished
from picdesk.weights import finite

DESCRIPTION = "space.json"
VERIFIED = "verified.json"
LEFTOVER_S = 60.0
PARTS = ("modality", "trunk", "precision", "width", "decode", "storage")
STORAGES = ("float32", "float16")
Given = ParamSpec("Given")
Made = TypeVar("Made")
Owner = TypeVar("Owner", bound="HasStore")


def content_key(content: bytes | str) -> bytes:
    """The 16-byte key of a picture's bytes or of a text: the head of its SHA-256."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).digest()[:KEY_BYTES]


class Space:
    """Features of one trunk: a dictionary from item key to vector, on disk."""

    def __init__(self, folder: Path, fingerprint: str, width: int, storage: str = "float32", label: str = "") -> None:
        self.folder, self.fingerprint, self.width, self.storage, self.label = folder, fingerprint, width, storage, label
        self.claims = Claims(folder, KEY_BYTES)
        self.texts = Kept(folder, self.claims)
        self._verified = Verified(folder / VERIFIED)
        self._place: dict[bytes, tuple[int, int]] = {}
        unfinished.sweep(folder)
        self.claims.clear_dead()
        self._shards: list[Shard] = []
        self._seen: set[str] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def refresh(self) -> None:
        """Take in shards that are new on disk, for instance another job's."""
        for path in shard_paths(self.folder):
            if path.name not in self._seen:
                self._verified.check(path)
                self._take_in(path)
        self._verified.save()

    def missing(self, keys: Iterable[bytes]) -> list[int]:
        """Positions of the keys that are not held, the first of equal keys only."""
        wanted: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            if key not in self._place:
                wanted.setdefault(key, position)
        return list(wanted.values())

    def get(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Features [n, width] float32 of the keys, in their order. Raises `KeyError` for a key that is not held."""
        out = np.empty((len(keys), self.width), np.float32)
        places = np.array([self._place[key] for key in keys], np.int64).reshape(-1, 2)
        for shard in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == shard)
            out[rows] = self._shards[shard].features[places[rows, 1]]
        return out

    def claim(self, keys: Sequence[bytes], most: int) -> list[bytes]:
        """Reserve the first `most` of the keys that are neither held nor being encoded by another job."""
        with self.claims.turn():
            self.refresh()
            taken = self.claims.others()
            free = list(islice((key for key in keys if key not in self._place and key not in taken), most))
            self.claims.add(free)
        return free

    def put(self, keys: Sequence[bytes], features: NDArray[np.float32]) -> None:
        """Add one shard. Raises `DataError` for features that are not finite, too large, or not of the space's width."""
        stored = self._check_features(len(keys), features)
        with self.claims.turn():
            self._remove_leftovers()
            path = write_shard(self.folder, self.fingerprint, keys, stored)
            self._take_in(path)
            self.claims.drop(keys)

    def _check_features(self, count: int, features: NDArray[np.float32]) -> NDArray[Any]:
        if features.shape != (count, self.width):
            raise DataError(
                f"store: features of shape {features.shape} refused for {count} items of width {self.width}"
            )
        with np.errstate(over="ignore"):
            stored = finite(features, f"features of {self.label}").astype(self.storage)
        if not np.isfinite(stored).all():
            raise DataError(
                f"encode.storage={self.storage}: features of {self.label} are too large for it; take float32"
            )
        return stored

    def _remove_leftovers(self) -> None:
        """Files that killed jobs of earlier versions were writing, which do not tell whose they are. Shards are written in one's
        turn only, so an unfinished one has no owner."""
        for path in self.folder.glob(".*.part.*"):
            if unfinished.NAME.fullmatch(path.name):
                continue
            if path.suffix == ".safetensors" or time.time() - path.stat().st_mtime > LEFTOVER_S:
                path.unlink(missing_ok=True)

    def _take_in(self, path: Path) -> None:
        opened = open_shard(path, self.fingerprint, self.width, self.storage)
        shard = len(self._shards)
        self._shards.append(opened)
        raw = opened.keys.tobytes()
        for row in range(len(opened.keys)):
            self._place.setdefault(raw[row * KEY_BYTES : (row + 1) * KEY_BYTES], (shard, row))
        self._seen.add(path.name)


class Store:
    """All spaces under one folder. A thread that encodes has its `turn`: spaces and their claims are one thread's at a time."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.turn = threading.RLock()
        self._spaces: dict[str, Space] = {}

    def space(
        self,
        modality: Modality,
        trunk_fingerprint: str,
        precision: str,
        width: int,
        *,
        decode: str = "full",
        storage: str = "float32",
        label: str = "",
    ) -> Space:
        """The space for one trunk at one precision; made where it does not exist.

        `decode` says how pictures are read (`full`, or `draft` with JPEG scaling), `storage` is float32 or float16, `label` is
        for people. Raises `DataError` naming the differing key where the folder describes itself as something else.
        """
        if storage not in STORAGES:
            raise ConfigError(f"encode.storage={storage}: choose one of {', '.join(STORAGES)}")
        values = (modality, trunk_fingerprint, precision, width, decode, storage)
        parts: dict[str, Any] = dict(zip(PARTS, values, strict=True))
        fingerprint = digest_of(parts)
        folder = self.root / f"{modality}-{fingerprint[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        describe(folder, parts, label)
        if fingerprint in self._spaces:
            self._spaces[fingerprint].refresh()
        else:
            self._spaces[fingerprint] = Space(folder, fingerprint, width, storage, label or folder.name)
        return self._spaces[fingerprint]


class HasStore(Protocol):
    """What encodes through a store."""

    store: Store


def in_turn(encode: Callable[Concatenate[Owner, Given], Made]) -> Callable[Concatenate[Owner, Given], Made]:
    """A method of what has a `store` that one thread at a time goes through, of all that have the same one."""

    @wraps(encode)
    def wait_and_encode(self: Owner, /, *given: Given.args, **named: Given.kwargs) -> Made:
        with self.store.turn:
            return encode(self, *given, **named)

    return wait_and_encode


def describe(folder: Path, parts: Mapping[str, Any], label: str) -> None:
    """Write what a space is, or compare what stands there, and mark it as used now. Raises `DataError` where they differ."""
    path = folder / DESCRIPTION
    if not path.is_file():
        write_json(path, {"label": label, **parts})
        return
    stored = read_description(folder)
    for key, value in parts.items():
        if stored.get(key) != value:
            raise DataError(
                f"store: {path}: {key} is {stored.get(key)!r} there and {value!r} here; delete {folder.name}"
            )
    with machine.naming(path):
        os.utime(path)


def read_description(folder: Path) -> dict[str, Any]:
    """What a space says of itself. Raises `DataError` where that cannot be read."""
    path = folder / DESCRIPTION
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    if not isinstance(stored, dict):
        raise DataError(f"store: {path} cannot be read; delete the folder {folder.name}")
    return stored
