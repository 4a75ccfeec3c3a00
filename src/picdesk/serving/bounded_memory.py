"""A bounded memory: what was made lately is there again, and nothing is made twice at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future


class Kept:
    """Bytes by key, at most `most` bytes of them; what was used least lately goes first. Safe for threads."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self.hits = self.misses = 0
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, Future[bytes]] = {}
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> bytes | None:
        """What is held under a key, or None."""
        with self._turn:
            found = self._held.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._held.move_to_end(key)
            return found

    def peek(self, key: Hashable) -> bytes | None:
        """The same, uncounted, and without making it any younger."""
        with self._turn:
            return self._held.get(key)

    def put(self, key: Hashable, value: bytes) -> None:
        """Hold a value; one that is larger than a quarter of all is not worth what it would push out."""
        if len(value) * 4 > self.most:
            return
        with self._turn:
            self.size += len(value) - len(self._held.pop(key, b""))
            self._held[key] = value
            while self.size > self.most:
                self.size -= len(self._held.popitem(last=False)[1])

    def get_or_make(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is held, or what `make` gives; threads that ask for the same at once wait for the one that makes it."""
        found = self.get(key)
        if found is not None:
            return found
        with self._turn:
            pending = self._making.get(key)
            own = Future[bytes]() if pending is None else None
            if own is not None:
                self._making[key] = own
        if own is None:
            assert pending is not None
            return pending.result()
        try:
            value = make()
            self.put(key, value)
            own.set_result(value)
            return value
        except BaseException as error:
            own.set_exception(error)
            raise
        finally:
            with self._turn:
                del self._making[key]

    def clear(self) -> None:
        """Hold nothing."""
        with self._turn:
            self._held.clear()
            self.size = 0
