"""What docs/backbones.md says of precisions, engines and decoders: each function makes one block, from the files of `bench/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.recipe_numbers import RESULTS
from scripts.speed_numbers import read_file

FULL = "all of it"
WAYS = (
    "torch fp32",
    "torch bf16",
    "openvino fp32",
    "openvino bf16",
    "torch fp32, branches as they are",
    "torch bf16, norms as they are",
)
HITS = ("t2i hits@1", "@5", "@10", "i2t hits@1", "@5", "@10")
PLAIN = "float32, full decoding"


def engines() -> str:
    """Processor milliseconds an item: a table a processor, with a row for each backbone, kind of item and limit."""
    found = read_file("engines").values()
    text = ""
    for processor in sorted({str(row["processor"]) for row in found}):
        own = [row for row in found if row["processor"] == processor]
        releases = "; ".join(sorted({str(row["engines"]) for row in own}))
        text += f"\n\nOn {processor}, {releases}:\n\n" + "\n".join(engine_table(own))
    return text + "\n\n"


def engine_table(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of the table of one processor."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in measured:
        backbone, items, rest = str(row["cell"]).split(", ", 2)
        way, limit = rest.rsplit(", ", 1)
        cells = rows.setdefault((f"`{backbone}`", items, limit), {})
        cells[way] = "none" if "none" in row else f"{row['cpu ms']:.3g}"
    there = {way for cells in rows.values() for way in cells}
    ways = [*(way for way in WAYS if way in there), *sorted(there - {*WAYS})]
    lines = [f"| backbone | items | of the processor | {' | '.join(ways)} |", "|" + "---|" * (3 + len(ways))]
    return lines + [f"| {' | '.join([*key, *(cells.get(way, '') for way in ways)])} |" for key, cells in rows.items()]


def drift() -> str:
    """What each way of `bench/drift.py` changes in hits@k, with the interval that stands behind it; a table a backbone."""
    pages = {"lite": RESULTS / "drift.md"}
    pages |= {page.stem.removeprefix("drift_"): page for page in sorted(RESULTS.glob("drift_*.md"))}
    return "\n\n" + "".join(f"`{name}`:\n\n{drift_of(page)}\n\n" for name, page in pages.items())


def drift_of(page: Path) -> str:
    """One of these tables."""
    table = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = {cells[0]: [hits_of(cell) for cell in cells[-6:]] for cells in map(cells_of, table) if cells[0]}
    lines = [f"| | {' | '.join(HITS)} |", "|" + "---|" * 7]
    lines.append(f"| fp32 | {' | '.join(f'{value:.4f}' for value, _ in rows[PLAIN])} |")
    for name, values in rows.items():
        if name != PLAIN:
            less = [f"{value - own:+.4f}{span}" for (value, span), (own, _) in zip(values, rows[PLAIN], strict=True)]
            lines.append(f"| {name} | {' | '.join(less)} |")
    return "\n".join(lines)


def hits_of(cell: str) -> tuple[float, str]:
    """The value of a cell, and behind a blank the interval of its difference; nothing where there is none."""
    value, blank, span = cell.partition(" ")
    return float(value), blank + span


def cells_of(line: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def decoders() -> str:
    """Milliseconds a JPEG by each decoder, and of how many the pixels are Pillow's."""
    found: Mapping[str, Any] = read_file("decode")
    lines = ["| pictures | decoder | ms a picture | pixels as Pillow's |", "|---|---|---|---|"]
    for name, row in found.items():
        if "ms" in row:
            pictures, decoder = name.split(": ")
            lines.append(f"| {pictures} | {decoder} | {row['ms']:.2f} | {row['same']} of {row['pictures']} |")
    return "\n\n" + "\n".join(lines) + "\n\n"
