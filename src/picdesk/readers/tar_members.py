"""What lies in a tar shard: its members by sample, and what is wrong with the shard. Nothing is unpacked."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from picdesk.data.sources import FilePart
from picdesk.files import POINTER, is_pointer
from picdesk.readers.gathering import Gathering

BLOCK, PIECE = 512, 1 << 20
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


@dataclass(frozen=True)
class Member:
    """One file in a shard: which sample it belongs to, the ending of its name in small letters, and where its bytes are."""

    key: str
    ending: str
    part: FilePart


@dataclass
class Unread:
    """Members that nothing read, by the ending of their names, with one of each to look at."""

    counts: Counter[str] = field(default_factory=Counter)
    seen: dict[str, FilePart] = field(default_factory=dict)

    def add(self, ending: str, part: FilePart) -> None:
        """Count a member."""
        self.counts[ending] += 1
        self.seen.setdefault(ending, part)


def members(path: Path, shown: str, gathering: Gathering[Any]) -> Iterator[Member]:
    """The regular files of a shard, in its order; what is none, and where the shard is damaged, is listed as left out."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            packed = _packing(stream)
            if packed:
                gathering.skip(
                    shown, f"the shard is compressed ({packed}); unpack it: pictures are read at their place in it"
                )
                return
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:") as shard:
                for info in shard:
                    found = _member(info, path, size, shown, gathering)
                    if found is not None:
                        yield found
                end = shard.offset
            _look_behind(stream, end, size, shown, gathering)
    except (
        tarfile.TarError,
        OSError,
        ValueError,
        OverflowError,
        EOFError,
    ) as error:  # damaged headers raise several kinds
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        told = POINTER if is_pointer(path) else words
        gathering.skip(shown, f"the shard is broken, or no tar file; read as far as it goes ({told})")


def _packing(stream: BinaryIO) -> str:
    head = stream.read(8)
    return next((name for start, name in PACKED.items() if head.startswith(start)), "")


def _member(info: tarfile.TarInfo, path: Path, size: int, shown: str, gathering: Gathering[Any]) -> Member | None:
    if info.isdir():
        return None
    if not info.isreg() or info.issparse():
        kind = "a link, which is never followed" if info.issym() or info.islnk() else "not a regular file"
        gathering.skip(f"{shown}: {info.name}", "a sparse file, which is not read" if info.issparse() else kind)
        return None
    if info.offset_data + info.size > size:
        raise tarfile.ReadError(f"unexpected end of data in {info.name!r}")
    folder, _, base = info.name.rpartition("/")
    stem, _, ending = base.partition(".")
    return Member(f"{folder}/{stem}" if folder else stem, ending.lower(), FilePart(path, info.offset_data, info.size))


def _look_behind(stream: BinaryIO, end: int, size: int, shown: str, gathering: Gathering[Any]) -> None:
    """An archive ends with blocks of zeros; tarfile stops without a word where they lack, and where more comes behind them."""
    stream.seek(end)
    if end >= size:
        gathering.notes.append(f"{shown}: the mark at the end of the archive is missing; the shard may be cut short")
        return
    while piece := stream.read(PIECE):
        if piece.strip(b"\0"):
            left = size - end
            gathering.skip(
                shown,
                f"{left:,} bytes behind the last member were not read: damaged, or a second archive behind the first",
            )
            return
