"""Arrays of a file, which is closed again."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file by name."""
    with np.load(path) as stored:
        return dict(stored)
