"""What several test files need."""

import os
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything asks how many threads it may have
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(
    prefix="picdesk-state-"
)  # a key of the tests' own, for all their processes

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def data_root() -> Path:
    """The folder of real photographs; the test is skipped where there is none."""
    root = Path(os.environ.get("PICDESK_DATA_ROOT", PROJECT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real photographs at {root} (set PICDESK_DATA_ROOT)")
    return root
