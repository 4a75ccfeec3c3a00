"""Where picture bytes come from: files, parts of files, a column of a table, or nowhere. All satisfy `PictureBytes`."""

import bisect
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picdesk.collection import Chosen, Collection
from picdesk.errors import DataError
from picdesk.interfaces import PictureBytes
from picdesk.process import machine


@dataclass(frozen=True)
class PictureFiles:
    """One file a picture; the paths are resolved and known to lie inside the data folder."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, i: int) -> tuple[Path, str]:
        """File of picture `i`, and the name of its place."""
        return self.paths[i], str(self.paths[i])

    def read(self, i: int) -> bytes:
        """Content of the file. Raises `DataError` if it went away, cannot be read, or became a pipe, which might never end."""
        try:
            if not stat.S_ISREG(self.paths[i].stat().st_mode):
                raise DataError(f"picture {self.paths[i].name}: is no regular file any more")
            return self.paths[i].read_bytes()
        except OSError as error:
            machine.refuse(error)
            raise DataError(f"picture {self.paths[i].name}: cannot be read ({error.strerror or error})") from None


@dataclass(frozen=True)
class PictureChunks:
    """Pieces of a binary Arrow column in memory, one after the other; piece k begins at row `starts[k]`."""

    pieces: list[Any]
    starts: list[int]

    def add(self, pieces: Iterable[Any]) -> int:
        """Append pieces; the row at which the first one begins."""
        first = self.starts[-1]
        for piece in pieces:
            self.pieces.append(piece)
            self.starts.append(self.starts[-1] + len(piece))
        return first

    def read(self, row: int) -> bytes:
        """Bytes in a row; empty for a null."""
        piece = bisect.bisect_right(self.starts, row) - 1
        value = self.pieces[piece][row - self.starts[piece]]
        return bytes(value.as_buffer()) if value.is_valid else b""


@dataclass(frozen=True)
class PictureColumn:
    """Pictures that lie in memory as a column of bytes; picture `i` is row `rows[i]`."""

    chunks: PictureChunks
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`."""
        return self.chunks.read(self.rows[i])


@dataclass(frozen=True)
class PictureMix:
    """Pictures of which some lie in memory, as rows of a column, and the others in files."""

    chunks: PictureChunks
    places: tuple[int | Path, ...]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`. Raises `DataError` if its file cannot be read."""
        place = self.places[i]
        return self.chunks.read(place) if isinstance(place, int) else PictureFiles((place,)).read(0)


@dataclass(frozen=True)
class Joined:
    """The pictures of several sources, one source after the other."""

    sources: tuple[PictureBytes, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def place(self, i: int) -> tuple[PictureBytes, int]:
        """The source of picture `i`, and its place there. Raises `IndexError`."""
        for source in self.sources:
            if i < len(source):
                return source, i
            i -= len(source)
        raise IndexError(i)

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`."""
        source, place = self.place(i)
        return source.read(place)


def origin(source: PictureBytes, i: int) -> tuple[PictureBytes, int]:
    """The source that picture `i` really comes from, and its place there, seen through any number of `Chosen` and `Joined`."""
    while isinstance(source, Chosen | Joined):
        source, i = source.place(i) if isinstance(source, Joined) else (source.source, int(source.rows[i]))
    return source, i


def file_of(collection: Collection, i: int) -> str:
    """Path of picture `i`, in its shard where it is a part of one; "" where it is in no file of its own."""
    source, place = origin(collection.pictures, i)
    return source.file(place)[1] if isinstance(source, PictureFiles | PictureParts) else ""


@dataclass(frozen=True)
class FilePart:
    """Some bytes inside a larger file, such as a member of a tar shard."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes. Raises `DataError` if the file went away or became shorter."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            machine.refuse(error)
            raise DataError(f"{self.path.name}: cannot be read ({error.strerror or error})") from None
        if len(data) != self.size:
            raise DataError(f"{self.path.name}: ends before byte {self.offset + self.size}")
        return data


@dataclass(frozen=True)
class PictureParts:
    """Pictures that are parts of larger files."""

    parts: tuple[FilePart, ...]

    def __len__(self) -> int:
        return len(self.parts)

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`."""
        return self.parts[i].read()

    def file(self, i: int) -> tuple[Path, str]:
        """File that picture `i` lies in, and the name of its place there."""
        part = self.parts[i]
        return part.path, f"{part.path}@{part.offset}+{part.size}"


@dataclass(frozen=True)
class NoPictures:
    """Stands for pictures whose bytes are not there, only their embeddings."""

    count: int

    def __len__(self) -> int:
        return self.count

    def read(self, i: int) -> bytes:
        """Raises `DataError`: there is nothing to read."""
        raise DataError(f"picture {i} has an embedding but no file; set data.folder to the folder of the pictures")


def has_pictures(collection: Collection) -> bool:
    """Whether there are bytes of pictures, not embeddings alone."""
    return not isinstance(origin(collection.pictures, 0)[0], NoPictures)
