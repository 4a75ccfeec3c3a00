"""Whether this job may use the network. A job that opens what somebody else made may not, unless the command line says so.

Two things hold it. Whatever of ours would call out asks `need` first, so that the user reads one line that says what wanted to.
And Python itself tells of every connection before it is made: the hook refuses it, whichever library asks.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from picdesk.errors import ConfigError

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
SECRETS = ("token", "password", "secret", "api_key")
"""Last parts of the keys whose value nobody else is to read."""
COLUMNS = "more_columns"
"""The table whose keys are the user's own names of columns."""
IN_ADDRESS = re.compile(r"((?:^|(?<=[^\w+.-]))[a-z][\w+.-]*://)[^/\s@]*:[^/\s@]+@|(https?://)[^/\s@]+@", re.IGNORECASE)
_STATE = {"closed": 0, "hooked": 0}
for client in ("httpx", "httpx2"):  # they tell of each request, with what secrets stand in its address
    logging.getLogger(client).setLevel(logging.WARNING)


@contextmanager
def no_network() -> Iterator[None]:
    """No network inside the block. The libraries of the hub are told before they are imported."""
    if not _STATE["hooked"]:
        sys.addaudithook(_refuse)
        _STATE["hooked"] = 1
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    _STATE["closed"] += 1
    try:
        yield
    finally:
        _STATE["closed"] -= 1
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def is_closed() -> bool:
    """Whether the network may not be used now."""
    return _STATE["closed"] > 0


def need(what: str) -> None:
    """Raise `ConfigError` where `what` (KEY=VALUE) needs the network and this job may not use it."""
    if is_closed():
        raise ConfigError(f"{what}: this job uses no network unless it is told to; add network=true if that is meant")


def check_secret(address: str, key: str, secret: str) -> None:
    """Raise `ConfigError` before a secret, by its name, would go to `address` in clear over a network."""
    try:
        where = urlsplit(address if "://" in address else f"//{address}")
    except ValueError as error:
        raise ConfigError(f"{key}={address[:80]}: not an address ({error})") from None
    if where.scheme != "https" and not is_this_machine(where.hostname or ""):
        raise ConfigError(
            f"{key}={where.scheme}://{where.hostname}: {secret} would be sent in clear; it goes to https:// or to this machine "
            f"alone: take an https address, or unset {secret}"
        )


def refuse_secrets(value: Any, key: str, besides: Collection[str] = ()) -> None:
    """Raise `ConfigError` where plain values, as they stand under `key`, hold a secret: a token by its key, or an address with a
    password in it. A job writes its command and its config down, and they are sent to reviewers and to wandb.

    Keys whose last part is in `besides` hold texts to search for, and are not looked at.
    """
    above, _, last = key.rpartition(".")
    if last in besides:
        return
    if isinstance(value, Mapping | list):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            refuse_secrets(inner, f"{key}.{name}" if key else str(name), besides)
        return
    if not isinstance(value, str) or not value or "${" in value:
        return
    by_key = last in SECRETS and not above.endswith(COLUMNS)
    if by_key or IN_ADDRESS.search(value):
        what = f"{key}: a secret" if by_key else f"{key}={without_password(value)[:80]}: the password"
        raise ConfigError(
            f"{what} would stand in all that the job leaves for others to read (config.yaml, manifest.json, its page, wandb); "
            "set it in the environment (MILVUS_TOKEN, OPENAI_API_KEY, OPENAI_BASE_URL; a key of Hydra's: '${oc.env:NAME}')"
        )


def without_password(address: str) -> str:
    """An address for a log, `***` in it for a name and password before the host."""
    return IN_ADDRESS.sub(lambda found: f"{found[1] or found[2]}***@", address)


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is that of this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    if not is_closed() or event not in CALLS:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        own, address = details[0], details[-1]
        if getattr(own, "family", None) == getattr(socket, "AF_UNIX", None) or address is None:
            return
        need(f"connection to {address[0] if isinstance(address, tuple) else address!r}")
    need(f"look-up of {details[0]!r}")
