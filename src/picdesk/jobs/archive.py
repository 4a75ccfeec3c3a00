"""A job in one file for a reviewer: manifest, run, qrels, metrics, config, its page, and the checkpoint where it is wanted.

The archive of the same files is the same bytes: names sorted, no times, no owners. Unpacking trusts nothing in it. The page is
there to be looked at: no number is read from it, no digest covers it, and what is unpacked runs no script.
"""

from __future__ import annotations

import gzip
import re
import shutil
import struct
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

from picdesk.errors import ConfigError, DataError, MissingFileError, UserError
from picdesk.files import workshop, written_whole
from picdesk.process.foreign_folders import links_out
from picdesk.report.manifest import BESIDE, Manifest
from picdesk.report.page import without_script
from picdesk.report.same_as import follow_pointer

MANIFEST = "manifest.json"
CHECKPOINT = ("checkpoint/config.yaml", "checkpoint/model.safetensors")
PAGE = "index.html"
ALLOWED = frozenset((MANIFEST, *BESIDE, *CHECKPOINT, PAGE))
MOST_BYTES = 16 << 30
_CHUNK = 1 << 20
DAMAGED = (  # what tarfile and gzip raise for odd headers, sparse ones of pax among them
    *(tarfile.TarError, EOFError, OSError, zlib.error, ValueError, ArithmeticError, LookupError, TypeError),
    *(AttributeError, RecursionError, struct.error),
)


class Bounded:
    """A stream that refuses to give more than `most` bytes, whatever a compressed file says of itself."""

    def __init__(self, stream: IO[bytes], most: int, name: str) -> None:
        self.stream, self.left, self.most, self.name = stream, most, most, name

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        if size > self.left + _CHUNK:
            raise DataError(f"{self.name}: holds more than {self.most:,} bytes; nothing was unpacked")
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.name}: holds more than {self.most:,} bytes; nothing was unpacked")
        return data


def pack(folder: Path | str, file: Path | str, checkpoint: bool = False) -> list[str]:
    """Put the job in `folder` into `file` (.tar.gz), its checkpoint too if asked; the names that went in.

    Raises `DataError` if a file is not as the job left it, `MissingFileError` where one is missing.
    """
    folder = Path(folder)
    done = follow_pointer(folder)
    if done != folder:
        raise MissingFileError(f"{folder}: a job that was done before; its files are in {done}, which can be packed")
    manifest = Manifest.read(folder / MANIFEST)
    manifest.check_files(folder)
    page = [PAGE] if (folder / PAGE).is_file() else []
    names = sorted([MANIFEST, *manifest.files, *page, *(CHECKPOINT if checkpoint else ())])
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise MissingFileError(f"{folder / missing[0]}: no such file; checkpoints are in the output dir of train.py")
    odd = [name for name in names if name not in ALLOWED]
    if odd:
        raise DataError(f"{folder / MANIFEST}: files: {odd[0]!r} is not a file that a job packs")
    away = next((link for name in names if (link := links_out(folder / name, folder))), "")
    if away:
        raise DataError(f"{away}: is a link that leads out of the job's folder; nothing was packed")
    with (
        written_whole(file) as temporary,
        temporary.open("wb") as stream,
        gzip.GzipFile("", "wb", 6, stream, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = (folder / name).stat().st_size, 0o644
            with (folder / name).open("rb") as content:
                archive.addfile(entry, content)
    return names


def unpack(file: Path | str, folder: Path | str, most_bytes: int = MOST_BYTES) -> list[str]:
    """Unpack into `folder`, which must be new or empty; the names that were in it. All or nothing.

    Only the plain files that `pack` writes are taken: raises `DataError` for any other name (absolute, `..`, hidden), for a
    link, a device or a folder, for a name that comes twice, beyond `most_bytes` in all, and for a file that is not what the
    manifest inside says.
    """
    file, folder = Path(file), Path(folder)
    if not file.is_file():
        raise MissingFileError(f"{file}: no such archive")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there and is not an empty folder; give a new one")
    with workshop(folder) as temporary:
        names = _take_out(file, temporary, most_bytes)
        Manifest.read(temporary / MANIFEST).check_files(temporary)
        if PAGE in names:
            _tame(temporary / PAGE, file)
        temporary.chmod(0o755)
        temporary.replace(folder)
    return names


def _take_out(file: Path, into: Path, most: int) -> list[str]:
    names: list[str] = []
    try:
        with gzip.open(file) as zipped:
            stream: Any = zipped
            bounded: Any = Bounded(stream, most, file.name)
            archive = tarfile.open(fileobj=bounded, mode="r|")  # noqa: SIM115
            for entry in archive:
                _refuse_odd(entry, names, file)
                content = archive.extractfile(entry)
                assert content is not None
                target = into / entry.name
                target.parent.mkdir(exist_ok=True)
                with target.open("xb") as out:
                    shutil.copyfileobj(content, out, _CHUNK)
                names.append(entry.name)
    except UserError:
        raise
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the machine, not of the archive: gzip's own errors have no number
        raise DataError(f"{file}: not an archive that can be read ({str(error)[:200]})") from None
    if MANIFEST not in names:
        raise DataError(f"{file}: no {MANIFEST} in it; it is not a packed job")
    return names


def _tame(page: Path, file: Path) -> None:
    try:
        html = page.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{file}: {PAGE}: not UTF-8; nothing was unpacked") from None
    page.write_text(without_script(html, f"{file}: {PAGE}"), encoding="utf-8", newline="")


def _refuse_odd(entry: tarfile.TarInfo, names: list[str], file: Path) -> None:
    shown = re.sub(r"[^\x20-\x7e]", "?", entry.name)[:100]
    if entry.name not in ALLOWED:
        raise DataError(f"{file}: {shown!r} is none of the files of a packed job; nothing was unpacked")
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
        raise DataError(
            f"{file}: {shown!r} is no plain file but a link, a folder, a device or sparse; nothing was unpacked"
        )
    if entry.name in names:
        raise DataError(f"{file}: {shown!r} is in it twice; nothing was unpacked")
