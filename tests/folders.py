"""Folders for what tests of a process share: they go as the process ends."""

import atexit
import shutil
import tempfile
from pathlib import Path

_ALL = tempfile.mkdtemp(prefix="picdesk-tests-")
atexit.register(shutil.rmtree, _ALL, ignore_errors=True)


def new_folder() -> Path:
    """An empty folder that lasts as long as the process."""
    return Path(tempfile.mkdtemp(dir=_ALL))
