"""What look-alikes in train are worth, and what it costs to keep them together: `python bench/splits.py`.

The demo and NewsImages, drawn picture by picture (`split.groups=none`) and by groups, five draws each, by `recipes.py`; then the
time that grouping takes. The table is written to bench/results/splits.md. No other tool is compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import recipes
from kept import machine
from picdesk.data.facts import Look
from picdesk.data.groups import Links, components
from picdesk.data.near import near_pairs
from picdesk.files import write_text

sys.path.insert(0, str(recipes.PROJECT))
from scripts.recipe_numbers import splits_table

NAMES = ("demo", "newsimages_lite", "finetune_newsimages")
COUNTS = (10_000, 100_000, 1_000_000)


def made_looks(count: int) -> list[Look]:
    """A tenth of them in pairs whose hashes differ in a few bits; the others by chance."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**63, (count, 2)).tolist()
    shade = generator.integers(0, 256, (256, 192), dtype=np.uint8)
    thumbs = [row.tobytes() for row in shade]
    found = [Look(50_000, phash, dhash, thumbs[i % 256]) for i, (phash, dhash) in enumerate(hashes)]
    for i in range(0, count // 10, 2):
        one = found[i]
        found[i + 1] = Look(50_000, one.phash ^ 0b10101, one.dhash ^ 0b11, one.thumb)
    return found


def time_text(count: int) -> str:
    looks = made_looks(count)
    start = time.perf_counter()
    pairs = near_pairs(looks)
    middle = time.perf_counter()
    ids = tuple(f"{i:08}" for i in range(count))
    groups, _ = components(Links(ids, (), pairs, ()), count)
    return f"| {count:,} | {middle - start:.1f} | {time.perf_counter() - middle:.1f} | {len(groups):,} |"


def report(known: Mapping[str, Any], counts: Sequence[int] = COUNTS) -> str:
    """bench/results/splits.md."""
    lines = [
        "# Splits by group, before and after",
        "",
        "Written by `bench/splits.py`. Means over five draws of the split (seeds 0 to 4; `finetune_newsimages`: heads of seed",
        "0); a picture has a look-alike where one of train or val is equal, a near-duplicate by the check's hashes, or has its",
        "text.",
        "",
        *splits_table(known),
        "",
        "What it costs: hashing and decoding are paid once and remembered beside the store (1 to 2 ms a picture of these sets",
        "on a core); what each job pays is the search for near-duplicates among the hashes, made here, a tenth of them in pairs.",
        "",
        "| pictures | near-duplicates, seconds | groups, seconds | groups |",
        "|---|---|---|---|",
        *(time_text(count) for count in counts),
        "",
        f"Machine: {machine()}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    given = recipes.arguments()
    known = recipes.measure(given, given.only or [name for one in NAMES for name in (f"{one}_ungrouped", one)])
    text = report(known)
    write_text(recipes.PROJECT / "bench/results/splits.md", text)
    print(text)


if __name__ == "__main__":
    main()
