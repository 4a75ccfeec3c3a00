"""What the pages say of speed and memory: each function makes what stands in one block, from the files of `bench/`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from scripts.recipe_numbers import RESULTS

PROJECT = RESULTS.parents[1]
RIVALS = (  # those of bench/train_steps.py
    "open_clip",
    "open_clip --grad-checkpointing",
    "open_clip --accum-freq",
    "open_clip --accum-freq --grad-checkpointing",
)
TOWERS = {
    "towers-768-bf16": "ViT-B/32, bf16",
    "towers-768": "ViT-B/32",
    "towers-96": "an eighth of ViT-B/32's width",
}
AS_QUICK = 0.02  # a difference below that is none
Row = Mapping[str, Any]


def read_file(name: str) -> dict[str, Any]:
    """What a bench found, by its keys."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def large_batches() -> str:
    """The table of docs/finetuning.md on memory: a row a batch and side, towers that were measured.

    Raises `KeyError` where nothing was measured beside open_clip, or a batch lacks a side.
    """
    found = read_file("train")
    heads = ("towers", "batch", "whose step", "peak memory", "seconds a step (quickest to slowest)", "ours beside it")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * 6]
    for kind, title in TOWERS.items():
        for batch in sorted(
            int(key.split(" ")[1]) for key in found if key.startswith(f"{kind} ") and key.endswith(" open_clip")
        ):
            ours = found[f"{kind} {batch} ours"]
            for who in (*RIVALS, "ours"):
                row = found[f"{kind} {batch} {who}"]
                against = "" if who == "ours" else ours_beside(ours, row)
                named = "ours, `chunk=64`, blocks of 1,024" if who == "ours" else f"`{who}`"
                lines.append(f"| {title} | {batch:,} | {named} | {step_cells(row)} | {against} |")
    if len(lines) == 2:
        raise KeyError("open_clip")
    return "\n\n" + "\n".join(lines) + "\n\n"


def step_cells(row: Row) -> str:
    """Peak memory, and the median step with its spread; or the bound that it does not fit."""
    if "seconds" not in row:
        return f"more than {row['bound']:.0f} GB | does not fit"
    seconds = row["seconds"]
    middle, low, high = (f"{value:.3g}" for value in (statistics.median(seconds), min(seconds), max(seconds)))
    return f"{row['peak']:.1f} GB | {middle} ({low} to {high})"


def ours_beside(ours: Row, theirs: Row) -> str:
    """Whether a step of ours is slower or quicker, and with how much memory."""
    if "seconds" not in ours or "seconds" not in theirs:
        return "ours fits" if "seconds" in ours else ""
    ratio = statistics.median(ours["seconds"]) / statistics.median(theirs["seconds"])
    word = "slower" if ratio > 1 + AS_QUICK else "quicker" if ratio < 1 - AS_QUICK else "as quick"
    return f"ours is {word}: {ratio:.2f} times as long, {ours['peak'] / theirs['peak']:.2f} times the memory"


TIMED = {"lite": "`lite`", "lite2": "`lite2`", "mobileclip_s1": "`mobileclip_s1`", "ViT-B-32": "`vit_b_32_*`"}
RATES = ("pictures fp32", "pictures bf16", "texts fp32", "texts bf16")


def backbones() -> str:
    """Pictures and texts a second: the backbones of `TIMED`, and whichever else was timed, and on what."""
    found = read_file("backbones")
    lines = [
        "| `backbone=` | pictures/s fp32 | pictures/s bf16 | texts/s fp32 | texts/s bf16 |",
        "|---|---|---|---|---|",
    ]
    for name in (*TIMED, *(other for other in found if other not in TIMED)):
        rates = [f"{found[name][rate]:,.0f}" for rate in RATES]
        lines.append(f"| {TIMED.get(name, f'`{name}`')} | {' | '.join(rates)} |")
    where = sorted({(row["machine"], row["rounds"]) for row in found.values()})
    on = "; ".join(f"{machine}, {rounds} round{'s' if rounds > 1 else ''}" for machine, rounds in where)
    return "\n\n" + "\n".join(lines) + f"\n\nMeasured on {on}.\n\n"


def sweep_job() -> str:
    """What a job of a sweep costs beside its search."""
    found = read_file("sweep")
    own = next(value for name, value in found["seconds"].items() if name.startswith("our own time"))
    machine = found["machine"].partition(", load")[0]
    return f"{own.partition(' ')[0]} s beyond its search and Hydra (median of {found['rounds']} rounds, {machine})"


OPTIONS = (  # those of bench/pareto.py
    *("vit_b_32_laion2b", "vit_b_16_openai", "siglip_b_16_224", "siglip2_b_16_224"),
    *("pe_core_t_16_384", "pe_core_s_16_384", "pe_core_b_16", "vit_l_14_laion2b"),
)


def pareto() -> str:
    """The table beside the picture of docs/backbones.md, from what `bench/pareto.py` found."""
    sys.path.insert(0, str(PROJECT / "scripts"))
    import pareto_page

    found = pareto_page.points()
    missing = set(OPTIONS) - {one.name for one in found}
    if missing:
        raise KeyError(*sorted(missing))
    best = pareto_page.front(found)
    lines = ["| `backbone=` | pictures a second of one core | COCO t2i hits@1, published | |", "|---|---|---|---|"]
    for one in found:
        told = "no faster one reaches as much" if one in best else ""
        lines.append(f"| `{one.name}` | {one.rate:.2f} | {100 * one.hits:.1f} | {told} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def memory() -> str:
    """What an item more costs each job, in bytes and in vectors of 512 float32 numbers: a row a job, a column a size.

    Raises `KeyError` where a job was not measured at two sizes.
    """
    rows = [row for row in read_file("memory").values() if row["version"] == "now"]
    sizes = sorted({row["count"] for row in rows})
    peaks = {(row["job"], row["count"]): row["peak"] for row in rows}
    shown = [pair for pair in pairwise(sizes) if pair[1] >= 100_000]  # below, what does not grow hides the rest
    if not shown:
        raise KeyError("memory")
    heads = [text for _, size in shown for text in (f"peak, {size:,} pictures", "bytes a picture")]
    lines = [f"| job | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for job in dict.fromkeys(row["job"] for row in rows):
        cells = [
            memory_cells(peaks.get((job, size)), peaks.get((job, before)), size - before) for before, size in shown
        ]
        lines.append(f"| `{job}` | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def memory_cells(peak: float | None, before: float | None, more: int) -> str:
    """The peak, and what each of `more` pictures added to it; empty where one of the two was not measured."""
    if peak is None:
        return " | "
    return f"{peak:.1f} GB | {'' if before is None else format((peak - before) * 1e9 / more, ',.0f')}"


def gpu() -> str:
    """What a card was measured to do, a row a side: items a second (median), and the most memory that tensors took."""
    rows = [row for row in read_file("gpu").values() if row.get("seconds") and row["count"]]
    lines = ["| what | whose | a second | peak memory |", "|---|---|---|---|"]
    for row in rows:
        pace = f"{row['count'] / statistics.median(row['seconds']):.3g}"
        peak = f"{row['peak']:.1f} GB" if row["peak"] else ""
        lines.append(f"| {row['what']} | {row['who']} | {whole(float(pace))} | {peak} |")
    on = "; ".join(sorted({f"{row['card']}, {row['cores']} cores, torch {row['torch']}" for row in rows}))
    return "\n\n" + "\n".join(lines) + f"\n\nOn {on}.\n\n"


def whole(number: float) -> str:
    """A rounded number without an exponent; millions and billions in words."""
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if number >= size:
            return f"{number / size:.3g}{word}"
    return f"{number:,.0f}"
