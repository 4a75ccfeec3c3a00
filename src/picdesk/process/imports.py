"""Imports that a job can do without."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def spare_import(name: str, **parts: type) -> Iterator[None]:
    """Within, the library `name` is not imported; `parts`, by their names, stand for what is asked of it.

    For callers that only ask whether something comes of that library: nothing can where it was not imported. One that was is
    left alone.
    """
    if name in sys.modules:
        yield
        return
    empty = ModuleType(name)
    for part, stands in parts.items():
        setattr(empty, part, stands)
    above = name.split(".")[:-1]
    packages = {".".join(above[:n]): ModuleType(above[n - 1]) for n in range(1, len(above) + 1)}
    added = {key: module for key, module in {**packages, name: empty}.items() if key not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for key in added:
            sys.modules.pop(key, None)
