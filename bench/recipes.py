"""Every published number of a recipe: `python bench/recipes.py [--data-root DIR] [--only NAME ...]`; no other tool is compared.

Each recipe is one sweep of `train.py` over seeds, over draws of the split, or both, in one process, so that features come from
the store once. A run that was cut off goes on where it stopped. What was found is kept in bench/results/recipes.json, which
`scripts/publish.py` makes the tables of the README and the docs from, and bench/results/recipes.md is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from picdesk.evaluation.ranks import ranks_of_run
from picdesk.evaluation.spread import Spread, over_draws, over_seeds_and_pictures, round_spread
from picdesk.files import write_text
from picdesk.interfaces import DIRECTIONS
from picdesk.jobs.found import DoneJob, find_jobs
from picdesk.trec.files import read_qrels, read_runs

PROJECT = Path(__file__).resolve().parents[1]
DATA_ROOT = Path(os.environ.get("PICDESK_DATA_ROOT", PROJECT.parent / "shared" / "data"))
RESULTS = PROJECT / "bench" / "results" / "recipes.json"
METRICS = ("hits@1", "hits@5", "hits@10", "mrr")
FIVE = "0,1,2,3,4"
FP32 = "encode.precision=fp32"  # what every machine computes in, as these numbers are published


@dataclass(frozen=True)
class Recipe:
    """A sweep of `train.py`: its name in the tables, what it is given, the keys it sweeps over `values`, the environment. `fixed`
    where all jobs report the same pictures; else each value of the split's seed has a draw of its own."""

    title: str
    given: tuple[str, ...]
    swept: tuple[str, ...] = ("seed",)
    environment: Mapping[str, str] | None = None
    own_store: bool = False
    values: str = FIVE
    fixed: bool = False


def experiment(title: str, name: str, *more: str, **other: Any) -> Recipe:
    return Recipe(title, (f"experiment={name}", *more), **other)


UNGROUPED = "split.groups=none"
BOTH = ("split.seed", "seed")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
RECIPES = {
    "demo": Recipe("defaults", ("data=demo",)),
    "demo_ungrouped": Recipe("defaults, pictures drawn one by one", ("data=demo", UNGROUPED)),
    "newsimages_lite": experiment("defaults", "newsimages_lite"),
    "newsimages_lite_ungrouped": experiment("defaults, pictures drawn one by one", "newsimages_lite", UNGROUPED),
    "finetune_newsimages": experiment("heads + InfoNCE", "finetune_newsimages", swept=BOTH),
    "finetune_newsimages_ungrouped": experiment(
        "heads + InfoNCE, pictures drawn one by one", "finetune_newsimages", UNGROUPED, swept=("split.seed",)
    ),
    "flickr8k_lite": experiment("defaults", "flickr8k_lite", fixed=True),
    "finetune_flickr8k_margin": experiment("heads + margin", "finetune_flickr8k_margin", fixed=True),
    "finetune_flickr8k_infonce": experiment("heads + InfoNCE", "finetune_flickr8k_infonce", fixed=True),
    "finetune_flickr8k_best": experiment("best recipe", "finetune_flickr8k_best", fixed=True),
    "demo_two_threads": Recipe("two threads", ("data=demo",), environment={"OMP_NUM_THREADS": "2"}, values="0"),
    "demo_intel": Recipe(
        "one thread on an Intel Xeon", ("data=demo",), environment=ONE_THREAD, own_store=True, values="0"
    ),
    "demo_old_cpu": Recipe(
        "without AVX", ("data=demo",), environment={**ONE_THREAD, **OLD}, own_store=True, values="0"
    ),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT, help="folder that holds flickr8k/ and newsimages/")
    parser.add_argument("--outputs", type=Path, default=PROJECT / "outputs")
    parser.add_argument("--store", type=Path, help="by default OUTPUTS/store")
    parser.add_argument("--only", nargs="+", choices=RECIPES, help="run some; the table is of all that are known")
    return parser.parse_args()


def run(given: argparse.Namespace, name: str) -> list[DoneJob]:
    """The jobs of one recipe. Those that are there already are not run again, except in another environment, which a job's
    fingerprint does not hold."""
    recipe, folder = RECIPES[name], given.outputs.resolve() / "recipes" / name
    store = given.outputs / f"store_{name}" if recipe.own_store else given.store or given.outputs / "store"
    command = [sys.executable, str(PROJECT / "train.py"), "-m", FP32, *recipe.given]
    command += [f"{key}={recipe.values}" for key in recipe.swept]
    command += [f"paths.data_root={given.data_root}", f"paths.outputs={given.outputs}", "logger=none"]
    command += [f"paths.store={store}", f"skip_completed={recipe.environment is None}", f"hydra.sweep.dir={folder}"]
    environment = {**os.environ, **(recipe.environment or ONE_THREAD)}
    subprocess.run(command, check=True, cwd=PROJECT, env=environment)
    return list(find_jobs(folder).jobs)


def about(job: DoneJob) -> dict[str, Any]:
    """What is kept of one job: each metric with the ends of its interval, before and after the fit, and without look-alikes."""
    cfg = OmegaConf.load(job.folder / "config.yaml")
    found: dict[str, Any] = {"seed": int(cfg.seed), "split_seed": int(cfg.split.seed)}
    for direction in DIRECTIONS:
        found[direction] = with_ends(job.metrics[direction])
        before = {metric: job.manifest.compared["before"][f"{direction}/{metric}"] for metric in METRICS}
        found[direction]["before"] = {
            metric: [
                before[metric],
                *(job.manifest.compared["before"][f"{direction}/{metric}_{end}"] for end in ("low", "high")),
            ]
            for metric in METRICS
        }
    kept = job.metrics["without_look_alikes"]
    found["without"] = {
        "pictures": kept["pictures"],
        "look_alikes": kept["look_alikes"],
        **{direction: with_ends(kept[direction]) for direction in DIRECTIONS if direction in kept},
    }
    found["validation"] = job.manifest.objective
    found["fit_seconds"] = round(sum(stage.seconds for stage in job.manifest.stages if stage.name == "fit"), 1)
    return found


def with_ends(measured: Mapping[str, Any]) -> dict[str, Any]:
    """`{hits@1: [value, low, high], ..., queries, gallery}`."""
    metrics, ends = measured["metrics"], measured["intervals"]
    counts = {name: metrics[name] for name in ("queries", "gallery")}
    return {**{metric: [metrics[metric], *ends[metric]] for metric in METRICS}, **counts}


def over_jobs(recipe: Recipe, jobs: Sequence[DoneJob], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each direction and metric the mean over the jobs with its interval (`picdesk.evaluation.spread`)."""
    found: dict[str, Any] = {}
    split = OmegaConf.load(jobs[0].folder / "config.yaml").split
    for direction in DIRECTIONS:
        for metric in METRICS:
            if not recipe.fixed:
                spread = spread_over_draws(rows, direction, metric, float(split.test) / float(split.train))
            else:
                spread = spread_over_jobs(jobs, direction, metric)
            found[f"{direction}/{metric}"] = round_spread(spread)
    return found


def spread_over_draws(
    rows: Sequence[Mapping[str, Any]], direction: str, metric: str, tested_per_learned: float
) -> Spread:
    """Over draws of the split, from what is kept of each job."""
    draws: dict[int, list[Any]] = {}
    for row in rows:
        draws.setdefault(row["split_seed"], []).append(row[direction][metric])
    value, low, high = np.array(list(draws.values()), np.float64).transpose(2, 0, 1)
    return over_draws(value, high - low, tested_per_learned)


def spread_over_jobs(jobs: Sequence[DoneJob], direction: Any, metric: str) -> Spread:
    """Over seeds and pictures, from the runs that the jobs left."""
    values, cluster = [], np.empty(0, np.int64)
    for job in jobs:
        ranks = ranks_of_run(
            read_runs(job.folder / "run.trec")[direction], read_qrels(job.folder / "qrels.trec")[direction], direction
        )
        order = np.argsort(np.array(ranks.query_ids))
        first, cluster = ranks.first[order], ranks.cluster[order]
        values.append(1 / first if metric == "mrr" else (first <= int(metric.partition("@")[2])).astype(np.float64))
    return over_seeds_and_pictures(np.array(values), np.unique(cluster, return_inverse=True)[1])


def machine() -> str:
    """What the fits ran on."""
    names = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def measure(given: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Run the recipes and put them into the results; all results there are now."""
    known: dict[str, Any] = {}
    for name in names:
        jobs = run(given, name)
        known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        rows = sorted((about(job) for job in jobs), key=lambda row: (row["split_seed"], row["seed"]))
        known[name] = {"title": RECIPES[name].title, "machine": machine(), "backbone": jobs[0].manifest.weights["name"]}
        if len(rows) > 1:
            known[name]["over_jobs"] = over_jobs(RECIPES[name], jobs, rows)
        known[name]["jobs"] = rows
        ordered = {key: known[key] for key in RECIPES if key in known}
        write_text(RESULTS, json.dumps(ordered, indent=1) + "\n")
    return known


def table(known: Mapping[str, Any], names: Sequence[str], direction: str) -> list[str]:
    """Markdown lines: a row a recipe, mean [interval] of each metric."""
    row = known[names[0]]["jobs"][0][direction]
    lines = [f"{direction}: {row['queries']:,} queries, gallery of {row['gallery']:,}.", ""]
    lines += [f"| | {' | '.join(METRICS)} | SD of seeds, draws (hits@1) |", "|---" * (len(METRICS) + 2) + "|"]
    for name in names:
        over = known[name]["over_jobs"]
        cells = [
            f"{o['mean']:.3f} [{o['low']:.3f}, {o['high']:.3f}]" for o in (over[f"{direction}/{m}"] for m in METRICS)
        ]
        sds = [over[f"{direction}/hits@1"][key] for key in ("seeds", "draws")]
        spread = ", ".join("none" if sd is None else f"{sd:.3f}" for sd in sds)
        lines.append(
            f"| {known[name]['title']} (`{name}`), {len(known[name]['jobs'])} jobs | {' | '.join(cells)} | {spread} |"
        )
    return [*lines, ""]


def report(known: Mapping[str, Any]) -> str:
    """bench/results/recipes.md."""
    lines = [
        "# Recipes, over seeds, pictures and draws of the split",
        "",
        "Written by `bench/recipes.py` from `recipes.json`. Chosen on validation data; each job scored the reported part once.",
        "Mean over the jobs [95% interval]: over seeds and pictures on Flickr8k, whose reported list is fixed; over draws of the",
        "split, each with test pictures and seeds of its own, elsewhere ([docs/metrics.md](../../docs/metrics.md)).",
        "",
    ]
    data = {"Flickr8k, official dev list": "flickr8k", "NewsImages, a tenth": "newsimages", "Demo, a fifth": "demo"}
    for title, word in data.items():
        names = [name for name in known if word in name and "over_jobs" in known[name] and "ungrouped" not in name]
        if names:
            lines += [f"## {title}", ""]
            for direction in DIRECTIONS:
                lines += table(known, names, direction)
    lines += ["| recipe | jobs | validation hits@1, mean of both |", "|---|---|---|"]
    for name, one in known.items():
        scores = statistics.mean(row["validation"] for row in one["jobs"])
        lines.append(f"| `{name}` | {len(one['jobs'])} | {scores:.3f} |")
    machines = "; ".join(dict.fromkeys(str(one["machine"]) for one in known.values()))
    return "\n".join([*lines, "", f"Machine: {machines}; one thread a fit unless told.", ""])


def main() -> None:
    given = arguments()
    known = measure(given, given.only or list(RECIPES))
    write_text(RESULTS.with_suffix(".md"), report(known))
    print(report(known))


if __name__ == "__main__":
    main()
