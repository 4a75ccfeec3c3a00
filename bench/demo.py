"""How long `make demo` takes once everything is installed: `python bench/demo.py --before CHECKOUT [--rounds 5]`.

The commands of the Makefile's `demo`, with outputs of their own each time, so that pictures and texts are encoded anew: in turn
those of another checkout of the project (an earlier commit, say) and ours, in the same environment with byte code. Medians and
the least and most of the rounds are written to bench/results/demo.json and demo.md, with what of it is encoding.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kept import RESULTS, in_turn, keep_rows, machine, merge_results, spread
from startup import revision

PARTS = ("the whole", "train.py", "- pictures", "- texts", "retrieve.py")
SAID = re.compile(r"^encoded \d+ (pictures|texts) in ([\d.]+) s", re.MULTILINE)
Seconds = dict[str, float]
WARM: set[Path] = set()


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


def run_warm(checkout: Path) -> Seconds:
    """The same once byte code is there and files have been read."""
    if checkout not in WARM:
        run_demo(checkout)
        WARM.add(checkout)
    return run_demo(checkout)


def main() -> None:
    sides, found = in_turn(__doc__, 5, run_warm)
    on = machine()
    keep_rows("demo", lambda *_: False)  # the page shows this run alone
    merge_results("demo", {on: {"before": revision(sides["before"]), "now": revision(sides["now"]), "seconds": found}})
    ratios = [one["the whole"] / other["the whole"] for one, other in zip(found["before"], found["now"], strict=True)]
    cells = {part: [spread([one[part] for one in rounds], 1) for rounds in found.values()] for part in PARTS}
    rows = [f"| {part} | {' | '.join(own)} |" for part, own in cells.items()]
    text = f"""# `make demo`, once everything is installed

`python bench/demo.py --before CHECKOUT` on {on}. Seconds, medians of {len(ratios)} rounds in turn, with the least and the most;
{revision(sides["before"])} beside {revision(sides["now"])}. Goal: below 35.

| part | before | now |
|---|---|---|
{chr(10).join(rows)}

Before is {spread(ratios, 2)} times now, round by round.
"""
    (RESULTS / "demo.md").write_text(text)


if __name__ == "__main__":
    main()
