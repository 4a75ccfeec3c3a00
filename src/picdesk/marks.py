"""The last line of a config that a job saves: a digest of all lines before it, and whether it was written by this user.

The digest tells of damage; the config of a checkpoint also names the digest of its weights, in the line before the last. The mark
tells of origin: it is made with a key that lies in the user's own state folder and is never sent anywhere, so nobody else can
write a config that passes as one's own. A manifest and `same_as.json` carry a mark of their own (`mark_of`, `is_own`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from picdesk.errors import DataError

log = logging.getLogger(__name__)
LINE = re.compile(r"# picdesk-config-1 sha256=([0-9a-f]{64}) by=([0-9a-f]{64}|-)\n")
WEIGHTS = re.compile(r"# weights=([0-9a-f]{64})\n")
WORDS, LONGEST = ("picdesk-config-", "sha256=", "weights="), 300
KEY_BYTES = 32


@dataclass(frozen=True)
class Marked:
    """The text of a config without its last lines; whether they were there, whether they are of this user, and the SHA-256 of
    the weights that belong to it, where some do."""

    text: str
    signed: bool
    own: bool
    weights: str = ""


def sign(text: str, weights: str = "") -> str:
    """The text with its last lines; `weights` is the digest of the weights file that it belongs to."""
    text += f"# weights={weights}\n" if weights else ""
    body = text.encode()
    own = mark_of(text) or "-"
    return f"{text}# picdesk-config-1 sha256={hashlib.sha256(body + own.encode()).hexdigest()} by={own}\n"


def mark_of(text: str) -> str:
    """What only this user can write of a text, 64 hex digits; "" where there is no key."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() if (key := own_key()) else ""


def is_own(text: str, mark: object) -> bool:
    """Whether a mark was made of this text by this user."""
    own = mark_of(text)
    return bool(own) and isinstance(mark, str) and mark.isascii() and hmac.compare_digest(own, mark)


def read(text: str, where: Path) -> Marked:
    """What stands in a config, checked against its last line. One of an earlier version has none, and counts as not one's own.

    Raises `DataError` where the text is not what was written.
    """
    start = text.rstrip("\n").rfind("\n") + 1
    if not text[start:].startswith("#") and not any(word in text[-LONGEST:] for word in WORDS):
        return Marked(text, signed=False, own=False)
    found, body = LINE.fullmatch(text[start:]), text[:start].encode()
    if found is None or found[1] != hashlib.sha256(body + found[2].encode()).hexdigest():
        raise DataError(
            f"{where}: changed or damaged since it was written: its last line does not fit the lines before it"
        )
    own = is_own(body.decode(), found[2])
    rest, named = text[:start], WEIGHTS.search(text, max(0, start - len("# weights=") - 65), start)
    if named is None:
        return Marked(rest, signed=True, own=own)
    return Marked(rest[: named.start()], signed=True, own=own, weights=named[1])


def why_not_own() -> str:
    """What it means that something has no mark of this user's."""
    if own_key() is None:
        return f"no key for marks can be kept in {_state()}; set XDG_STATE_HOME to a folder where one can"
    return "another user or machine wrote it, or an earlier picdesk"


def own_key() -> bytes | None:
    """This user's key, made when first needed; None where the state folder cannot be used."""
    try:
        return _key_in(_state().expanduser() / "picdesk")
    except RuntimeError:  # a user without a home
        return None


def _state() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")


@cache
def _key_in(folder: Path) -> bytes | None:
    path = folder / "key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        log.debug("%s: no key there (%s)", path, error)
        return None
    return key if len(key) == KEY_BYTES else None


def _make(path: Path) -> None:
    """Write a new key whole; of two processes that do so at once, one wins and both use its key."""
    temporary = path.with_name(f".key-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_bytes(KEY_BYTES))
        os.close(handle)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
