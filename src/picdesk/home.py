"""Where `conf/`, the demo data and the doors lie: beside `src/` in a checkout, within the package where a wheel was installed.

And how a door is named to a person: by the command, or by the script, that this process was started with.
"""

import shlex
import sys
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent / "shipped"
PROJECT = SHIPPED if SHIPPED.is_dir() else Path(__file__).resolve().parents[2]
COMMAND = "picdesk"
DOORS = ("train", "evaluate", "retrieve", "serve")
_STARTED_BY: list[str] = []


def note_command() -> None:
    """Note that this process was started by `picdesk`, from whatever folder."""
    _STARTED_BY[:] = [COMMAND]


def at_door(name: str) -> str:
    """What a person types to open a door, as this process was started: `picdesk NAME`, or the script beside the one that runs;
    with the plug-ins that this command names."""
    plugins = [argument for argument in sys.argv[1:] if argument.startswith("plugins=")]
    if _STARTED_BY:
        return shlex.join([COMMAND, name, *plugins])
    running = Path(sys.argv[0])
    script = str(running.with_name(f"{name}.py")) if running.stem in DOORS else f"{name}.py"
    return shlex.join(["python", script, *plugins])
