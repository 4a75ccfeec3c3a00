"""One reader a file format. Each takes plain keywords and gives a `Collection` by `read()`."""

import importlib
import pkgutil
from typing import Any

from picdesk.parts import PARTS


def __getattr__(name: str) -> Any:
    """A reader by its name alone, as configs name it: the part of that name which a file of this folder defines."""
    if name[:1].isupper():
        for module in pkgutil.iter_modules(__path__, f"{__name__}."):
            found = getattr(importlib.import_module(module.name), name, None)
            if found is not None and PARTS.get(f"{module.name}.{name}") is found:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
