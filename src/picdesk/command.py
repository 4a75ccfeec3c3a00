"""`picdesk train|evaluate|retrieve|serve ...` from any folder, and the commands that look after stores, jobs and submissions."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOORS = {
    "train": "fit a backbone, then evaluate what was fitted",
    "evaluate": "retrieve and score, check data, compare jobs, tune",
    "retrieve": "find pictures for texts and texts for pictures",
    "serve": "the same as a web page and an API, in a process that stays up",
}
TOOLS = {
    "store": "list, verify and prune kept features",
    "pack": "a job as one archive, and back",
    "published": "published numbers: which can be checked here, and what is missing for the others",
    "check-submission": "whether a NewsImages submission folder is complete",
}


def main() -> int:
    """Run the door or the tool that the first argument names; exit status 2 where it names none."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in DOORS:
        return open_door_of(name, arguments)
    if name in TOOLS:
        tool = importlib.import_module(f"picdesk.commands.{name.replace('-', '_')}")
        return int(tool.main(arguments))
    print(usage(), file=sys.stdout if name in ("", "--help", "-h") else sys.stderr)
    return 0 if name in ("--help", "-h") else 2


def open_door_of(name: str, arguments: list[str]) -> int:
    """Run `train.py`, `evaluate.py`, `retrieve.py` or `serve.py` of the checkout that this package was installed from."""
    door = PROJECT / f"{name}.py"
    if not door.is_file():
        print(
            f"picdesk: {door} is not there; install picdesk from a checkout: pip install --editable DIR",
            file=sys.stderr,
        )
        return 2
    sys.argv = [str(door), *arguments]
    runpy.run_path(str(door), run_name="__main__")
    return 0


def usage() -> str:
    """What there is, a line each."""
    lines = [f"  picdesk {name:<17} {what}" for name, what in {**DOORS, **TOOLS}.items()]
    return "\n".join(["usage: picdesk COMMAND [--help] ...", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
