"""30 evaluate.py jobs as one sweep beside as many separate processes: time a job beyond its search. `python bench/sweep.py`.

The data set is encoded beforehand (one job that is not counted), logger none. Of the separate processes only some are run, and
their median is taken. What a job of the sweep costs is the difference between the whole sweep and one of a single job, over the
jobs that it has more; of that, Hydra's part (each job's config is composed twice) is measured by composing it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
AXES = (("run_depth", (10, 20, 30)), ("top_k", tuple(range(50, 150, 10))))


def job(outputs: Path, *overrides: str) -> float:
    """Seconds of one call of evaluate.py."""
    start = time.perf_counter()
    command = [sys.executable, "evaluate.py", *overrides, f"paths.outputs={outputs}", "logger=none"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def composing(jobs: int) -> float:
    """Seconds that Hydra needs for a job of a sweep: its config is composed twice, to check it and to run it."""
    from hydra import compose, initialize_config_dir

    from picdesk.pipelines import config

    config.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        start = time.perf_counter()
        for number in range(jobs):
            compose("evaluate", overrides=[f"seed={number}"], return_hydra_config=True)
    return 2 * (time.perf_counter() - start) / jobs


def stages(folder: Path) -> dict[str, float]:
    """Median seconds of each stage over the jobs of a sweep, but for the first, which reads the data."""
    seconds: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("manifest.json"), key=lambda path: path.stat().st_mtime_ns)[1:]:
        for stage in json.loads(path.read_text())["stages"]:
            seconds.setdefault(stage["name"], []).append(stage["seconds"])
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--separate", type=int, default=4, help="how many separate processes are run")
    parser.add_argument("overrides", nargs="*", help="data, backbone, ckpt, ... of all jobs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        job(outputs, *given.overrides)
        swept = [f"{key}={','.join(map(str, values))}" for key, values in AXES]
        count = len(AXES[0][1]) * len(AXES[1][1])
        alone = job(outputs, "-m", *given.overrides, "run_depth=10", f"hydra.sweep.dir={outputs}/one")
        whole = job(outputs, "-m", *given.overrides, *swept, f"hydra.sweep.dir={outputs}/all")
        single = statistics.median(job(outputs, *given.overrides, f"top_k={50 + n}") for n in range(given.separate))
        each = (whole - alone) / (count - 1)
        parts = stages(outputs / "all")
        search = sum(seconds for name, seconds in parts.items() if name.startswith("search "))
        hydra = composing(10)
    print(f"| {count} jobs | seconds |\n|---|---|")
    print(f"| one sweep, whole | {whole:.1f} |\n| a sweep of one job | {alone:.1f} |")
    print(f"| one separate process (median of {given.separate}) | {single:.2f} |")
    print(f"| {count} separate processes (that many times the median) | {count * single:.0f} |")
    print(f"| separate : sweep | {count * single / whole:.1f} : 1 |")
    print(f"| a job of the sweep, marginal (its part of the leaderboard included) | {each:.3f} |")
    print(f"| - its search and reranking | {search:.4f} |\n| - Hydra composing its config twice | {hydra:.3f} |")
    for name, seconds in parts.items():
        if not name.startswith("search "):
            print(f"| - stage: {name} | {seconds:.3f} |")
    print(f"| a job beyond its search | {each - search:.3f} (goal 0.3) |")
    print(f"| a job beyond its search and Hydra's composing | {each - search - hydra:.3f} |")


if __name__ == "__main__":
    main()
