"""Files written whole or not at all, folders that one process changes at a time, and content hashes."""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picdesk.errors import ConfigError
from picdesk.process import machine, unfinished

log = logging.getLogger(__name__)
LOCK = ".lock"
WEIGHTS_FILE = "model.safetensors"
"""The name of the weights in a checkpoint's folder."""
LFS_POINTER = b"version https://git-lfs"
POINTER = "a Git LFS pointer stands in place of the file; run `git lfs pull`"


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; on a clean exit it is synced and takes the name `path` in one step.

    If the block raises, or the process dies, what stood at `path` before is untouched. What dead processes left unfinished in
    the folder goes. Raises `OSError` that names `path`, also where a library has words of its own for a full disk.
    """
    path = Path(path)
    with machine.naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.sweep(path.parent)
        begin = unfinished.name_for(path)
        handle, name = tempfile.mkstemp(prefix=begin, suffix=f".part{path.suffix[:20]}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        unfinished.note_begin(temporary)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            unfinished.note_end(temporary)


@contextmanager
def workshop(path: Path | str) -> Iterator[Path]:
    """Give an empty folder beside `path` to work in, on the same disk; at the end it goes, unless it was given another name."""
    path = Path(path)
    with machine.naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.sweep(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=unfinished.name_for(path), suffix=".part", dir=path.parent))
        unfinished.note_begin(temporary)
        try:
            yield temporary
        finally:
            unfinished.note_end(temporary)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON whole: two spaces, keys in the order given, NaN refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class Doubled(dict[str, Any]):
    """A JSON object in which a key stands twice: one of the two values is lost, so it is no good as a record."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` (`not JSON (...)`) whatever is wrong: nesting and numbers without end too."""

    def make_table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else Doubled(pairs)

    try:
        return json.loads(text, object_pairs_hook=make_table)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("not JSON (nested too deeply)") from None
    except ValueError:
        raise ValueError("not JSON that can be read (a whole number of thousands of digits)") from None


def json_objects(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines, each with the number of its line; empty lines are passed over.

    Raises `ValueError` (`line 3: not JSON (...)`) for a line that is something else.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json_object(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        yield number, row


def json_object(text: str) -> dict[str, Any]:
    """The object of a JSON text. Raises `ValueError` for anything else, and for one in which a key stands twice."""
    row = json_value(text)
    if not isinstance(row, dict):
        raise ValueError(f"an object is needed, found {type(row).__name__}")
    if isinstance(row, Doubled):
        raise ValueError(f"the key {row.twice!r} stands twice")
    return row


def is_pointer(path: Path) -> bool:
    """Whether a file is the pointer that Git LFS puts in the place of one that was not pulled; not one that cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's content, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256, in hex, of a value's canonical JSON: the same for equal values on every platform."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def hold(folder: Path | str) -> Iterator[None]:
    """Change a folder while no other process does: from what is read of it to what is written. Waits for its turn.

    The system frees the folder when the process ends, however it ends. Not to be nested. Raises `ConfigError`.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a")
    except OSError as error:
        raise ConfigError(f"{folder}: it must be a folder that can be written to ({error.strerror})") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process is changing it; waiting until it is done", folder)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
