"""bench/memory.py sees the peak of another process, and its page has the growth of each job by its own sizes."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(PROJECT / "bench"))
    import memory

    return memory


def row(count: int, peak: float | None) -> dict[str, object]:
    return {
        "job": "train",
        "count": count,
        "version": "now",
        "machine": "2 cores, load 0.1",
        "peak": peak,
        "seconds": 1.0,
    }


def test_the_page_has_bytes_an_item_from_one_size_to_the_next(bench) -> None:  # type: ignore[no-untyped-def]
    rows = {f"now train {n}": row(n, peak) for n, peak in ((1000, 1.0), (11_000, 1.04096), (111_000, None))}
    text = bench.page(rows)
    assert "| now | 11,000 | 1.04 | 0.04 | 4,096 | 2.00 | 1 |" in text
    assert "| now | 111,000 | more than 16 | | | |  |" in text


def test_a_peak_is_that_of_the_child_and_a_large_one_is_ended(bench, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    takes = "held = bytearray(300_000_000); import time; time.sleep(0.2)"
    peak = bench.peak_of(subprocess.Popen([sys.executable, "-c", takes]))
    assert 0.3 < peak < 0.4
    monkeypatch.setattr(bench, "BOUND", 0.1)
    assert bench.peak_of(subprocess.Popen([sys.executable, "-c", takes.replace("0.2", "60")])) is None


def test_the_jobs_name_doors_and_options_that_are_there(bench) -> None:  # type: ignore[no-untyped-def]
    assert set(bench.JOBS) == set(bench.WHAT)
    assert all((PROJECT / door).is_file() for door, *_ in bench.JOBS.values())
