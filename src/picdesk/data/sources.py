"""Where picture bytes come from: files on disk, or a column of a table. Both satisfy `PictureBytes`."""

import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from picdesk.collection import Chosen
from picdesk.errors import DataError
from picdesk.interfaces import PictureBytes


@dataclass(frozen=True)
class PictureFiles:
    """One file a picture; the paths are resolved and known to lie inside the data folder."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, i: int) -> Path:
        """File of picture `i`."""
        return self.paths[i]

    def read(self, i: int) -> bytes:
        """Content of the file. Raises `DataError` if it went away or cannot be read."""
        try:
            return self.paths[i].read_bytes()
        except OSError as error:
            raise DataError(f"picture {self.paths[i].name}: cannot be read ({error.strerror or error})") from None


@dataclass(frozen=True)
class PictureColumn:
    """Pictures that lie in memory as a binary Arrow column; picture `i` is row `rows[i]`."""

    column: Any
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(chunk) for chunk in self.column.chunks)]

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`."""
        return cell_bytes(self.column, self._starts, self.rows[i])


def cell_bytes(column: Any, starts: list[int], row: int) -> bytes:
    """Bytes in a row of a chunked binary column whose chunks begin at `starts`; empty for a null."""
    chunk = bisect.bisect_right(starts, row) - 1
    value = column.chunks[chunk][row - starts[chunk]]
    return bytes(value.as_buffer()) if value.is_valid else b""


def origin(source: PictureBytes, i: int) -> tuple[PictureBytes, int]:
    """The source that picture `i` really comes from, and its place there, seen through any number of `Chosen`."""
    while isinstance(source, Chosen):
        i = int(source.rows[i])
        source = source.source
    return source, i
