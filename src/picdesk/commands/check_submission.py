"""`picdesk check-submission FOLDER --articles subset.csv`: can this submission folder be handed in?

FOLDER is the one named after the group. Prints every fault and exits with 2, or says what was checked and exits with 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from picdesk.process import machine
from picdesk.readers.subset import read_ids
from picdesk.report.submission import faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 with the faults on the error stream."""
    top = argparse.ArgumentParser(
        prog="picdesk check-submission",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("folder", type=Path, help="the folder named after the group")
    top.add_argument("--articles", required=True, help="CSV with the article ids, with or without a header")
    chosen = top.parse_args(arguments)
    return machine.command(lambda: run(chosen))


def run(chosen: argparse.Namespace) -> int:
    """One folder."""
    ids = read_ids(chosen.articles, None)
    wrong = faults(chosen.folder, ids)
    for fault in wrong:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{len(ids)} articles checked in {chosen.folder}, {len(wrong)} faults")
    return 2 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
