"""Five-seed tables of the fine-tuning experiments: `python bench/finetune.py [--data-root DIR]`; no other tool is compared.

Each experiment is one sweep of `train.py` over seeds in one process, so features come from the store once. A run that was cut
off goes on where it stopped. The table is written to bench/results/finetune.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from picdesk.files import write_text
from picdesk.pipelines.jobs import DoneJob, find_jobs

PROJECT = Path(__file__).resolve().parents[1]
DATA_ROOT = Path(os.environ.get("PICDESK_DATA_ROOT", PROJECT.parent / "shared" / "data"))
EXPERIMENTS = {
    "finetune_flickr8k_margin": "heads + margin",
    "finetune_flickr8k_infonce": "heads + infonce",
    "finetune_flickr8k_best": "best recipe",
    "finetune_newsimages": "heads + infonce",
}
DATA = {
    "Flickr8k, official dev list": tuple(EXPERIMENTS)[:3],
    "NewsImages, random test tenth": tuple(EXPERIMENTS)[3:],
}
METRICS = ("hits@1", "hits@5", "hits@10", "mrr")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT, help="folder that holds flickr8k/ and newsimages/")
    parser.add_argument("--outputs", type=Path, default=PROJECT / "outputs")
    parser.add_argument("--store", type=Path, help="by default OUTPUTS/store")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=EXPERIMENTS, help="run one experiment; the table is of all that are there")
    return parser.parse_args()


def sweep(given: argparse.Namespace, name: str) -> None:
    seeds = ",".join(str(seed) for seed in range(given.seeds))
    command = [sys.executable, str(PROJECT / "train.py"), "-m", f"experiment={name}", f"seed={seeds}"]
    command += [f"paths.data_root={given.data_root}", f"paths.outputs={given.outputs}", "logger=none"]
    command += [f"paths.store={given.store or given.outputs / 'store'}", "skip_completed=true"]
    subprocess.run([*command, f"hydra.sweep.dir={folder_of(given, name)}"], check=True, cwd=PROJECT)


def folder_of(given: argparse.Namespace, name: str) -> Path:
    folder: Path = given.outputs.resolve() / "finetune" / name
    return folder


def cell(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f}"


def row(name: str, jobs: list[DoneJob], direction: str, trained: bool) -> str:
    def value(job: DoneJob, metric: str) -> float:
        if trained:
            return float(job.metrics[direction]["metrics"][metric])
        return float(job.manifest.compared["before"][f"{direction}/{metric}"])

    return f"| {name} | " + " | ".join(cell([value(job, metric) for job in jobs]) for metric in METRICS) + " |"


def table(title: str, named: list[tuple[str, list[DoneJob]]], direction: str) -> list[str]:
    job = named[0][1][0]
    counts = job.metrics[direction]["metrics"]
    lines = [f"{title}, {direction}: {counts['queries']:,} queries, gallery of {counts['gallery']:,}.", ""]
    lines += [f"| | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    backbones = {jobs[0].manifest.weights["name"]: jobs for _, jobs in named}
    lines += [row(f"untrained heads, {name}", jobs, direction, False) for name, jobs in backbones.items()]
    return [*lines, *(row(name, jobs, direction, True) for name, jobs in named), ""]


def seconds(job: DoneJob, stage: str) -> float:
    return sum(one.seconds for one in job.manifest.stages if one.name == stage)


def main() -> None:
    given = arguments()
    for name in EXPERIMENTS:
        if given.only in (None, name):
            sweep(given, name)
    jobs = {
        name: list(find_jobs(folder_of(given, name)).jobs) for name in EXPERIMENTS if folder_of(given, name).is_dir()
    }
    lines = [
        "# Fine-tuning, five seeds",
        "",
        "Mean and standard deviation over the seeds; the split is the same in all.",
    ]
    lines += ["Written by `bench/finetune.py`. Chosen on validation data; each job scored the reported part once.", ""]
    for title, names in DATA.items():
        named = [(f"{EXPERIMENTS[name]} (`{name}`)", jobs[name]) for name in names if jobs.get(name)]
        for direction in ("t2i", "i2t"):
            lines += table(title, named, direction) if named else []
    lines += ["| experiment | seeds | validation hits@1, mean of both | fit, seconds (median) |", "|---|---|---|---|"]
    for name, done in jobs.items():
        fit = statistics.median(seconds(job, "fit") for job in done)
        scores = cell([float(job.manifest.objective or 0) for job in done])
        lines.append(f"| `{name}` | {len(done)} | {scores} | {fit:.0f} |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    write_text(PROJECT / "bench/results/finetune.md", "\n".join([*lines, "", f"Machine: {machine}.", ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
