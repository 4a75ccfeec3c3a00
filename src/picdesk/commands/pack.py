"""One job in one file for a reviewer.

`picdesk pack DIR FILE [--checkpoint]` packs, `picdesk pack --unpack FILE DIR` takes apart.
"""

import argparse
import shlex
from pathlib import Path

from picdesk.home import at_door
from picdesk.jobs.archive import pack, unpack
from picdesk.process import machine


def main(arguments: list[str] | None = None) -> int:
    """Pack or unpack; the exit status: 0, or 2 with one line for a mistake."""
    parser = argparse.ArgumentParser(prog="picdesk pack", description=__doc__)
    parser.add_argument("source", type=Path, help="output dir of a job; with --unpack the archive")
    parser.add_argument("target", type=Path, help="the archive to write (.tar.gz); with --unpack a new folder")
    parser.add_argument("--checkpoint", action="store_true", help="put the checkpoint in too")
    parser.add_argument("--unpack", action="store_true", help="take an archive apart, safely")
    given = parser.parse_args(arguments)
    return machine.command(lambda: run(given), "picdesk")


def run(given: argparse.Namespace) -> int:
    """One archive."""
    done = unpack(given.source, given.target) if given.unpack else pack(given.source, given.target, given.checkpoint)
    print(f"{given.target}: {', '.join(done)}")
    if given.unpack:
        print(f"next: {at_door('evaluate')} reproduce={shlex.quote(str(given.target))}")
    else:
        print(f"the reviewer checks it by: {at_door('evaluate')} reproduce={shlex.quote(given.target.name)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
