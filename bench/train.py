"""Steps per second and peak memory of training, beside open_clip's own loop; writes bench/results/train.md.

    python bench/train.py                                   # towers at an eighth of ViT-B-32's width: minutes on two cores
    python bench/train.py --only towers --width 768 --memory 20 --batches 256             # ViT-B-32 itself: hours
    python bench/train.py --only towers --width 768 --memory 20 --batches 256 --bf16      # bf16 autocast, both sides

Random weights, random pixels and tokens: the cost is the same. Each measurement is a process of its own with a bound on its
memory (`--memory`, GB), so that what does not fit is told and hurts nobody. The first WARM steps are not counted; the table shows
the median of the next STEPS and, behind it, the slowest and the quickest of them.

Towers: the rival is `open_clip_train.train.train_one_epoch` with open_clip's model and ClipLoss, as it comes and with its own
remedies for memory: `--grad-checkpointing`, and `--accum-freq` so that CHUNK pairs are in memory at a time (which embeds every
pair twice, as ours does), and both. Ours goes in chunks of CHUNK, with logits in blocks of BLOCK. open_clip's text tower runs
over its 77 positions; ours cuts a batch at its longest text, which here has 14 tokens.
`heads`: linear heads on cached features of 1,280 and 384 dimensions, both with AdamW, on the same inputs, beside ClipLoss.
"""

import argparse
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch

from kept import Row, keep_rows, merge_results
from train_steps import RIVALS, STEPS, WARM, Setting, measure_apart

HERE = Path(__file__).resolve().parent
SHOWN = (
    ("towers, 96 wide", "towers-96"),
    ("towers of ViT-B-32", "towers-768"),
    ("towers of ViT-B-32, bf16", "towers-768-bf16"),
    ("heads", "heads"),
)
PARTS = (
    ("towers", (128, 512), (*RIVALS, "ours")),
    ("heads", (256, 1024, 4096), ("ClipLoss", "ours")),
    ("lite", (256,), ("cached", "trunks")),
)


SIDES = {who for _, _, sides in PARTS for who in sides}


def is_of_this_form(key: str, row: Row) -> bool:
    """Whether a row is of a side that is measured now, with the seconds of each step; earlier rows had one number."""
    return key.split(" ", 2)[2] in SIDES and isinstance(row.get("seconds", []), list)


def step_seconds(found: Row) -> list[float]:
    """Seconds of each counted step."""
    return [float(value) for value in found["seconds"]]  # type: ignore[attr-defined]


def cells(found: Row, batch: int) -> str:
    """Pairs a second with their span, steps a second, peak memory, the bound on memory."""
    bound = f"{found['bound']:g}"
    if "seconds" not in found:
        return f"does not fit | | | {bound}"
    seconds = step_seconds(found)
    middle = statistics.median(seconds)
    span = f"{batch / max(seconds):.3g} to {batch / min(seconds):.3g}"
    return f"{batch / middle:.3g} ({span}) | {1 / middle:.3g} | {float(str(found['peak'])):.2f} | {bound}"


def beside(found: dict[str, Row]) -> list[str]:
    """How many times as long a step of ours takes as each rival's, and with how much memory; slower ones are said to be."""
    lines = []
    for label, kind in SHOWN:
        for batch, who in sorted(
            {(int(key.split()[1]), key.split(" ", 2)[2]) for key in found if key.split()[0] == kind}
        ):
            ours, theirs = found.get(f"{kind} {batch} ours", {}), found[f"{kind} {batch} {who}"]
            if who == "ours" or "seconds" not in ours or "seconds" not in theirs:
                continue
            ratio = statistics.median(step_seconds(ours)) / statistics.median(step_seconds(theirs))
            word = "slower" if ratio > 1.02 else "quicker" if ratio < 0.98 else "as quick"
            share = float(str(ours["peak"])) / float(str(theirs["peak"]))
            lines.append(
                f"- {label}, batch {batch:,}, beside {who}: ours is {word} ({ratio:.2f} times as long a step), "
                f"with {share:.2f} times the memory"
            )
    return lines


def about_lite(found: Mapping[str, Row]) -> str:
    """What a step of heads takes on cached features and through frozen trunks; nothing where either was not measured."""
    keys = ("lite 256 cached", "lite 256 trunks")
    if not all("seconds" in found.get(key, {}) for key in keys):
        return ""
    cached, trunks = (statistics.median(step_seconds(found[key])) for key in keys)
    return f"""
`heads` of `backbone=lite`, a batch of 256: {1000 * cached:.1f} ms a step on cached features,
{1000 * trunks:,.0f} ms through the frozen trunks (pixels and tokens in memory):
{trunks / cached:,.0f} times as long. An epoch is as many such steps either way.
"""


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast, for the towers")
    parser.add_argument("--memory", type=float, default=8.0, help="bound on a process's address space, GB")
    parser.add_argument(
        "--only", choices=[kind for kind, *_ in PARTS], help="measure one part; the page is of all there is"
    )
    parser.add_argument("--batches", type=int, nargs="*", help="instead of those of the part")
    options = parser.parse_args()
    found = keep_rows("train", is_of_this_form)
    setting = Setting(options.width, options.bf16, options.memory)
    wide = f"towers-{options.width}{'-bf16' if options.bf16 else ''}"
    for kind, batches, sides in PARTS:
        for batch in (options.batches or batches) if options.only in (None, kind) else ():
            for who in sides:
                row = {"bound": options.memory} | (measure_apart(kind, who, batch, setting) or {})
                found = merge_results("train", {f"{wide if kind == 'towers' else kind} {batch} {who}": row})
    rows = [
        f"| {label} | {batch:,} | {who} | {cells(found[key], batch)} |"
        for label, kind in SHOWN
        for batch in sorted({int(key.split()[1]) for key in found if key.split()[0] == kind})
        for who in (*RIVALS, "ClipLoss", "ours")
        if (key := f"{kind} {batch} {who}") in found
    ]
    threads, cores = torch.get_num_threads(), platform.processor() or platform.machine()
    page = f"""# Training

Towers: ViT-B-32's layout (12 layers, 224 pixels, patches of 32), 768 wide (ViT-B-32 itself) or 96, random weights, all learning;
{cores}, torch {torch.__version__} with {threads} threads, Python {platform.python_version()};
the last column bounds the address space of the process. Made by `python bench/train.py`; what is measured how stands at its head.

Pairs a second: median of {STEPS} steps after {WARM} that warms up, with the slowest and the quickest.

| what | batch | whose | pairs/s | steps/s | peak memory, GB | bound, GB |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{chr(10).join(beside(found))}
{about_lite(found)}"""
    (HERE / "results" / "train.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
