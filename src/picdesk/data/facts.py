"""What is known of a picture's content: its SHA-256 and how it looks. Remembered, so that no file is hashed or decoded twice."""

import hashlib
import json
import logging
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from picdesk.data.images import MAX_PIXELS, changes_of, open_picture
from picdesk.data.sources import PictureFiles, PictureParts, origin
from picdesk.errors import DataError
from picdesk.files import write_text
from picdesk.interfaces import PictureBytes
from picdesk.process import machine

log = logging.getLogger(__name__)
VERSION = 5  # what a newer `open_picture` refuses must not be known as good
HASH_SIDE = 64
THUMB_SIDE = 8


@dataclass(frozen=True)
class Look:
    """How a picture looks: its size in pixels, two 64-bit perceptual hashes, and itself at 8x8 (192 bytes, RGB).

    `changes` names what decoding changed of it (`images.changes_of`).
    """

    pixels: int
    phash: int
    dhash: int
    thumb: bytes
    changes: tuple[str, ...] = ()


class PictureFacts:
    """Remembers, in `file` (nowhere if None), (path, size, times) -> SHA-256, and SHA-256 -> `Look`.

    A file that was changed less than `settled_s` seconds ago is not remembered: a second change might not show in its times.
    Safe for threads. What two jobs save at once is merged at the next save; a file that cannot be read counts as empty.
    """

    def __init__(self, file: Path | str | None = None, settled_s: float = 2.0) -> None:
        self.file = Path(file) if file is not None else None
        self.settled_s = settled_s
        self._counting = threading.Lock()
        self.hashed = 0
        self.decoded = 0
        self._digests: dict[str, list[Any]] = {}
        self._looks: dict[str, list[Any]] = {}
        self._unsaved = False
        self._load()

    def digest(self, source: PictureBytes, i: int) -> str:
        """SHA-256, in hex, of the bytes of picture `i`. Raises `DataError` if they cannot be read."""
        key, stamp = _stamp(source, i)
        known = self._digests.get(key)
        if known is not None and known[:-1] == stamp:
            return str(known[-1])
        return self._hash(source.read(i), key, stamp)

    def look(self, source: PictureBytes, i: int, max_pixels: int = MAX_PIXELS) -> tuple[str, Look]:
        """Digest and look of picture `i`. Raises `DataError` if it cannot be read or decoded."""
        key, stamp = _stamp(source, i)
        known = self._digests.get(key)
        data = None
        if known is None or known[:-1] != stamp:
            data = source.read(i)
        digest = str(known[-1]) if data is None and known else self._hash(data or b"", key, stamp)
        seen = self._looks.get(digest)
        if seen is not None and seen[0] <= max_pixels:
            return digest, Look(seen[0], int(seen[1], 16), int(seen[2], 16), b64decode(seen[3]), tuple(seen[4]))
        look = take_look(open_picture(source.read(i) if data is None else data, max_pixels))
        with self._counting:
            self.decoded += 1
        thumb = b64encode(look.thumb).decode()
        self._unsaved = True
        self._looks[digest] = [look.pixels, f"{look.phash:016x}", f"{look.dhash:016x}", thumb, list(look.changes)]
        return digest, look

    def save(self) -> None:
        """Write what is known, whole, together with what another job has saved meanwhile; nothing where nothing is new."""
        if self.file is None or not self._unsaved:
            return
        self._unsaved = False
        digests, looks = self._digests, self._looks
        self._load()
        self._digests |= digests
        self._looks |= looks
        known = json.dumps({"digests": self._digests, "looks": self._looks}, separators=(",", ":"))
        about = {"version": VERSION, "sha256": hashlib.sha256(known.encode()).hexdigest()}
        write_text(self.file, f"{json.dumps(about)}\n{known}\n")

    def _hash(self, data: bytes, key: str, stamp: list[int]) -> str:
        digest = hashlib.sha256(data).hexdigest()
        with self._counting:
            self.hashed += 1
        if stamp and time.time_ns() - max(stamp[1:]) >= self.settled_s * 1e9:
            self._unsaved = True
            self._digests[key] = [*stamp, digest]
        return digest

    def _load(self) -> None:
        self._digests, self._looks = {}, {}
        if self.file is None or not self.file.is_file():
            return
        try:
            about, known = self.file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            stated = json.loads(about)
            if stated["version"] != VERSION:
                return
            if stated["sha256"] != hashlib.sha256(known.encode()).hexdigest():
                raise ValueError
            stored = json.loads(known)
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("%s: damaged, or of an earlier version; what it held is found out anew", self.file)
            return
        self._digests, self._looks = stored["digests"], stored["looks"]


def take_look(picture: Image.Image) -> Look:
    """Perceptual hashes and thumbnail of an RGB picture."""
    import imagehash

    width, height = picture.size
    small = picture.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BOX)
    phash, dhash = (int(str(made(small)), 16) for made in (imagehash.phash, imagehash.dhash))
    thumb = small.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX)
    return Look(width * height, phash, dhash, thumb.tobytes(), changes_of(picture))


def _stamp(source: PictureBytes, i: int) -> tuple[str, list[int]]:
    """Name of the picture's place, and size and times of the file there; nothing for pictures that are not in a file."""
    source, i = origin(source, i)
    if not isinstance(source, PictureFiles | PictureParts):
        return "", []
    path, key = source.file(i)
    try:
        info = path.stat()
    except OSError as error:
        machine.refuse(error)
        raise DataError(f"picture {path.name}: cannot be read ({error.strerror or error})") from None
    return key, [info.st_size, info.st_mtime_ns, info.st_ctime_ns]
