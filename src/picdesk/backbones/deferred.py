"""Trunks that are loaded when somebody first looks into them: a job whose features all lie in the store needs none.

Building a trunk costs the import of its library, reading its weights and a digest over them: seconds, where the search of a small
gallery takes milliseconds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from picdesk.files import digest_of, write_json

log = logging.getLogger(__name__)
VERSION = 1
LIBRARIES = ("torch", "timm", "transformers", "tokenizers")


@dataclass(frozen=True)
class Deferred:
    """A frozen trunk that is not there yet: `load` makes it, out of `files` alone and by `settings`; it comes in evaluation mode.

    Two that agree in both, under the same releases of the libraries, have the same weights and preprocessing.
    """

    load: Callable[[], nn.Module]
    files: tuple[Path, ...]
    settings: Mapping[str, Any]

    def key(self) -> str:
        """Digest of the settings, the libraries' releases, and where the files lie, how large and how old they are."""
        stats = [(str(path.resolve()), path.stat()) for path in self.files]
        files = [[place, info.st_size, info.st_mtime_ns, info.st_ctime_ns] for place, info in stats]
        return digest_of([VERSION, dict(self.settings), files, releases()])


@cache
def releases() -> Mapping[str, str]:
    """The release of each library that makes weights and preprocessing out of files."""
    return {name: metadata.version(name) for name in LIBRARIES}


class Children(dict[str, Any]):
    """The children of a module, of which some are `Deferred`: each is loaded when it, or all children, are asked for.

    Loading draws no random numbers from the job's own (a library's first values of the weights are made and then replaced), and
    gives weights that can be trained, wherever it happens.
    """

    def __init__(self, children: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__(children)
        self._turn = threading.RLock()
        self._resting: frozenset[str] = frozenset()

    def deferred(self, name: str) -> Deferred | None:
        """What the child will be made of, if it is not loaded."""
        child = super().get(name)
        return child if isinstance(child, Deferred) else None

    def loaded(self) -> list[nn.Module]:
        """The children that are there."""
        return [child for child in super().values() if isinstance(child, nn.Module)]

    def __getitem__(self, name: str) -> Any:
        child = super().__getitem__(name)
        if isinstance(child, Deferred):
            with self._turn:
                child = super().__getitem__(name)
                if isinstance(child, Deferred):
                    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
                        child = child.load().eval()
                    super().__setitem__(name, child)
        return child

    def get(self, name: str, default: Any = None) -> Any:
        """The child, loaded; `default` if there is none of this name."""
        known = name in self
        return self[name] if known else default

    def items(self) -> Any:
        """Names and children, all loaded, but for those at rest."""
        return {name: self[name] for name in self if name not in self._resting}.items()

    def values(self) -> Any:
        """The children, all loaded, but for those at rest."""
        return dict(self.items()).values()

    @contextmanager
    def rest(self, names: Iterable[str]) -> Iterator[None]:
        """Within it whoever goes through the children meets none of `names`, which are not loaded for that either."""
        before, self._resting = self._resting, self._resting | frozenset(names)
        try:
            yield
        finally:
            self._resting = before

    def copy(self) -> Children:
        """Others of the same children; what is deferred is loaded by each for itself."""
        return Children(super().items())

    def __reduce__(self) -> tuple[Any, ...]:
        return Children, ([(name, self[name]) for name in self],)  # those at rest too


class KnownFingerprints:
    """Remembers, in `file`, the fingerprints of trunks by `Deferred.key`, so that a trunk need not be built to know it.

    A file that is damaged, or of another version, counts as empty; one that cannot be written is done without.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def beside(cls, store: Path) -> Self:
        """Those that jobs on a store remember."""
        return cls(store / "trunks.json")

    def get(self, key: str) -> str | None:
        """The fingerprint, if it is known."""
        return self._read().get(key)

    def put(self, key: str, fingerprint: str) -> None:
        """Remember a fingerprint."""
        known = self._read() | {key: fingerprint}
        try:
            write_json(self.file, {"version": VERSION, "sha256": digest_of(known), "fingerprints": known})
        except OSError as error:
            log.debug("%s: cannot be written (%s)", self.file, error)

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            known = {str(key): str(value) for key, value in kept["fingerprints"].items()}
            if (kept["version"], kept["sha256"]) != (VERSION, digest_of(known)):
                raise ValueError
            return known
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            log.warning("%s: damaged, or of another version; what it held is found out anew", self.file)
            return {}
