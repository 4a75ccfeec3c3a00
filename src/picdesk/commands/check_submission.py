"""`picdesk check-submission FOLDER --articles subset.csv`: can this submission folder be handed in?

FOLDER is the one named after the group (edition 2025), or the one that holds all [group]_[approach] folders (edition 2026).
Prints every fault and exits with 2, or says what was checked and exits with 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from picdesk.data.near import alike
from picdesk.process import machine
from picdesk.readers.queries import read_ids
from picdesk.submissions.folders import EDITIONS, faults
from picdesk.text.lines import plain_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 with the faults on the error stream."""
    top = argparse.ArgumentParser(
        prog="picdesk check-submission",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("folder", type=Path, help="the folder named after the group, or of all its runs")
    top.add_argument("--articles", required=True, help="CSV with the article ids, with or without a header")
    top.add_argument("--edition", type=int, default=2025, choices=EDITIONS, help="of NewsImages (default: %(default)s)")
    chosen = top.parse_args(arguments)
    return machine.command(lambda: run(chosen))


def run(chosen: argparse.Namespace) -> int:
    """One folder."""
    ids = read_ids(chosen.articles, None, "--articles")
    wrong = faults(chosen.folder, ids, chosen.edition, alike)
    for fault in wrong:
        print(f"error: {plain_line(fault)}", file=sys.stderr)
    print(f"{len(ids)} articles checked in {chosen.folder}, {len(wrong)} faults")
    return 2 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
