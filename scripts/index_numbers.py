"""What the pages say of indexes: each function makes what stands in one block, from the files of `bench/` on indexes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from scripts.recipe_numbers import RESULTS

KEPT = ("SQ8", "OPQ64_320,SQ8", "OPQ64_256,SQ8", "SQ6", "SQ4", "OPQ64,SQ4")  # those of bench/refinement.py
REAL_KINDS = ("flat", "hnsw", "ivf_flat on disk", "IVF,SQ8 on disk", "ivf_pq", "ivf_pq_fastscan")
CAPTIONS, PICTURES = "captions", "held-out pictures, CLIP"
SIZES, PICTURES_LEFT = (1_000, 6_000, 9_958), 1_928
GALLERIES = (*((CAPTIONS, size) for size in SIZES), (PICTURES, PICTURES_LEFT))


@cache
def read_rows(name: str) -> dict[str, Any]:
    """What a bench found, by its keys."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def refinement() -> str:
    """What each way to keep the vectors finds out of the truly nearest thousand: a row a way, a column a gallery."""
    galleries = (GALLERIES[-1], GALLERIES[-2])
    heads = [f"recall@10, {asked}, {count:,} pictures" for asked, count in galleries]
    lines = [f"| `index.refine` | bytes | {' | '.join(heads)} |", "|---|---|---|---|"]
    for kept in KEPT:
        rows = [read_rows("refinement")[f"{asked} {count:06} {kept}"] for asked, count in galleries]
        lines.append(f"| `{kept}` | {rows[0]['bytes']} | {' | '.join(format(row['recall'], '.3f') for row in rows)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def growth() -> str:
    """The least settings that reach a recall of 0.9 for real queries: a row a gallery and kind, then what must be probed."""
    heads = ("asked by", "pictures", "index", "least settings for recall@10 of 0.9", "lists probed", "recall@10")
    lines = [f"| {' | '.join((*heads, 'hits@10 in %, less exact search', 'p50, ms'))} |", "|" + "---|" * 8]
    for asked, count in GALLERIES:
        for kind in REAL_KINDS:
            row = real_row(asked, count, kind)
            cells = (asked, f"{count:,}", row["kind"], row["settings"], probed_of(row))
            measured = [
                format(row[key], form) if key in row else "" for key, form in (("recall", ".3f"), ("p50", ".2f"))
            ]
            lines.append(f"| {' | '.join((*cells, measured[0], row.get('hits@10', ''), measured[1]))} |")
    shares = ", ".join(
        f"{probed_of(real_row(CAPTIONS, size, 'ivf_flat on disk')) or '-'} among {size:,}" for size in SIZES
    )
    return "\n\n" + "\n".join(lines) + f"\n\nLists of `ivf_flat` that captions must probe: {shares} pictures.\n\n"


def real_row(asked: str, count: int, kind: str) -> Mapping[str, Any]:
    """One row of bench/index_growth.py that was asked by real queries. Raises `KeyError` where it was not measured."""
    row: Mapping[str, Any] = read_rows("index_growth")[f"real {asked} {count:06} {kind}"]
    return row


def probed_of(row: Mapping[str, Any]) -> str:
    """Share of the lists that were probed; nothing for an index without lists."""
    return f"{100 * row['probed']:.1f}%" if row.get("probed") else ""


def growth_built() -> str:
    """What the largest index took to build: time and disk."""
    row = read_rows("index_growth")["IVF,SQ8 on disk 0010000000"]
    return (
        f"ten million vectors in `IVF4096,SQ8` with the lists on disk took {row['build_s'] / 60:.1f} minutes and "
        f"{row['index_mb'] * 2**20 / 1e9:.1f} GB of disk on {row['machine'].partition(',')[0]}"
    )


def auto_cost() -> str:
    """Seconds until all queries are answered, by what index=auto chose, by exact search and by autofaiss: a row a cell."""
    rows = read_rows("auto_cost")
    heads = ("items", "queries", "auto chose", "recall@10", "auto, s", "exact, s", "auto / exact", "autofaiss, s")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for key in sorted(key for key in rows if not key.endswith("autofaiss")):
        items, count = (int(word) for word in key.split())
        row, other = rows[key], rows.get(f"{items:08} autofaiss")
        rival = "" if other is None else f"{other['autofaiss_ready'] + count * other['pace']:.3g}"
        seconds = (f"{row['recall']:.4f}", f"{row['auto']:.3g}", f"{row['exact']:.3g}", f"{row['ratio']:.2f}", rival)
        lines.append(f"| {' | '.join((f'{items:,}', f'{count:,}', row['chosen'], *seconds))} |")
    return "\n\n" + "\n".join(lines) + "\n\n"
