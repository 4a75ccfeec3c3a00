"""How long `make test` takes once everything is installed: `python bench/suite.py --before CHECKOUT [--rounds 3]`.

The command of the Makefile's `test`, in turn in another checkout of the project (an earlier commit, say) and in ours, in the same
environment with byte code. How many tests passed is written beside the seconds: a suite that checks less is no quicker one.
Medians and the least and most of the rounds go to bench/results/suite.json and suite.md.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from kept import RESULTS, in_turn, keep_rows, machine, merge_results, spread
from startup import revision

PASSED = re.compile(r"(\d+) passed")
Run = tuple[float, int]


def run_tests(checkout: Path) -> Run:
    """Seconds of one run, and how many tests passed."""
    recipe = (checkout / "Makefile").read_text().partition("\ntest:")[2].partition("\n\n")[0]
    words = next(line for line in recipe.splitlines() if "-m pytest" in line).partition("-m pytest")[2].split()
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    passed = PASSED.search(done.stdout)
    if passed is None:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - start, int(passed[1])


def main() -> None:
    sides, found = in_turn(__doc__, 3, run_tests)
    on = machine()
    keep_rows("suite", lambda *_: False)  # the page shows this run alone
    merge_results("suite", {on: {"before": revision(sides["before"]), "now": revision(sides["now"]), "seconds": found}})
    ratios = [one / other for (one, _), (other, _) in zip(found["before"], found["now"], strict=True)]
    text = f"""# `make test`, once everything is installed

`python bench/suite.py --before CHECKOUT` on {on}. Seconds, medians of {len(ratios)} rounds in turn, with the least and the most;
{revision(sides["before"])} beside {revision(sides["now"])}. Goal: below 150 on two quiet cores.

| | before | now |
|---|---|---|
| seconds | {" | ".join(spread([seconds for seconds, _ in runs], 0) for runs in found.values())} |
| tests that passed | {found["before"][-1][1]:,} | {found["now"][-1][1]:,} |

Before is {spread(ratios, 2)} times now, round by round.
"""
    (RESULTS / "suite.md").write_text(text)


if __name__ == "__main__":
    main()
