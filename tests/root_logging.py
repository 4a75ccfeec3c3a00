"""pytest hangs its handlers on the root logger alone, in the tests' own processes.

Three times a test, twice each, it looks through all loggers for some that pass nothing on, and libraries make thousands of them.
"""

import logging

from _pytest.logging import catching_logs


def begin() -> None:
    """Put it in place; releases before 9.2 look at the root logger alone anyway."""
    if "attached_loggers" in catching_logs.__slots__:
        catching_logs.__enter__ = enter  # type: ignore[method-assign]


def enter(catching: "catching_logs[logging.Handler]") -> logging.Handler:
    """As pytest's, but for the loggers that pass nothing on."""
    root = logging.getLogger()
    root.addHandler(catching.handler)
    catching.attached_loggers.append(root)
    if catching.level is not None:
        catching.handler.setLevel(catching.level)
        catching.orig_level = root.level
        root.setLevel(min(root.level, catching.level))
    return catching.handler
