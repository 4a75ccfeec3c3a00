"""Whether a server can be reached at all, told within seconds: nothing is sent."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 3.0


def unreachable(address: str, seconds: float = SECONDS) -> str | None:
    """Why no connection to `address` (or to the proxy that the environment names for it) can be made; None where it can."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(host):
        through = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = through.hostname or "", through.port or 80
    found: list[str | None] = []
    asking = threading.Thread(target=lambda: found.append(_why_not(host, port, seconds)), daemon=True)
    asking.start()
    asking.join(seconds + 1)  # the look-up of a name has no time limit of its own
    return found[0] if found else f"no answer in {seconds:g} s"


def _why_not(host: str, port: int, seconds: float) -> str | None:
    try:
        socket.create_connection((host, port), seconds).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error) or type(error).__name__
    return None
