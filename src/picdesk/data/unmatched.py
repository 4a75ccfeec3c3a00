"""Files that lie where a data set is read and that no name or pattern of it fits: none of them is passed over unsaid."""

import fnmatch
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.errors import examples

WILD = "*?["
PACKINGS = ("gz", "bz2", "xz", "zst", "zip", "lz4")
ARCHIVES = (".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".zip", ".7z", ".rar")  # in place of `.tar`


@dataclass(frozen=True)
class Unmatched:
    """`left_out`: files that patterns for everything (`*.tar`) miss, each with the reason; `note`: all others ("": none)."""

    left_out: tuple[tuple[str, str], ...]
    note: str


def any_case(pattern: str) -> str:
    """A pattern that also fits names whose ending is in letters of another case: `*.[tT][aA][rR]` for `*.tar`."""
    head, dot, ending = pattern.rpartition(".")
    if not dot or not ending.isalnum() or not head.rpartition("/")[2]:
        return pattern
    return head + dot + "".join(f"[{letter.lower()}{letter.upper()}]" for letter in ending)


def fitting_files(root: Path, pattern: str) -> list[Path]:
    """Files below `root` that a name or pattern fits, in letters of either case of the ending, sorted.

    A plain name means the file of that very name, where there is one.
    """
    if not any(mark in pattern for mark in WILD) and (root / pattern).is_file():
        return [root / pattern]
    return sorted(path for path in root.glob(any_case(pattern)) if path.is_file())


def unmatched_files(
    root: Path, patterns: Iterable[str | Sequence[str]], found: Iterable[Path], endings: Sequence[str], key: str
) -> Unmatched:
    """What lies below `root` with one of the `endings`, packed or not, and is not among the `found` files.

    A pattern `*.tar` asks for all there is, so what it misses in its folder and below is left out with a reason. What names and
    narrower patterns (`train-*.tar`) do not name was not asked for, and a packed copy of a file that was found holds nothing new:
    these are noted.
    """
    each = [one for own in patterns for one in ([own] if isinstance(own, str) else own)]
    everything = [Path(one).parent.as_posix().split("**")[0].strip("/.") for one in each if Path(one).stem == "*"]
    known = {path.relative_to(root).as_posix() for path in found}
    stems = {_stem(name, endings) for name in known}
    left_out, others = [], []
    for name in sorted(_walk(root) - known):
        kind = _kind(name, endings)
        if not kind:
            continue
        below = any(not folder or fnmatch.fnmatchcase(name, f"{folder}/*") for folder in everything)
        if below and not (kind == "packed" and _stem(name, endings) in stems):
            left_out.append((name, _reason(name, kind, key)))
        else:
            others.append(name)
    note = f"{len(others)} files that {key} does not name were not read: {examples(others)}" if others else ""
    return Unmatched(tuple(left_out), note)


def _reason(name: str, kind: str, key: str) -> str:
    folder, _, base = name.rpartition("/")
    if kind == "packed":
        return "compressed or packed, which is not read; unpack it"
    if not key.startswith("data."):
        return "lies deeper, where nothing is read; move it up"
    way = f"{folder}/*.{base.rpartition('.')[2]}" if folder else f"*.{base.rpartition('.')[2]}"
    return f"{key} does not fit it, so it was not read; {key}='{way}' would"


def _walk(root: Path) -> set[str]:
    """Files below the root; hidden ones and linked folders are not looked at."""
    names: set[str] = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        at = Path(folder).relative_to(root)
        names |= {(at / name).as_posix() for name in files if not name.startswith(".")}
    return names


def _kind(name: str, endings: Sequence[str]) -> str:
    """`plain` or `packed` for a file of the kind that is read, "" for any other."""
    low = name.rpartition("/")[2].lower()
    if low.endswith(tuple(f".{ending}" for ending in endings)):
        return "plain"
    packed = tuple(f".{ending}.{packing}" for ending in endings for packing in PACKINGS)
    return "packed" if low.endswith(packed) or ("tar" in endings and low.endswith(ARCHIVES)) else ""


def _stem(name: str, endings: Sequence[str]) -> str:
    """A name without its endings: `a` for `a.tar`, `a.tar.gz` and `a.tgz`."""
    stem, dot, ending = name.rpartition(".")
    known = (*endings, *PACKINGS, *(archive.lstrip(".") for archive in ARCHIVES))
    return _stem(stem, endings) if dot and ending.lower() in known else name
