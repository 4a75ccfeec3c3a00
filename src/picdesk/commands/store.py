"""`picdesk store list|verify|prune`: look at the store of trunk features, check it, free its space.

picdesk store list                          # one line per space
picdesk store verify                        # every shard against its name
picdesk store prune --unused-days 30        # spaces that no job opened for 30 days; --dry-run only tells
picdesk store prune --space image-3f2a      # one space, by the beginning of its name
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from picdesk.embedding.upkeep import Summary, prune, spaces, summary, verify
from picdesk.errors import ConfigError
from picdesk.process import machine
from picdesk.text.lines import plain_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line that says what is wrong."""
    chosen = parser().parse_args(arguments)
    return machine.command(lambda: run(chosen))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="picdesk store",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", type=Path, default=Path("outputs/store"), help="its folder (default: outputs/store)")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", parents=[shared], help="one line per space")
    commands.add_parser("verify", parents=[shared], help="check every shard against its name and its space")
    pruning = commands.add_parser("prune", parents=[shared], help="remove spaces")
    which = pruning.add_mutually_exclusive_group(required=True)
    which.add_argument("--space", action="append", help="a space's name or its beginning; may be given again")
    which.add_argument("--unused-days", type=float, help="spaces that no job has opened for so many days")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return top


def run(chosen: argparse.Namespace) -> int:
    """One command on one store."""
    folders = spaces(chosen.store)
    if chosen.command == "list":
        print(f"{len(folders)} spaces in {chosen.store}")
        for folder in folders:
            print(plain_line(line(summary(folder))))
        return 0
    if chosen.command == "verify":
        faults = [fault for folder in folders for fault in verify(folder)]
        for fault in faults:
            print(f"error: {plain_line(fault)}", file=sys.stderr)
        print(f"{len(folders)} spaces checked, {len(faults)} faults")
        return 2 if faults else 0
    if chosen.unused_days is not None and chosen.unused_days < 0:
        raise ConfigError(f"--unused-days={chosen.unused_days:g}: give 0 or more")
    for removed in prune(chosen.store, chosen.space, chosen.unused_days, dry_run=chosen.dry_run):
        print(f"{'would remove' if chosen.dry_run else 'removed'} {plain_line(line(removed))}")
    return 0


def line(space: Summary) -> str:
    """A space in one line."""
    size = f"{space.size / 2**20:.1f} MB"
    return (
        f"{space.name}  {space.items:,} x {space.width}  {space.precision} as {space.storage}, {space.decode} decoding  {size} "
        f"in {space.shards} shards  used {space.unused_days:.0f} days ago  {space.label}"
    )


if __name__ == "__main__":
    sys.exit(main())
