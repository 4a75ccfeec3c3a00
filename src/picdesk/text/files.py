"""Text files as people really have them: any encoding, gzip or not, byte order marks, a few old lines, any line ends."""

import codecs
import gzip
import io
import re
import zlib
from pathlib import Path

from picdesk.errors import ConfigError, DataError
from picdesk.files import LFS_POINTER, POINTER
from picdesk.text.encodings import likely_encodings, sample

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NO_TEXT = {
    b"PK\x03\x04": "a zip archive (an Excel workbook is one); save it as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; save it as CSV in UTF-8",
    b"PAR1": "a parquet file; read it by data=parquet",
    LFS_POINTER: POINTER,
    b"\x1f\x8b": "compressed by gzip twice; unpack it once",
    b"BZh": "compressed by bzip2; unpack it first, or use gzip",
    b"\xfd7zXZ": "compressed by xz; unpack it first, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstandard; unpack it first, or use gzip",
    b"%PDF": "a PDF file, not text",
    b"SQLite format 3": "a SQLite database, not text",
    b"\x93NUMPY": "a numpy array, not text",
}
UNPACKED_MOST, UNPACKED_TIMES = 1 << 28, 200


def read_text(path: Path, encoding: str | None = None, key: str | None = "data.encoding") -> tuple[str, str]:
    """Text of a file (unpacked if it is gzip's) and a note on what was odd about it ("" if nothing was).

    Without `encoding`: a byte order mark decides, else it is UTF-8. Single lines that are not UTF-8 but look Western (high
    bytes that stand alone) are read as Windows-1252, its gaps as Latin-1, and the note says which; anything else raises
    `DataError` with the place, the likely encodings and the config `key` to name one by (None: there is no such key).
    With `encoding` the file must be in it. Marks at the beginning of lines, as of files put one behind the other, are dropped.
    """
    return decode_text(path, _unpack(path), encoding, key)


def decode_text(
    path: Path, raw: bytes, encoding: str | None = None, key: str | None = "data.encoding"
) -> tuple[str, str]:
    """As `read_text`, of bytes that are known; `path` is their name in messages. Raises as it does."""
    if encoding is not None:
        text = _decode_as(path, raw, encoding, key)
        odd: list[str] = []
    else:
        text, odd = _decode_by_guess(path, raw, key)
    text, again = re.subn("(?<=[\r\n])\ufeff+", "", text.lstrip("\ufeff")) if "\ufeff" in text else (text, 0)
    odd += [f"{again} more byte order marks, at the beginning of lines, which are no part of them"] if again else []
    ends = [name for name, found in (("CRLF", "\r\n" in text), ("CR", re.search(r"\r(?!\n)", text))) if found]
    odd += [f"{' and '.join(ends)} line ends"] if ends else []
    return text, f"{path.name}: {'; '.join(odd)}" if odd else ""


def lines_of(text: str) -> list[str]:
    """Lines without their ends, which are LF, CRLF or CR: `splitlines` also cuts at U+2028, U+0085, form feeds and the like."""
    return re.split(r"\r\n|\n|\r", text)


def plain_suffix(path: Path) -> str:
    """The ending in lower case, without the `.gz` behind it: `.csv` for `A.CSV.gz`."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _unpack(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror or error})") from None
    if raw[:2] == b"\x1f\x8b":
        most = max(UNPACKED_MOST, UNPACKED_TIMES * len(raw))
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                raw = stream.read(most + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name}: gzip cannot unpack it ({error})") from None
        if len(raw) > most:
            raise DataError(f"{path.name}: unpacks to more than {UNPACKED_TIMES} times its size; unpack it yourself")
    for start, what in NO_TEXT.items():
        if raw.startswith(start):
            raise DataError(f"{path.name}: {what}")
    return raw


def _decode_as(path: Path, raw: bytes, encoding: str, key: str | None) -> str:
    try:
        return raw.decode(encoding)
    except LookupError:
        told = f"{key or 'encoding'}={encoding}: no such encoding; such as utf-8, gb18030, big5, cp1252, utf-16"
        raise ConfigError(told) from None
    except UnicodeError as error:
        at = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise DataError(f"{path.name}: not {encoding}{at} ({key or 'encoding'}={encoding})") from None


def _decode_by_guess(path: Path, raw: bytes, key: str | None) -> tuple[str, list[str]]:
    for mark, name in MARKS:
        if raw.startswith(mark):
            odd = ["starts with a byte order mark"] if name == "utf-8" else [f"read as {name.upper()} by its mark"]
            if name != "utf-8":
                return _decode_as(path, raw, name, None), odd
            text, more = _decode_by_guess(path, raw[len(mark) :], key)
            return text, odd + more
    head = raw[:4096]
    if head.count(0) > len(head) / 4:
        which = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        raise DataError(f"{path.name}: every other byte is NUL, as in UTF-16; {_way(key, (which,))}")
    try:
        return raw.decode(), []
    except UnicodeDecodeError as error:
        text, lines, bad = _decode_lines(raw)
        if _in_runs(bad):
            named = tuple(likely_encodings(bad))
            read = f"; {named[0]} reads {sample(bad, named[0])!r} there" if named else ""
            line = raw.count(b"\n", 0, error.start) + 1
            where = f"not UTF-8 at byte {error.start} (line {line})"
            raise DataError(f"{path.name}: {where}; {_way(key, named)}{read}") from None
        listed = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
        other = f" (for another encoding set {key})" if key else ""
        return text, [f"not UTF-8 in {len(lines)} lines, which were read as Latin-1: {listed}{other}"]


def _way(key: str | None, names: tuple[str, ...]) -> str:
    """What to do about a file in one of these encodings, the likeliest first."""
    if not names:
        return "the bytes there are no text in any usual encoding; save the file as UTF-8"
    if key is None:
        return f"save it as UTF-8, for example by iconv -f {names[0].replace('_', '-')} -t utf-8 (likely: {', '.join(names)})"
    return f"set {key}={names[0]}" + (f" (or one of {', '.join(names[1:])})" if names[1:] else "")


def _decode_lines(raw: bytes) -> tuple[str, list[int], bytes]:
    """Text with the lines that are not UTF-8 as Latin-1, the numbers of those lines, and their bytes."""
    lines, latin, bad = [], [], []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            latin.append(number)
            bad.append(line)
            lines.append(_latin(line))
    return "\n".join(lines), latin, b"\n".join(bad)


def _latin(line: bytes) -> str:
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _in_runs(raw: bytes) -> bool:
    """Whether high bytes stand side by side, as in Chinese, Korean or Cyrillic text; in Western text they seldom do."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", raw)]
    return sum(length for length in runs if length > 1) > sum(runs) / 4
