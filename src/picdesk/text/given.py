"""What somebody gives in Python, looked at where it comes in: a text, several, a number, a file. Raises `ConfigError`."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError, MissingFileError, short_repr

LARGEST = sys.float_info.max


def in_one_line(value: Any) -> str:
    """A value in one line."""
    return " ".join(short_repr(value).split())


def whole_number(key: str, value: Any, least: int = 1) -> int:
    """A whole number of at least that many. Raises `ConfigError` for anything else."""
    number = None if isinstance(value, bool) else index_of(value)
    if number is None or number < least:
        raise ConfigError(f"{key}={in_one_line(value)}: a whole number, {least} or more")
    return number


def index_of(value: Any) -> int | None:
    """What Python, or numpy, has as a whole number; None for anything else."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def number_from(key: str, value: Any, told: str, low: float = -LARGEST, high: float = LARGEST) -> float:
    """A number from `low` to `high`, no `nan` and none without end; `told` says which is needed."""
    try:
        number = float(value) if not isinstance(value, str | bytes | bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not low <= number <= high:
        raise ConfigError(f"{key}={in_one_line(value)}: {told}")
    return number


def text_from(key: str, value: Any) -> str:
    """One text, of whole characters."""
    if not isinstance(value, str):
        raise ConfigError(f"{key}={in_one_line(value)}: a text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{key}={in_one_line(value)}: half a character stands in it, which no text has") from None
    return value


def texts_from(key: str, values: Any) -> list[str]:
    """Several texts; one text alone is not taken for its letters."""
    return [text_from(f"{key}[{i}]", value) for i, value in enumerate(list_from(key, values, "texts"))]


def list_from(key: str, values: Any, of_what: str) -> list[Any]:
    """Several things out of a list, or of whatever gives them one after the other."""
    alone = isinstance(values, str | bytes | bytearray | os.PathLike | Mapping)
    if alone or not isinstance(values, Iterable):
        raise ConfigError(f"{key}={in_one_line(values)}: a list of {of_what} is needed")
    return list(values)


def path_from(key: str, value: Any) -> Path:
    """A file or a folder by its name."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise ConfigError(f"{key}={in_one_line(value)}: the name of a file or a folder is needed")
    return Path(value).expanduser()


def content_of(key: str, value: Any) -> bytes:
    """The content of a picture's file that is given by its name, as such, or open in Pillow. Raises `MissingFileError` too."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    try:
        if isinstance(value, str | os.PathLike):
            return path_from(key, value).read_bytes()
        from PIL import Image

        from picdesk.rasters import as_file

        if isinstance(value, Image.Image):
            return as_file(value)
    except FileNotFoundError:
        raise MissingFileError(f"{key}={value}: no such file") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{key}={in_one_line(value)}: cannot be read ({reason})") from None
    raise ConfigError(
        f"{key}={in_one_line(value)}: the name of a file, its content as bytes, or an image of Pillow is needed"
    )
