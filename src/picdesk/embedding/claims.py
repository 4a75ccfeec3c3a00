"""Claims: which job encodes what, so that jobs at work on one space at once share it and never do the same item twice.

A job reserves keys by writing them into a file of its own, which it holds locked (`flock`) for as long as it lives: the system
gives the lock back when the process ends, however it ends, so a killed job's claims fall at once. Reading and writing claims
happens in turns, under one lock per space.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from picdesk.errors import ConfigError

LOCK = "lock"


class Claims:
    """The claims in one folder, of this job and of others. The claim file is made at the first claim."""

    def __init__(self, folder: Path, key_bytes: int) -> None:
        self.folder, self.key_bytes = folder, key_bytes
        self._own = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.claim"
        self._handle: int | None = None
        self._held: dict[bytes, None] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the space's lock, and hold it. Not to be nested."""
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            lock(handle, self.folder)
            yield
        finally:
            os.close(handle)

    def others(self) -> set[bytes]:
        """Keys claimed by other living jobs; files of dead ones are removed. To be called in one's turn."""
        keys: set[bytes] = set()
        for path in self.folder.glob("*.claim"):
            if path != self._own:
                keys |= self._read(path)
        return keys

    def clear_dead(self) -> None:
        """Remove claim files of jobs that were killed, if there are any."""
        if any(path != self._own for path in self.folder.glob("*.claim")):
            with self.turn():
                self.others()

    def add(self, keys: Sequence[bytes]) -> None:
        """Claim keys. To be called in one's turn, with keys that nobody else holds."""
        self._held.update(dict.fromkeys(keys))
        self._write()

    def drop(self, keys: Sequence[bytes]) -> None:
        """Give keys back: they are in the store now. To be called in one's turn."""
        for key in keys:
            self._held.pop(key, None)
        self._write()

    def close(self) -> None:
        """Give everything back."""
        self._held.clear()
        handle, self._handle = self._handle, None
        if handle is not None:
            self._own.unlink(missing_ok=True)
            os.close(handle)

    def _write(self) -> None:
        if self._handle is None:
            self._handle = os.open(self._own, os.O_RDWR | os.O_CREAT, 0o644)
            lock(self._handle, self.folder)
        # In place, not written whole: the lock is on this very file, and a half-written one has a dead owner.
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, b"".join(self._held), 0)

    def _read(self, path: Path) -> set[bytes]:
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return set()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            data = os.pread(handle, os.fstat(handle).st_size, 0)
            return {data[at : at + self.key_bytes] for at in range(0, len(data), self.key_bytes)}
        else:
            path.unlink(missing_ok=True)
            return set()
        finally:
            os.close(handle)


def lock(handle: int, folder: Path) -> None:
    """Take an exclusive lock. Raises `ConfigError` on a file system that has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        raise ConfigError(
            f"paths.store={folder.parent}: its file system has no file locks ({error.strerror}); choose another"
        ) from None
