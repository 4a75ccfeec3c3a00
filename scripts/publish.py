"""Every measured number of README.md and docs/*.md comes from here: `python scripts/publish.py` writes, `--check` compares.

A number stands between `<!-- numbers: NAME -->` and `<!-- /numbers -->`; NAME is one of `BLOCKS`, and what stands there is made
from the committed files of bench/results/. `tests/test_published.py` fails where a page and the files differ.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "bench" / "results"
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
MARKED = re.compile(r"(<!-- numbers: ([\w-]+) -->)(.*?)(<!-- /numbers -->)", re.DOTALL)
UNKNOWN = "(not measured yet: `make numbers`)"
WORDS = (
    "demo-seeds",
    "demo-machines",
    "newsimages-more",
    "second-tower",
    "captions",
)  # blocks that stand within a sentence
NAMES = {"hits@1": "hits@1", "hits@5": "hits@5", "hits@10": "hits@10", "mrr": "MRR"}
DIRECTIONS = {"t2i": "Text to picture", "i2t": "Picture to text"}
Row = Mapping[str, Any]


@cache
def known() -> dict[str, Any]:
    """What `bench/recipes.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "recipes.json").read_text(encoding="utf-8"))
    return content


def measured_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of the recipes wanted, those that there are results of."""
    return {name: about for name, about in wanted.items() if name in known()}


def ends(value: list[float]) -> str:
    """`0.187 [0.156, 0.222]`."""
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def over(name: str, direction: str, metric: str = "hits@1") -> str:
    """The mean over the jobs of a recipe, with its interval."""
    found = known()[name]["over_jobs"][f"{direction}/{metric}"]
    return ends([found["mean"], found["low"], found["high"]])


def deviation(name: str, of: str, direction: str = "t2i", metric: str = "hits@1") -> str:
    """Standard deviation between `seeds` or `draws`."""
    return f"{known()[name]['over_jobs'][f'{direction}/{metric}'][of]:.3f}"


def chance(gallery: int, metric: str) -> float:
    """Of a random order, where each query has one relevant item."""
    if metric == "mrr":
        return sum(1 / rank for rank in range(1, gallery + 1)) / gallery
    return int(metric.partition("@")[2]) / gallery


def demo_tables() -> str:
    """What `make demo` prints, seed 0: both directions, four metrics."""
    job, lines = known()["demo"]["jobs"][0], []
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
    jobs = known()["demo"]["jobs"]
    values = [job["t2i"]["hits@1"][0] for job in jobs]
    return (
        f"five that each have a draw of the split of their own reach {min(values):.3f} to {max(values):.3f} from text to "
        f"picture, {over('demo', 't2i')} in the mean"
    )


def demo_machines() -> str:
    """What of a training changes from machine to machine."""
    names = {"demo": "one thread", "demo_two_threads": "two threads", "demo_old_cpu": "one thread without AVX"}
    jobs = {said: known()[name]["jobs"][0] for name, said in names.items()}
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
    for name, title in measured_of(DEFAULTS).items():
        gallery = known()[name]["jobs"][0]["t2i"]["gallery"]
        lines.append(f"| {title} | {gallery:,} | {over(name, 't2i')} | {over(name, 'i2t')} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


RECIPES = {
    "finetune_flickr8k_best": "official dev list, five seeds",
    "finetune_newsimages": "10% held out, five draws x five seeds",
}


def recipes() -> str:
    """The table of the recipes in the README."""
    lines = ["| recipe, part reported | gallery | t2i hits@1 | i2t hits@1 |", "|---|---|---|---|"]
    for name, title in measured_of(RECIPES).items():
        gallery = known()[name]["jobs"][0]["t2i"]["gallery"]
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
    for name, (title, part) in measured_of(FINETUNING).items():
        one = known()[name]
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
    return "\n\n" + "\n".join(splits_table(known())) + "\n\n"


def splits_table(found: Mapping[str, Any]) -> list[str]:
    """Markdown: a row a data set and way of drawing, means over the jobs with the same seeds."""
    heads = ("data, recipe", "drawn", "with a look-alike in train or val", "t2i hits@1", "of these", "without these")
    lines = [f"| {' | '.join((*heads, 'i2t hits@1', 'without these'))} |", "|---|---|---|---|---|---|---|---|"]
    for name in ("demo", "newsimages_lite", "finetune_newsimages"):
        ways = {f"{name}_ungrouped": "one by one", name: "by groups"}
        for key, drawn in ways.items() if set(ways) <= set(found) else ():
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


@cache
def tasks() -> dict[str, Any]:
    """What `bench/tasks.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "tasks.json").read_text(encoding="utf-8"))
    return content


def measured(name: str, direction: str, metric: str = "hits@1") -> str:
    """A metric of one of the tasks, with its interval."""
    one = tasks()[name][direction]
    return ends([one["metrics"][metric], *one["intervals"][metric]])


def differs(name: str, direction: str) -> tuple[str, str]:
    """How far hits@1 lies above the search alone, with its interval, and p."""
    value, low, high, p = tasks()[name]["less_search_alone"][direction]["hits@1"]
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]", f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


TUNED = {
    "tune_cross_backbone": "`cross_backbone` (`lite2`)",
    "tune_captions": "`captions` of the data set",
    "tune_both": "both",
}


def reranking() -> str:
    """The table of docs/reranking.md: a row a reranker, weights chosen on validation data."""
    heads = ("reranker", "chosen weight", "validation: alone, chosen", "t2i hits@1: alone, reranked", "difference", "p")
    lines = [f"| {' | '.join((*heads, 'i2t difference', 'p'))} |", "|" + "---|" * 8]
    for name, title in TUNED.items():
        own, t2i, i2t = tasks()[name]["tuned"], differs(name, "t2i"), differs(name, "i2t")
        weights, best = (
            " and ".join(f"{one:.2f}" for one in points) for points in (own["weights"].values(), own["best_weights"])
        )
        alone = tasks()[name]["search_alone"]["t2i"]["hits@1"]
        cells = (
            f"{weights} (highest at {best})",
            f"{own['search_alone']:.3f}, {own['value']:.3f}",
            f"{alone:.3f}, {tasks()[name]['t2i']['metrics']['hits@1']:.3f}",
            *(*t2i, *i2t),
        )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def second_tower() -> str:
    """What the second backbone is worth alone, over the whole gallery and over the candidates of the first."""
    alone = {name: tasks()[name]["t2i"]["metrics"]["hits@1"] for name in ("lite", "lite2")}
    own = tasks()["tune_cross_backbone"]["tuned"]
    last = float(tasks()["tune_cross_backbone"]["last_point"][1])
    return (
        f"`lite2` alone reaches {alone['lite2']:.3f} and `lite` {alone['lite']:.3f}; over the candidates of `lite`, on "
        f"validation, {last:.3f} against {own['search_alone']:.3f}. The curve is highest, {own['best_value']:.3f}, at weight "
        f"{own['best_weights'][0]:.2f}"
    )


def captions() -> str:
    """Captions between texts and pictures: hits, share answered, BLEU."""
    cut, told = tasks()["captions_0.5"]["min_score"], tasks()["captions"]["captions"]
    low, high = told["interval"]
    return (
        f"text to picture hits@1 {measured('captions', 't2i')}, hits@5 {measured('captions', 't2i', 'hits@5')}; picture to text "
        f"with the fifth caption standing for the captioner {measured('fifth', 'i2t')}. With the threshold 0.5, "
        f"{100 * cut['answered']:.1f}% of the texts are answered and hits@1 is {cut['t2i']['hits@1']:.3f}. First captions "
        f"against the other four have BLEU {told['bleu']:.1f} [{low:.1f}, {high:.1f}]"
    )


def large_batches() -> str:
    """The table of docs/finetuning.md on memory, from what `bench/train.py` found: a row a batch size."""
    found = json.loads((RESULTS / "train.json").read_text(encoding="utf-8"))
    lines = [
        "| batch | one pass over the whole batch, open_clip's loss | `chunk=64`, blocks of 1,024 |",
        "|---|---|---|",
    ]
    for batch in (256, 1024, 4096):
        cells = []
        for whose in ("theirs", "ours"):
            one = found[f"towers-768-bf16 {batch} {whose}"]
            fits = "seconds" in one
            cells.append(
                f"{one['peak']:.1f} GB, {one['seconds']:.0f} s a step" if fits else f"more than {one['bound']:.0f} GB"
            )
        lines.append(f"| {batch:,} | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


@cache
def vectors() -> dict[str, Any]:
    """What `bench/vectors.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "vectors.json").read_text(encoding="utf-8"))
    return content


def spread_of(over: Mapping[str, Any], sign: str = "") -> str:
    """`0.532 [0.501, 0.563]` over draws; over seeds of a fixed list the mean, and the least and the most."""
    low, high = (over["low"], over["high"]) if "low" in over else (over["least"], over["most"])
    between = ", " if "low" in over else " to "
    return f"{over['mean']:{sign}.3f} [{low:{sign}.3f}{between}{high:{sign}.3f}]"


def given_heads() -> str:
    """Heads on real CLIP vectors beside a backbone that sees the pictures."""
    lines = ["| what learns | t2i hits@1 | i2t hits@1 | less `lite_pair`, t2i | i2t |", "|---|---|---|---|---|"]
    for name, row in vectors()["heads"].items():
        own = [spread_of(row[d]["over"]) for d in DIRECTIONS]
        less = (
            ["", ""] if name == "lite_pair" else [spread_of(row["less_lite_pair"][d]["over"], "+") for d in DIRECTIONS]
        )
        lines.append(f"| {row['title']} | {' | '.join([*own, *less])} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def score_corrections() -> str:
    """Every rule on every data set, as chosen on validation data."""
    lines = [
        "| data | scores | t2i: plain, corrected | difference | i2t: plain, corrected | difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in vectors().items():
        for rule, own in found.get("scores", {}).items() if name != "heads" else ():
            cells = []
            for d in DIRECTIONS:
                plain, corrected = own[d]["mean"]
                cells += [f"{plain:.3f}, {corrected:.3f}", spread_of(own[d]["over"], "+")]
            lines.append(f"| {found['fit']['title']} | `{rule}` | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def pareto() -> str:
    """The table beside the picture of docs/backbones.md, from what `bench/pareto.py` found."""
    sys.path.insert(0, str(PROJECT / "scripts"))
    import pareto_page

    found = pareto_page.points()
    best = pareto_page.front(found)
    lines = ["| `backbone=` | pictures a second of one core | COCO t2i hits@1, published | |", "|---|---|---|---|"]
    for one in found:
        told = "no faster one reaches as much" if one in best else ""
        lines.append(f"| `{one.name}` | {one.rate:.2f} | {100 * one.hits:.1f} | {told} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def lexical() -> str:
    """The table of docs/reranking.md on NewsImages, from what `bench/lexical.py` found: a row a score and draw."""
    found = json.loads((RESULTS / "lexical.json").read_text(encoding="utf-8"))
    heads = ("score", "draw", "chosen weight", "t2i hits@1: alone, reranked", "difference", "i2t: alone, reranked")
    lines = [f"| {' | '.join((*heads, 'difference'))} |", "|" + "---|" * 7]
    for name in ("bm25", "entities"):
        for draw, own in found[name].items():
            weight = " and ".join(f"{one:.2f}" for one in own["tuned"]["weights"].values())
            cells = [name, draw, weight]
            for d in DIRECTIONS:
                cells += [f"{own['before'][d]:.3f}, {own['after'][d]:.3f}", ends(own["less_search_alone"][d][:3])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "demo": demo_tables,
    "demo-seeds": demo_seeds,
    "demo-machines": demo_machines,
    "defaults": defaults,
    "recipes": recipes,
    "finetuning": finetuning,
    "newsimages-more": newsimages_more,
    "splits": splits,
    "large-batches": large_batches,
    "reranking": reranking,
    "second-tower": second_tower,
    "captions": captions,
    "given-heads": given_heads,
    "score-corrections": score_corrections,
    "lexical": lexical,
    "pareto": pareto,
}


def block(name: str) -> str:
    """What stands between the marks of this name; where its results are not there yet, that it was not measured."""
    made = BLOCKS[name]
    try:
        return made()
    except (KeyError, FileNotFoundError):
        return UNKNOWN if name in WORDS else f"\n\n{UNKNOWN}\n\n"


def published(text: str) -> str:
    """A page with every marked number made anew. Raises `KeyError` for a name that is none of `BLOCKS`."""
    return MARKED.sub(lambda found: found[1] + block(found[2]) + found[4], text)


def main() -> None:
    """Write the pages, or with `--check` say which differ."""
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = published(text)
        if fresh != text:
            stale.append(page.relative_to(PROJECT).as_posix())
            if "--check" not in sys.argv:
                page.write_text(fresh, encoding="utf-8")
    print(f"{'differ from' if '--check' in sys.argv else 'written from'} bench/results: {', '.join(stale) or 'none'}")
    if stale and "--check" in sys.argv:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
