"""What the pages say of fitted recipes: each function makes what stands in one block, from bench/results/recipes.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"
NAMES = {"hits@1": "hits@1", "hits@5": "hits@5", "hits@10": "hits@10", "mrr": "MRR"}
DIRECTIONS = {"t2i": "Text to picture", "i2t": "Picture to text"}
Row = Mapping[str, Any]
NOT_YET = "(not measured yet: `make numbers`)"
"""What stands in the place of what was not measured."""


@cache
def read_results() -> dict[str, Any]:
    """What `bench/recipes.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "recipes.json").read_text(encoding="utf-8"))
    return content


def ends(value: list[float]) -> str:
    """`0.187 [0.156, 0.222]`."""
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def over(name: str, direction: str, metric: str = "hits@1") -> str:
    """The mean over the jobs of a recipe, with its interval."""
    found = read_results()[name]["over_jobs"][f"{direction}/{metric}"]
    return ends([found["mean"], found["low"], found["high"]])


def deviation(name: str, of: str, direction: str = "t2i", metric: str = "hits@1") -> str:
    """Standard deviation between `seeds` or `draws`."""
    return f"{read_results()[name]['over_jobs'][f'{direction}/{metric}'][of]:.3f}"


def chance(gallery: int, metric: str) -> float:
    """Of a random order, where each query has one relevant item."""
    if metric == "mrr":
        return sum(1 / rank for rank in range(1, gallery + 1)) / gallery
    return int(metric.partition("@")[2]) / gallery


def demo_tables() -> str:
    """What `make demo` prints, seed 0: both directions, four metrics."""
    job, lines = read_results()["demo"]["jobs"][0], []
    for direction, title in DIRECTIONS.items():
        row = job[direction]
        lines += [f"{title}: {row['queries']:,} queries, gallery of {row['gallery']:,}"]
        lines += ["| metric      | untrained            | trained              | chance   |"]
        lines += ["|-------------|----------------------|----------------------|----------|"]
        for metric, label in NAMES.items():
            cells = (ends(row["before"][metric]), ends(row[metric]), f"{chance(row['gallery'], metric):.3f}")
            lines.append(f"| {label:11} | {cells[0]} | {cells[1]} | {cells[2]}    |")
        lines.append("")
    return "\n\n" + "\n".join(f"    {line}".rstrip() for line in lines).rstrip() + "\n\n"


def demo_seeds() -> str:
    """One sentence on the spread of the demo over seeds."""
    jobs = read_results()["demo"]["jobs"]
    values = [job["t2i"]["hits@1"][0] for job in jobs]
    return (
        f"five that each have a draw of the split of their own reach {min(values):.3f} to {max(values):.3f} from text to "
        f"picture, {over('demo', 't2i')} in the mean"
    )


def demo_machines() -> str:
    """What of a training changes from machine to machine."""
    names = {
        "demo": "one thread",
        "demo_two_threads": "two threads",
        "demo_intel": "one thread on an Intel Xeon with AMX",
        "demo_old_cpu": "one thread without AVX",
    }
    jobs = {said: read_results()[name]["jobs"][0] for name, said in names.items()}
    values = [
        f"{job['t2i']['hits@1'][0]:.4f} and {job['i2t']['hits@1'][0]:.4f} with {said}" for said, job in jobs.items()
    ]
    return f"the demo, seed 0, reaches hits@1 (t2i and i2t) {', '.join(values)}"


DEFAULTS = {
    "demo": "demo, 20% held out, five draws",
    "flickr8k_lite": "Flickr8k, official dev list (5,000 captions), five seeds",
    "newsimages_lite": "NewsImages (half of the 2025 development set), 10% held out, five draws",
}


def defaults() -> str:
    """The table of the defaults: a row a data set."""
    lines = ["| data, part reported | gallery | t2i hits@1 | i2t hits@1 |", "|---|---|---|---|"]
    for name, title in DEFAULTS.items():
        gallery = read_results()[name]["jobs"][0]["t2i"]["gallery"]
        lines.append(f"| {title} | {gallery:,} | {over(name, 't2i')} | {over(name, 'i2t')} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


RECIPES = {
    "finetune_flickr8k_best": "official dev list, five seeds",
    "finetune_newsimages": "10% held out, five draws x five seeds",
}


def recipes() -> str:
    """The table of the recipes in the README."""
    lines = ["| recipe, part reported | gallery | t2i hits@1 | i2t hits@1 |", "|---|---|---|---|"]
    for name, title in RECIPES.items():
        gallery = read_results()[name]["jobs"][0]["t2i"]["gallery"]
        lines.append(f"| `{name}`, {title} | {gallery:,} | {over(name, 't2i')} | {over(name, 'i2t')} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


FINETUNING = {
    "finetune_flickr8k_margin": ("heads + margin", "Flickr8k dev, 1,000 pictures, 5,000 captions"),
    "finetune_flickr8k_infonce": ("heads + InfoNCE", "Flickr8k dev, 1,000 pictures, 5,000 captions"),
    "finetune_flickr8k_best": ("**best recipe**", "Flickr8k dev, 1,000 pictures, 5,000 captions"),
    "finetune_newsimages": ("heads + InfoNCE", "NewsImages, a tenth (396), five draws"),
}


def finetuning() -> str:
    """The table of docs/finetuning.md: a row a recipe, with the untrained heads of the first job of each data set."""
    lines = ["| | reported on | t2i hits@1 | SD seeds, draws | i2t hits@1 |", "|---|---|---|---|---|"]
    parts: list[str] = []
    for name, (title, part) in FINETUNING.items():
        one = read_results()[name]
        if part not in parts:
            parts.append(part)
            before = [one["jobs"][0][direction]["before"]["hits@1"][0] for direction in DIRECTIONS]
            lines.append(f"| untrained heads | {part} | {before[0]:.3f} | | {before[1]:.3f} |")
        sds = [one["over_jobs"]["t2i/hits@1"][of] for of in ("seeds", "draws")]
        spread = ", ".join("-" if sd is None else f"{sd:.3f}" for sd in sds)
        lines.append(f"| {title} | the same | {over(name, 't2i')} | {spread} | {over(name, 'i2t')} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def newsimages_more() -> str:
    """The other metrics of the NewsImages task."""
    name = "finetune_newsimages"
    return (
        f"hits@5 {over(name, 't2i', 'hits@5')}, MRR {over(name, 't2i', 'mrr')} (t2i); standard deviation of t2i hits@1 between "
        f"seeds {deviation(name, 'seeds')}, between draws {deviation(name, 'draws')}"
    )


def splits() -> str:
    """Look-alikes in what was learned from, before and after: the first lines of bench/results/splits.md."""
    return "\n\n" + "\n".join(splits_table(read_results())) + "\n\n"


def splits_table(found: Mapping[str, Any]) -> list[str]:
    """Markdown: a row a data set and way of drawing, means over the jobs with the same seeds. Each must be there."""
    heads = ("data, recipe", "drawn", "with a look-alike in train or val", "t2i hits@1", "of these", "without these")
    lines = [f"| {' | '.join((*heads, 'i2t hits@1', 'without these'))} |", "|---|---|---|---|---|---|---|---|"]
    for name in ("demo", "newsimages_lite", "finetune_newsimages"):
        ways = {f"{name}_ungrouped": "one by one", name: "by groups"}
        for key, drawn in ways.items():
            rows = [row for row in found[key]["jobs"] if name != "finetune_newsimages" or row["seed"] == 0]
            lines.append(f"| {name} | {drawn} | {' | '.join(splits_cells(rows))} |")
    return lines


def splits_cells(rows: list[Row]) -> list[str]:
    """Means over jobs: share of look-alikes, hits@1 of all, of those, without those, and of the other direction."""
    alike = sum(row["without"]["look_alikes"] for row in rows)
    pictures = sum(row["without"]["pictures"] for row in rows)
    cells = [f"{alike / len(rows):.1f} of {pictures / len(rows):.0f}"]
    for direction in DIRECTIONS:
        every = [(row[direction]["hits@1"][0], row[direction]["queries"]) for row in rows]
        rest = [(row["without"][direction]["hits@1"][0], row["without"][direction]["queries"]) for row in rows]
        hits, asked = (sum(value * count for value, count in part) for part in (every, rest)), sum(n for _, n in every)
        whole, kept = hits
        left = sum(count for _, count in rest)
        own = f"{(whole - kept) / (asked - left):.3f}" if asked > left else "-"
        cells += [f"{whole / asked:.3f}", *([own] if direction == "t2i" else []), f"{kept / left:.3f}"]
    return cells
