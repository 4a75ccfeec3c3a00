"""Whether a server can be reached at all, told within seconds; and who may say which server: nothing is sent."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from picdesk.errors import ConfigError, short_repr

SECONDS = 3.0
MAKERS = "https://api.wandb.ai"
OF_A_FOLDER = ("entity", "project")
"""What `wandb init` notes in a folder that leads no key and no log to another server."""


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


def check_folder(folder: Path, settings: Mapping[str, str]) -> None:
    """Raise `ConfigError` where wandb's own `settings` of a folder, the current one, say more than whose a log is, and the
    environment does not overrule them: such a folder may be anybody's, and its server would be sent the key."""
    for key, value in settings.items():
        name, is_server = f"WANDB_{key.upper()}", key == "base_url"
        usual = is_server and str(value).rstrip("/") == MAKERS
        if not (usual or key in OF_A_FOLDER or os.environ.get(name)):
            raise ConfigError(
                f"{folder}: wandb's settings there have {key}{f'={short_repr(value)}' if is_server else ''}, and no folder "
                f"decides where a log and the key for it go: set {name} if that is meant, else take that line out of "
                "wandb/settings, or logger.mode=offline"
            )
