"""`metrics.json`: what was measured, in one form only, so that equal metrics are equal bytes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.errors import DataError, MissingFileError
from picdesk.files import write_json


def write_metrics(path: Path | str, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON: keys sorted at every level, floats in the shortest form that reads back to the same bits.

    Equal metrics give equal bytes, so nothing that varies from run to run (times) belongs here. Raises `DataError` naming
    the key of a number that is not finite.
    """
    write_json(path, _stable(metrics, "metrics"))


def read_metrics(path: Path | str) -> dict[str, Any]:
    """Read what `write_metrics` wrote."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such metrics; `evaluate.py` writes them into its output dir")
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, wanted an object of metrics")
    return content


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises `DataError` naming it where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None


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
