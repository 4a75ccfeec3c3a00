"""How long people wait at a door. `python bench/startup.py [--before CHECKOUT] [--repeats 5]`.

Commands on the demo data with a warm store, each in a process of its own, as typed: seconds to the first line, and to the end.
With `--before`, the same commands from another checkout of the project (an earlier commit, say) run turn by turn with ours, in
the same environment; each has a store and a training job of its own. Where the seconds go, by module, is from one more run with
`-X importtime`. Medians and the smallest and largest of the repeats are written to bench/results/startup.json and .md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from picdesk.files import write_text

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "bench" / "results"
ASKED = "query=boats in a harbour at night"
DOORS = {
    "evaluate a checkpoint": ["evaluate.py", "ckpt=latest"],
    "evaluate a checkpoint, no logger": ["evaluate.py", "ckpt=latest", "logger=none"],
    "a query that was asked before": ["retrieve.py", "ckpt=latest", ASKED],
    "a new query": ["retrieve.py", "ckpt=latest", "query=word number {n}"],
    "a new query of a saved index": ["retrieve.py", "index_dir={index}", "query=number {n}"],
    "a mistake in the config": ["evaluate.py", "lr=1e-3"],
    "a wrong value": ["evaluate.py", "ckpt=latest", "top_k=abc"],
    "--help": ["evaluate.py", "--help"],
}
WRONG = ("a mistake in the config", "a wrong value")


class Checkout:
    """A checkout of the project with outputs of its own, in which a small model was trained and an index saved."""

    def __init__(self, root: Path, outputs: Path) -> None:
        self.root, self.outputs, self.asked = root, outputs, 0
        self.environment = dict(os.environ) | {"PYTHONPATH": str(root / "src"), "WANDB_MODE": "offline"}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def prepare(self) -> None:
        """Train, encode, save an index; byte code is written on the way."""
        self.run(["train.py", "trainer.max_epochs=2", "logger=none"])
        self.run(["retrieve.py", "ckpt=latest", ASKED, "logger=none"])
        self.run(
            ["retrieve.py", "task=index_build", "ckpt=latest", f"index_dir={self.outputs / 'index'}", "logger=none"]
        )
        for name in DOORS:
            self.run(self.command(name), wrong=name in WRONG)

    def command(self, name: str) -> list[str]:
        """The command as typed; each new query is another one."""
        self.asked += 1
        return [word.format(n=self.asked, index=self.outputs / "index") for word in DOORS[name]]

    def run(self, words: list[str], *options: str, wrong: bool = False) -> tuple[float, float, str]:
        """Seconds to the first line and to the end, and what was written to standard error."""
        where = [] if words[-1] == "--help" else [f"paths.outputs={self.outputs}"]
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as errors:
            merged = errors if options else subprocess.STDOUT
            process = subprocess.Popen(
                [sys.executable, *options, *words, *where],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=merged,
                text=True,
            )
            assert process.stdout is not None
            head = process.stdout.readline()
            first = time.perf_counter() - start
            rest = process.stdout.read()
            status = process.wait()
            end = time.perf_counter() - start
            errors.seek(0)
            said = errors.read()
        if status != (2 if wrong else 0):
            raise SystemExit(f"{' '.join(words)}: exit status {status}\n{head}{rest}{said}")
        return first, end, said


def by_library(said: str) -> dict[str, float]:
    """Seconds of each library's own modules, out of what `-X importtime` writes."""
    seconds: dict[str, float] = {}
    for line in said.splitlines():
        columns = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(columns) == 3 and columns[0].strip().isdigit():
            top = columns[2].strip().split(".")[0]
            seconds[top] = seconds.get(top, 0.0) + int(columns[0]) / 1e6
    return seconds


def measure(checkouts: dict[str, Checkout], repeats: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Seconds by door, checkout, and whether to the first line or to the end; turn by turn."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for door in DOORS:
        rows: dict[str, dict[str, list[float]]] = {name: {"first": [], "end": []} for name in checkouts}
        for _ in range(repeats):
            for name, checkout in checkouts.items():
                first, end, _ = checkout.run(checkout.command(door), wrong=door in WRONG)
                rows[name]["first"].append(first)
                rows[name]["end"].append(end)
        found[door] = rows
        print(door, {name: round(statistics.median(row["end"]), 2) for name, row in rows.items()}, flush=True)
    return found


def revision(root: Path) -> str:
    """The commit that a checkout is at."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def cell(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(kept: dict) -> str:
    """The page."""
    names = kept["checkouts"]
    lines = [
        "# How long people wait at a door",
        "",
        f"Made by `bench/startup.py`: demo data, warm store, byte code compiled, {kept['repeats']} runs each, turn by turn; "
        f"seconds, median (smallest to largest). {kept['machine']}. "
        + ", ".join(f"{name}: {at}" for name, at in kept["revisions"].items())
        + ".",
        "",
    ]
    heads = [f"{name}: first line" for name in names] + [f"{name}: end" for name in names]
    lines += ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for door, rows in kept["seconds"].items():
        cells = [cell(rows[name][what]) for what in ("first", "end") for name in names]
        lines.append(f"| {door}: `{' '.join(DOORS[door])}` | " + " | ".join(cells) + " |")
    lines += ["", "Seconds in modules, by library (`-X importtime`, which itself costs some):", ""]
    for door, by_name in kept["libraries"].items():
        for name, seconds in by_name.items():
            most = sorted(seconds.items(), key=lambda pair: -pair[1])[:10]
            told = ", ".join(f"{library} {value:.2f}" for library, value in most)
            lines.append(f"- {door}, {name}: {sum(seconds.values()):.2f} in all; {told}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of the project")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        roots = ({"before": given.before.resolve()} if given.before else {}) | {"now": PROJECT}
        checkouts = {name: Checkout(root, Path(folder) / name) for name, root in roots.items()}
        for checkout in checkouts.values():
            checkout.prepare()
        seconds = measure(checkouts, given.repeats)
        doors = ("evaluate a checkpoint", "a new query of a saved index")
        libraries = {
            door: {
                name: by_library(checkout.run(checkout.command(door), "-X", "importtime")[2])
                for name, checkout in checkouts.items()
            }
            for door in doors
        }
    kept = {
        "checkouts": list(roots),
        "revisions": {name: revision(root) for name, root in roots.items()},
        "repeats": given.repeats,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "seconds": seconds,
        "libraries": libraries,
    }
    write_text(RESULTS / "startup.json", json.dumps(kept, indent=1) + "\n")
    write_text(RESULTS / "startup.md", table(kept))
    print(table(kept))


if __name__ == "__main__":
    main()
