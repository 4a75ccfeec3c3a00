"""Where and why a TREC file cannot be read: looked for line by line, once the fast way has failed."""

import re
import shlex
from pathlib import Path

import numpy as np

from picdesk.errors import DataError

RUN_COLUMNS = ("query", "Q0", "item", "rank", "score", "tag")
QRELS_COLUMNS = ("query", "iteration", "item", "relevance")
GZIP = b"\x1f\x8b"


def fault(path: Path, columns: tuple[str, ...]) -> DataError:
    """The first line that cannot be used, as the error to raise."""
    with path.open("rb") as opened:
        if opened.read(2) == GZIP:
            return DataError(f"{path}: compressed by gzip; give the file itself: gunzip -k {shlex.quote(str(path))}")
    seen: dict[tuple[str, str], int] = {}
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            words = line.split()
            if words and (what := _fault_of(words, columns)):
                return DataError(f"{path}, line {number}: {what}")
            if words and columns == RUN_COLUMNS and seen.setdefault((words[0], words[2]), number) != number:
                first = seen[words[0], words[2]]
                return DataError(
                    f"{path}, line {number}: item {words[2]} stands twice for query {words[0]}: first in line {first}"
                )
    return DataError(f"{path}: cannot be read as {len(columns)} columns of UTF-8 text")


def _fault_of(words: list[str], columns: tuple[str, ...]) -> str:
    if len(words) != len(columns):
        return f"{len(words)} columns, wanted {len(columns)}: {' '.join(columns)}"
    for name, word in zip(columns, words, strict=True):
        if name in ("rank", "relevance") and not re.fullmatch(r"-?\d{1,18}", word):
            return f"the {name} is {word!r}, wanted a whole number"
        if name == "score" and not _finite(word):
            return f"the score is {word!r}, wanted a finite number of float32"
    return ""


def _finite(word: str) -> bool:
    try:
        with np.errstate(over="ignore"):
            return "_" not in word and bool(np.isfinite(np.float32(float(word))))
    except ValueError:
        return False
