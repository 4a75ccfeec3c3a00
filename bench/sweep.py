"""30 evaluate.py jobs (3 indexes x 10 reranker weights) as one sweep, beside as many separate processes. `python bench/sweep.py`.

Without overrides it first trains heads on the demo set for two epochs, and reranks by the same heads: the cost is that of any
reranker whose scores are kept. The data set is encoded and scored beforehand (one job that is not counted), logger none. Each
round runs one of the separate processes. What a job of the sweep costs is the difference between the whole sweep and one of
three jobs (each index once, one weight), over the jobs that it has more, so that starting, importing and drawing the plots of the
leaderboard is in neither; what Hydra itself takes is such a difference for a door that does nothing (`bench/sweep_nothing.py`).
As that is a mean over jobs, so is what is taken from it. The table is written to bench/results/sweep.json and sweep.md.
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
AXES = (("index", ("flat", "hnsw", "ivf_flat")), ("reranker.weight", tuple(n / 20 for n in range(1, 11))))
MANY = f"seed={','.join(map(str, range(31)))}"
PARTS = ("search", "index")
Seconds = dict[str, float]
WRITTEN = PROJECT / "bench" / "results" / "sweep.md"


def job(outputs: Path, *overrides: str, door: str = "evaluate.py") -> float:
    """Seconds of one call of a door."""
    start = time.perf_counter()
    command = [sys.executable, door, *overrides, f"paths.outputs={outputs}", "logger=none"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def stages(folder: Path) -> dict[str, float]:
    """Mean seconds of each stage over the jobs of a sweep, but for the first, which reads the data. A stage that a job does not
    have took it no time."""
    seconds: dict[str, float] = {}
    jobs = sorted(folder.rglob("manifest.json"), key=lambda path: path.stat().st_mtime_ns)[1:]
    for path in jobs:
        for stage in json.loads(path.read_text())["stages"]:
            seconds[stage["name"]] = seconds.get(stage["name"], 0.0) + stage["seconds"] / len(jobs)
    return seconds


def prepare_heads(outputs: Path) -> list[str]:
    """Heads for the demo set, and overrides that search by them and rerank by them."""
    job(outputs, "trainer.max_epochs=2", door="train.py")
    return ["ckpt=latest", "reranker=cross_backbone", "reranker.ckpt=latest"]


def one_round(outputs: Path, common: list[str], swept: list[str], name: str) -> Seconds:
    """What each row of the table comes to once; every sweep has a folder of its own."""
    count, at_least = len(AXES[0][1]) * len(AXES[1][1]), len(AXES[0][1])
    few = job(outputs, "-m", *common, swept[0], "reranker.weight=0.05", f"hydra.sweep.dir={outputs}/few{name}")
    whole = job(outputs, "-m", *common, *swept, f"hydra.sweep.dir={outputs}/all{name}")
    single = job(outputs, *common, "reranker.weight=0.05")
    nothing = [job(outputs, "-m", *common, one, door="bench/sweep_nothing.py") for one in ("seed=0", MANY)]
    parts = stages(outputs / f"all{name}")
    each, hydra = (whole - few) / (count - at_least), (nothing[1] - nothing[0]) / 30
    search, index = (sum(value for key, value in parts.items() if key.startswith(f"{what} ")) for what in PARTS)
    return {
        f"one sweep of {count} jobs, whole": whole,
        f"a sweep of {at_least} jobs": few,
        "one separate process": single,
        f"{count} separate processes: {count} times that": count * single,
        "separate : sweep": count * single / whole,
        "a job of the sweep, marginal (its part of the leaderboard included)": each,
        "- its search and reranking": search,
        "- building its indexes": index,
        "- Hydra itself: making its config, writing it down, setting up the log": hydra,
        **{
            f"- stage: {key}": value
            for key, value in parts.items()
            if not key.startswith(tuple(f"{w} " for w in PARTS))
        },
        "a job beyond its search": each - search - index,
        "our own time: beyond its search and Hydra (goal 0.15)": each - search - index - hydra,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("overrides", nargs="*", help="data, backbone, ckpt, reranker, ... of all jobs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        common = given.overrides or prepare_heads(outputs)
        job(outputs, *common)
        swept = [f"{key}={','.join(map(str, values))}" for key, values in AXES]
        rounds = [one_round(outputs, common, swept, str(n)) for n in range(given.rounds)]
    write_table([(name, told([one[name] for one in rounds])) for name in rounds[0]], common, given.rounds)


def told(values: list[float]) -> str:
    """The median, and from where to where the values go."""
    middle, least, most = statistics.median(values), min(values), max(values)
    digits = 3 if middle < 1 else 1
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def write_table(rows: list[tuple[str, str]], common: list[str], rounds: int) -> None:
    """The table on the terminal and in its files."""
    table = "\n".join(["| what | seconds |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    load = os.getloadavg()[0]
    where = f"{os.cpu_count()} cores, {platform.machine()}, load {load:.1f} at the end"
    said = (
        f"`python bench/sweep.py` on {where}. "
        f"Of all jobs: `{' '.join(common)} logger=none`. Swept: {len(AXES[0][1])} indexes x {len(AXES[1][1])} reranker weights. "
        f"Medians of {rounds} rounds, with the least and the most."
    )
    print(table)
    kept = {"machine": where, "rounds": rounds, "seconds": dict(rows)}
    write_text(WRITTEN.with_suffix(".json"), json.dumps(kept, indent=1) + "\n")
    write_text(WRITTEN, f"# A sweep beside separate processes\n\n{said}\n\n{table}\n")


if __name__ == "__main__":
    main()
