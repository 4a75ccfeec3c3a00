"""How long `make demo` takes once everything is installed: `python bench/demo.py --before CHECKOUT [--rounds 5]`.

The commands of the Makefile's `demo`, with outputs of their own each time, so that pictures and texts are encoded anew: in turn
those of another checkout of the project (an earlier commit, say) and ours, in the same environment with byte code. Medians and
the least and most of the rounds are written to bench/results/demo.json and demo.md, with what of it is encoding.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kept import RESULTS, keep_rows, machine, merge_results
from startup import revision

PROJECT = Path(__file__).resolve().parents[1]
PARTS = ("the whole", "train.py", "- pictures", "- texts", "retrieve.py")
SAID = re.compile(r"^encoded \d+ (pictures|texts) in ([\d.]+) s", re.MULTILINE)
Seconds = dict[str, float]


def commands(checkout: Path) -> list[list[str]]:
    """The words of each command of `make demo` there."""
    recipe = (checkout / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    return [line.split()[1:] for line in recipe.splitlines() if line.startswith("\t@$(RUN)")]


def run_demo(checkout: Path) -> Seconds:
    """Seconds of one run, by part."""
    found = dict.fromkeys(PARTS, 0.0)
    with tempfile.TemporaryDirectory() as outputs:
        environment = os.environ | {
            "PYTHONPATH": str(checkout / "src"),
            "PICDESK_OUTPUTS": outputs,
            "WANDB_MODE": "offline",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for words in commands(checkout):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True, check=True
            )
            found[words[0]] = time.perf_counter() - start
            found["the whole"] += found[words[0]]
            if words[0] == "train.py":
                for what, seconds in SAID.findall(done.stdout + done.stderr):
                    found[f"- {what}"] += float(seconds)
    return found


def cell(rounds: list[Seconds], part: str) -> str:
    values = [one[part] for one in rounds]
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sides = {"before": given.before.resolve(), "now": PROJECT}
    found: dict[str, list[Seconds]] = {name: [] for name in sides}
    run_demo(PROJECT)  # byte code, and files that are read for the first time
    run_demo(sides["before"])
    for _ in range(given.rounds):
        for name, checkout in sides.items():
            found[name].append(run_demo(checkout))
            print(name, {part: round(seconds, 1) for part, seconds in found[name][-1].items()}, flush=True)
    on = machine()
    keep_rows("demo", lambda *_: False)  # the page shows this run alone
    merge_results("demo", {on: {"before": revision(sides["before"]), "now": revision(PROJECT), "seconds": found}})
    ratios = [one["the whole"] / other["the whole"] for one, other in zip(found["before"], found["now"], strict=True)]
    rows = [f"| {part} | {cell(found['before'], part)} | {cell(found['now'], part)} |" for part in PARTS]
    text = f"""# `make demo`, once everything is installed

`python bench/demo.py --before CHECKOUT` on {on}. Seconds, medians of {given.rounds} rounds in turn, with the least and the most;
{revision(sides["before"])} beside {revision(PROJECT)}. Goal: below 35.

| part | before | now |
|---|---|---|
{chr(10).join(rows)}

Before is {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times now, round by round.
"""
    (RESULTS / "demo.md").write_text(text)


if __name__ == "__main__":
    main()
