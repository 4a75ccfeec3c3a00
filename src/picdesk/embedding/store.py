"""The store: trunk features kept per item, so that each picture and each text is encoded once ever.

A *space* is one folder: everything that features depend on besides the item (weights, preprocessing, tokenizer, precision) is
in its fingerprint, which names it. Inside, an item's key is the digest of its content (the picture's bytes, the text), so a
renamed file or a reordered table encodes nothing, and a changed one is simply another key. Features lie in shards, safetensors
files written whole and named by their own content; a shard whose name and content disagree is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from picdesk.errors import DataError
from picdesk.files import digest_of, written_whole
from picdesk.interfaces import Modality

KEY_BYTES = 16


def content_key(content: bytes | str) -> bytes:
    """The 16-byte key of a picture's bytes or of a text."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


class Space:
    """Features of one trunk: a dictionary from item key to vector, on disk."""

    def __init__(self, folder: Path, fingerprint: str, width: int) -> None:
        self.folder, self.fingerprint, self.width = folder, fingerprint, width
        self._place: dict[bytes, tuple[int, int]] = {}
        self._shards: list[NDArray[np.float32]] = []
        self._seen: set[str] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def refresh(self) -> None:
        """Take in shards that are new on disk, for instance another job's."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._seen:
                self._take_in(path.name, path.read_bytes())

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
            out[rows] = self._shards[shard][places[rows, 1]]
        return out

    def put(self, keys: Sequence[bytes], features: NDArray[np.float32]) -> None:
        """Add one shard. Raises `DataError` for features that are not finite or not of the space's width."""
        if features.shape != (len(keys), self.width) or not np.isfinite(features).all():
            raise DataError(
                f"store: features of shape {features.shape} (finite: {np.isfinite(features).all()}) refused"
            )
        tensors: dict[str, NDArray[Any]] = {
            "features": np.ascontiguousarray(features, np.float32),
            "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES),
        }
        content = save(tensors, {"space": self.fingerprint})
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.safetensors"
        with written_whole(self.folder / name) as temporary:
            temporary.write_bytes(content)
        self._take_in(name, content)

    def _take_in(self, name: str, content: bytes) -> None:
        """Check one shard against its name and its space, and list its keys."""
        path = self.folder / name
        if hashlib.sha256(content).hexdigest()[:32] != path.stem:
            raise DataError(f"store: {path} is damaged (its content does not match its name); delete it and run again")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if header.get("__metadata__", {}).get("space") != self.fingerprint:
            raise DataError(f"store: {path} belongs to another space than {self.fingerprint[:12]}; delete it")
        tensors = load(content)
        if tensors["features"].shape[1] != self.width:
            raise DataError(f"store: {path} holds features of width {tensors['features'].shape[1]}, not {self.width}")
        shard = len(self._shards)
        self._shards.append(tensors["features"])
        for row, key in enumerate(tensors["keys"]):
            self._place.setdefault(key.tobytes(), (shard, row))
        self._seen.add(name)


class Store:
    """All spaces under one folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def space(self, modality: Modality, trunk_fingerprint: str, precision: str, width: int) -> Space:
        """The space for one trunk at one precision; made where it does not exist."""
        fingerprint = digest_of([modality, trunk_fingerprint, precision, width])
        folder = self.root / f"{modality}-{fingerprint[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        return Space(folder, fingerprint, width)
