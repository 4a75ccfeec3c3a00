"""A small data set out of the demo set, and one training job on it that all tests here share."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import PROJECT
from tests.doors import Ran, run

SMALL = 120


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first drawings of the demo set as demo.parquet."""
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


@pytest.fixture
def trained(capfd: pytest.CaptureFixture[str], outputs: Path, settings: tuple[str, ...]) -> Ran:
    """The shared training job; run by the first test that asks."""
    if outputs not in _JOBS:
        _JOBS[outputs] = run(capfd, outputs, "train", *settings)
    return _JOBS[outputs]


_JOBS: dict[Path, Ran] = {}
