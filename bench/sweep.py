"""30 evaluate.py jobs (3 indexes x 10 reranker weights) as one sweep, beside as many separate processes. `python bench/sweep.py`.

Without overrides it first trains heads on the demo set for two epochs, and reranks by the same heads: the cost is that of any
reranker whose scores are kept. The data set is encoded and scored beforehand (one job that is not counted), logger none. Of the
separate processes only some are run, and their median is taken. What a job of the sweep costs is the difference between the whole
sweep and one of three jobs (each index once, one weight), over the jobs that it has more, so that starting, importing and drawing
the leaderboard's plots is in neither; what Hydra itself takes is such a difference for a door that does nothing
(`bench/sweep_nothing.py`). The table is written to bench/results/sweep.json and sweep.md.
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
    """Median seconds of each stage over the jobs of a sweep, but for the first, which reads the data."""
    seconds: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("manifest.json"), key=lambda path: path.stat().st_mtime_ns)[1:]:
        for stage in json.loads(path.read_text())["stages"]:
            seconds.setdefault(stage["name"], []).append(stage["seconds"])
    return {name: statistics.median(values) for name, values in seconds.items()}


def prepare_heads(outputs: Path) -> list[str]:
    """Heads for the demo set, and overrides that search by them and rerank by them."""
    job(outputs, "trainer.max_epochs=2", door="train.py")
    return ["ckpt=latest", "reranker=cross_backbone", "reranker.ckpt=latest"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--separate", type=int, default=4, help="how many separate processes are run")
    parser.add_argument("overrides", nargs="*", help="data, backbone, ckpt, reranker, ... of all jobs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        common = given.overrides or prepare_heads(outputs)
        job(outputs, *common)
        swept = [f"{key}={','.join(map(str, values))}" for key, values in AXES]
        count = len(AXES[0][1]) * len(AXES[1][1])
        few = job(outputs, "-m", *common, swept[0], "reranker.weight=0.05", f"hydra.sweep.dir={outputs}/few")
        whole = job(outputs, "-m", *common, *swept, f"hydra.sweep.dir={outputs}/all")
        single = statistics.median(
            job(outputs, *common, f"reranker.weight={(n + 1) / 20}") for n in range(given.separate)
        )
        each = (whole - few) / (count - len(AXES[0][1]))
        parts = stages(outputs / "all")
        nothing = [job(outputs, "-m", *common, one, door="bench/sweep_nothing.py") for one in ("seed=0", MANY)]
    hydra = (nothing[1] - nothing[0]) / 30
    search, index = (
        sum(seconds for name, seconds in parts.items() if name.startswith(f"{what} ")) for what in ("search", "index")
    )
    rows = [
        (f"one sweep of {count} jobs, whole", f"{whole:.1f}"),
        (f"a sweep of {len(AXES[0][1])} jobs", f"{few:.1f}"),
        (f"one separate process (median of {given.separate})", f"{single:.2f}"),
        (f"{count} separate processes (that many times the median)", f"{count * single:.0f}"),
        ("separate : sweep", f"{count * single / whole:.1f} : 1"),
        ("a job of the sweep, marginal (its part of the leaderboard included)", f"{each:.3f}"),
        ("- its search and reranking", f"{search:.4f}"),
        ("- building its indexes", f"{index:.4f}"),
        ("- Hydra itself: composing its config once, writing it down, setting up the log", f"{hydra:.3f}"),
        *(
            (f"- stage: {name}", f"{value:.3f}")
            for name, value in parts.items()
            if not name.startswith(("search ", "index "))
        ),
        ("a job beyond its search", f"{each - search - index:.3f}"),
        ("our own time: beyond its search and Hydra (goal 0.15)", f"{each - search - index - hydra:.3f}"),
    ]
    write_table(rows, common)


def write_table(rows: list[tuple[str, str]], common: list[str]) -> None:
    """The table on the terminal and in its files."""
    table = "\n".join(["| what | seconds |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    load = os.getloadavg()[0]
    where = f"{os.cpu_count()} cores, {platform.machine()}, load {load:.1f} at the end"
    said = (
        f"`python bench/sweep.py` on {where}. "
        f"Of all jobs: `{' '.join(common)} logger=none`. Swept: {len(AXES[0][1])} indexes x {len(AXES[1][1])} reranker weights."
    )
    print(table)
    kept = {"machine": where, "seconds": dict(rows)}
    write_text(WRITTEN.with_suffix(".json"), json.dumps(kept, indent=1) + "\n")
    write_text(WRITTEN, f"# A sweep beside separate processes\n\n{said}\n\n{table}\n")


if __name__ == "__main__":
    main()
