"""Rows of a results table kept as JSON beside it, so that a bench may be run in parts, each in bounded time."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import faiss

RESULTS = Path(__file__).resolve().parent / "results"
Row = Mapping[str, object]
Found = TypeVar("Found")


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


def in_turn(
    said: str | None, rounds: int, measure: Callable[[Path], Found]
) -> tuple[dict[str, Path], dict[str, list[Found]]]:
    """Read `--before CHECKOUT` and `--rounds`, and measure that checkout of the project and ours in turn: both, by name, and what
    was found in each round."""
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=rounds)
    given = parser.parse_args()
    sides = {"before": given.before.resolve(), "now": RESULTS.parents[1]}
    found: dict[str, list[Found]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, checkout in sides.items():
            found[name].append(measure(checkout))
            print(name, found[name][-1], flush=True)
    return sides, found


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and from where to where the values go."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


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
