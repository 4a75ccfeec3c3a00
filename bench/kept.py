"""Rows of a results table kept as JSON beside it, so that a bench may be run in parts, each in bounded time."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import faiss

RESULTS = Path(__file__).resolve().parent / "results"
Row = Mapping[str, object]


def merge_results(name: str, fresh: Mapping[str, Row]) -> dict[str, Row]:
    """Put rows in by their keys, replacing those of an earlier run; all rows there are now."""
    path = RESULTS / f"{name}.json"
    rows: dict[str, Row] = json.loads(path.read_text()) if path.is_file() else {}
    rows |= fresh
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def keep_rows(name: str, wanted: Callable[[str, Row], bool]) -> dict[str, Row]:
    """Drop the rows that are not wanted, as those of an earlier form of the bench; all rows there are now."""
    path = RESULTS / f"{name}.json"
    rows: dict[str, Row] = json.loads(path.read_text()) if path.is_file() else {}
    rows = {key: row for key, row in rows.items() if wanted(key, row)}
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def machine() -> str:
    """What a timing depends on, in words."""
    threads = faiss.omp_get_max_threads()
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({threads} used), {platform.machine()}, faiss {faiss.__version__}, load {load:.1f}"


def machines(rows: Iterable[Row]) -> str:
    """What the rows were measured on, each machine once with the span of its load."""
    loads: dict[str, list[float]] = {}
    for row in rows:
        words, _, load = str(row["machine"]).rpartition(", load ")
        loads.setdefault(words, []).append(float(load))
    return "; ".join(f"{words}, load {min(own):.1f} to {max(own):.1f}" for words, own in loads.items())
