"""What several test files need. It loads nothing large: where processes run the tests, the first one runs none."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything asks how many threads it may have
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    atexit.register(
        os._exit, 0
    )  # last of all: Python takes seconds to take all libraries down, and nobody reads the status

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its pings are told on the standard error of whatever test runs then
os.environ.setdefault("LANCEDB_LOG", "error")  # it tells of every table that is made

import pytest

from tests import root_logging
from tests.folders import new_folder

os.environ["XDG_STATE_HOME"] = str(new_folder())  # a key of the tests' own, for all their processes

if TYPE_CHECKING:
    from tests.doors import Ran

SMALL = 120
PROJECT = Path(__file__).resolve().parents[1]
os.fsync = lambda file: None  # in this process alone: thousands of small files would wait for the disk

root_logging.begin()
gc.disable()  # until the tests are found: what imports make stays, and looking through it takes half of the time to find them


def pytest_collection_finish() -> None:
    """Look for cycles again, in what the tests make."""
    if "pytorch_lightning" in sys.modules:
        from tests import lightning_memory

        lightning_memory.begin()
    if "picdesk.backbones.lite" in sys.modules:
        from tests import trunk_memory

        trunk_memory.begin()
    if "picdesk.report.figures" in sys.modules:
        from tests import chart_memory

        chart_memory.begin()
    gc.freeze()
    atexit.register(gc.unfreeze)
    gc.set_threshold(
        100_000
    )  # what a test makes goes by itself for the most part; looking took a twentieth of the suite
    gc.enable()


def pytest_sessionfinish() -> None:
    """Look for cycles once, and let pytest, which does so five times as it ends, have nothing to look at."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def data_root() -> Path:
    """The folder of real photographs; the test is skipped where there is none."""
    root = Path(os.environ.get("PICDESK_DATA_ROOT", PROJECT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real photographs at {root} (set PICDESK_DATA_ROOT)")
    return root


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that comes to read its data set fails: what is tested is told before."""
    from picdesk.assembly.session import Session

    def read(*_: object) -> None:
        raise AssertionError("the data set was read")

    monkeypatch.setattr(Session, "read_and_split", read)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first drawings of the demo set as demo.parquet."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("small")
    table = pq.read_table(PROJECT / "data" / "demo.parquet").slice(0, SMALL)
    pq.write_table(table, folder / "demo.parquet")
    return folder


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="session")
def settings(small_data: Path) -> tuple[str, ...]:
    return (f"data.root={small_data}", "trainer.max_epochs=3", "training.batch_size=32", "bootstrap.resamples=200")


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a store with all features of `small_data` is left by the first process that has encoded them, for all of them."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "features"


@pytest.fixture
def trained(capfd: pytest.CaptureFixture[str], outputs: Path, settings: tuple[str, ...], features: Path) -> Ran:
    """The shared training job; run by the first test that asks."""
    from tests.doors import run

    if outputs not in _JOBS:
        borrow_features(features, outputs / "store")
        _JOBS[outputs] = run(capfd, outputs, "train", *settings)
        lend_features(outputs / "store", features)
    return _JOBS[outputs]


def borrow_features(features: Path, store: Path) -> None:
    """Fill `store` with all features of `small_data`, if a process has left them."""
    if features.is_dir():
        shutil.copytree(features, store, dirs_exist_ok=True)


def lend_features(store: Path, features: Path) -> None:
    """Leave a copy of `store` there, at once and whole, unless another process was first."""
    if features.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=features.parent) as own, suppress(OSError):
        shutil.copytree(store, Path(own) / "store")
        (Path(own) / "store").rename(features)


_JOBS: dict[Path, Ran] = {}
