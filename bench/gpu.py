"""One CUDA card: encoding, training steps, exact ranks, exact search and every door; writes bench/results/gpu.json and gpu.md.

    python bench/gpu.py                  # all parts, on a machine with a card
    python bench/gpu.py encode train     # some of encode, train, score, index, doors; the page is of all there is
    python bench/gpu.py --tiny           # every part at tiny shapes on the CPU, in seconds, to see that it runs; writes nothing

ViT-B-32 with random weights (its cost is that of trained ones), drawn pictures and texts: no data set and no hub is needed.
Beside ours stand open_clip's encoding loop (DataLoader workers, pinned memory, channels last, autocast), open_clip_train's own
training loop with `--accum-freq`, `--grad-checkpointing` and `--local-loss` where that package is installed, numpy for the ranks,
and faiss's flat index on the CPU. A share of the peak is the operations that the result needs, over those of a large matrix
product of the same precision on the same card in the same run; what is computed twice to save memory counts once.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from gpu_parts import BATCHES, PARTS, Place, Rows, peak_rates
from kept import RESULTS, Row, merge_results

UNITS = {"encode": "items/s", "train": "pairs/s", "score": "cells/s", "index": "items or queries/s", "doors": "jobs/s"}


def measure_parts(parts: Sequence[str], place: Place) -> Rows:
    """The rows of these parts, each with the card and its peak."""
    peaks = peak_rates(place)
    found: Rows = {}
    for part in parts:
        for key, row in PARTS[part](place).items():
            found[key] = {**row, **place.facts, "part": part, "limit": peaks[str(row["kind"])]}
            print(f"{key}: {cells(found[key])}", flush=True)
    return found


def cells(row: Row) -> str:
    """A row of the table, without its bars at the ends."""
    begin = f"{row['what']} | {row['who']}"
    end = f"{row['note']} | {row['card']}"
    seconds = row.get("seconds")
    if not isinstance(seconds, list) or not seconds:
        return f"{begin} | | | | | {end}"
    middle = statistics.median(seconds)
    count, flops, limit = (float(str(row[key])) for key in ("count", "flops", "limit"))
    spread = f"{middle:.3g} ({min(seconds):.3g} to {max(seconds):.3g})"
    peak = float(str(row["peak"]))
    share = f"{count * flops / middle / limit:.1%}" if flops else ""
    pace = f"{count / middle:,.4g}" if count else ""
    return f"{begin} | {pace} | {spread} | {f'{peak:.2f}' if peak else ''} | {share} | {end}"


def page(rows: Mapping[str, Row]) -> str:
    """All rows, a table a part."""
    titles = {
        "encode": "Files and strings to embeddings, ViT-B-32",
        "train": "Training steps, ViT-B-32, bf16 autocast",
        "score": "Exact ranks in both directions",
        "index": "Exact search, 512 dimensions, ten nearest",
        "doors": "Every door over the embedded demo set, whole processes",
    }
    cards = sorted({f"{row['card']}, {row['cores']} cores, torch {row['torch']}" for row in rows.values()})
    lines = ["# On a CUDA card", "", f"{'; '.join(cards)}. Made by `python bench/gpu.py`; how stands at its head.", ""]
    for part, title in titles.items():
        own = [row for row in rows.values() if row["part"] == part]
        if own:
            heads = ("what", "whose", UNITS[part], "seconds (least to most)", "peak memory, GB", "share of the peak")
            lines += [f"## {title}", "", f"| {' | '.join([*heads, 'note', 'card'])} |", "|" + "---|" * (len(heads) + 2)]
            lines += [*(f"| {cells(row)} |" for row in own), ""]
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, keep, write; 2 where there is no card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on the CPU; nothing is written")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=BATCHES, help="pairs in a step of `train`, smallest first"
    )
    chosen = parser.parse_args(given)
    unknown = [part for part in chosen.parts if part not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]}: choose of {', '.join(PARTS)}")
    if not chosen.tiny and not torch.cuda.is_available():
        print(
            "bench/gpu.py: no CUDA card was found here; --tiny runs every part at tiny shapes on the CPU",
            file=sys.stderr,
        )
        return 2
    place = Place("cpu", tiny=True) if chosen.tiny else Place("cuda", batches=tuple(chosen.batches))
    parts = chosen.parts or list(PARTS)
    if chosen.tiny:
        print(page(measure_parts(parts, place)))
        return 0
    for part in parts:  # a part that is done stays, whatever becomes of the next
        text = page(merge_results("gpu", measure_parts([part], place)))
        Path(RESULTS / "gpu.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
