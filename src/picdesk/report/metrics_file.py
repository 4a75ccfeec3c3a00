"""`metrics.json`: what was measured, in one form only, so that equal metrics are equal bytes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.errors import DataError, MissingFileError, first_line
from picdesk.files import write_json
from picdesk.interfaces import DIRECTIONS

MOST = 1e15
MOST_BYTES = 256 << 20
LOOK_ALIKES = "without_look_alikes"


def write_metrics(path: Path | str, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON: keys sorted at every level, floats in the shortest form that reads back to the same bits.

    Equal metrics give equal bytes, so nothing that varies from run to run (times) belongs here. Raises `DataError` naming
    the key of a number that is not finite.
    """
    write_json(path, _stable(metrics, "metrics"))


def read_metrics(path: Path | str) -> dict[str, Any]:
    """Read what `write_metrics` wrote. Raises `MissingFileError` or `DataError`."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such metrics; `evaluate.py` writes them into its output dir")
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, wanted an object of metrics")
    return content


def read_scores(path: Path | str) -> dict[str, Any]:
    """The metrics of a finished job: of one direction at least, each with numbers and intervals by name.

    Raises `DataError` for another file.
    """
    content = read_metrics(path)
    there = [direction for direction in DIRECTIONS if direction in content]
    if not there:
        raise DataError(f"{path}: no metrics of {' or '.join(DIRECTIONS)}")
    for direction in there:
        _check_direction(content[direction], f"{path}: {direction}")
    if "both" in content:
        _check_direction(content["both"], f"{path}: both", ())
    apart = content.get(LOOK_ALIKES, {})
    if not isinstance(apart, dict):
        raise DataError(f"{path}: {LOOK_ALIKES}: wanted metrics by direction")
    for direction in (direction for direction in DIRECTIONS if direction in apart):
        _check_direction(apart[direction], f"{path}: {LOOK_ALIKES}.{direction}")
    _check_size(content, f"{path}: ")
    return content


def _check_size(value: Any, where: str) -> None:
    """Raise `DataError` for a number, however deep it stands, that no metric can be: infinite, or of hundreds of digits."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        _check_size(one, f"{where}{str(key)[:40]}.")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _is_number(value):
        raise DataError(f"{where.rstrip('.')}: a number beyond all measure")


def _check_direction(part: Any, where: str, needed: tuple[str, ...] = ("hits@1", "queries")) -> None:
    """Raise `DataError` unless this is metrics by name, with intervals by name."""
    if not isinstance(part, dict) or not all(isinstance(part.get(key), dict) for key in ("metrics", "intervals")):
        raise DataError(f"{where}: wanted metrics and intervals")
    lacking = [name for name in needed if name not in part["metrics"]]
    if lacking:
        raise DataError(f"{where}: {', '.join(lacking)} is missing")
    for name, value in part["metrics"].items():
        if not _is_number(value):
            raise DataError(f"{where}: metrics.{name[:40]}: {str(value)[:40]!r} is not a number")
    for name, ends in part["intervals"].items():
        if not isinstance(ends, list) or len(ends) != 2 or not all(_is_number(end) for end in ends):
            raise DataError(f"{where}: intervals.{name[:40]}: two numbers are wanted")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises `DataError` naming it where it is none."""
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: {path.stat().st_size:,} bytes; no such file of a job is as large")
    try:
        return json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_each_once
        )
    except (ValueError, RecursionError) as error:  # of which broken UTF-8 and JSON are kinds
        raise DataError(f"{path}: not a JSON file: {first_line(error, 160)}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in it, and readers would not agree on which counts")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _stable(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _stable(value[name], f"{key}.{name}") for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_stable(item, f"{key}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "item") and callable(value.item):  # NumPy's and torch's scalars
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{key}: {value} is not a finite number")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise DataError(f"{key}: {type(value).__name__} cannot stand in a metrics file")
