"""How long `make test` takes once everything is installed: `python bench/suite.py --before CHECKOUT [--rounds 3]`.

The command of the Makefile's `test`, in turn in another checkout of the project (an earlier commit, say) and in ours, in the same
environment with byte code. How many tests passed is written beside the seconds: a suite that checks less is no quicker one.
Medians and the least and most of the rounds go to bench/results/suite.json and suite.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from kept import RESULTS, keep_rows, machine, merge_results
from startup import revision

PROJECT = Path(__file__).resolve().parents[1]
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


def cell(runs: list[Run]) -> str:
    seconds = [seconds for seconds, _ in runs]
    return f"{statistics.median(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sides = {"before": given.before.resolve(), "now": PROJECT}
    found: dict[str, list[Run]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, checkout in sides.items():
            found[name].append(run_tests(checkout))
            print(name, found[name][-1], flush=True)
    on = machine()
    keep_rows("suite", lambda *_: False)  # the page shows this run alone
    merge_results("suite", {on: {"before": revision(sides["before"]), "now": revision(PROJECT), "seconds": found}})
    ratios = [one / other for (one, _), (other, _) in zip(found["before"], found["now"], strict=True)]
    text = f"""# `make test`, once everything is installed

`python bench/suite.py --before CHECKOUT` on {on}. Seconds, medians of {given.rounds} rounds in turn, with the least and the most;
{revision(sides["before"])} beside {revision(PROJECT)}. Goal: below 150 on two quiet cores.

| | before | now |
|---|---|---|
| seconds | {cell(found["before"])} | {cell(found["now"])} |
| tests that passed | {found["before"][-1][1]:,} | {found["now"][-1][1]:,} |

Before is {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times now, round by round.
"""
    (RESULTS / "suite.md").write_text(text)


if __name__ == "__main__":
    main()
