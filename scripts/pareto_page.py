"""The picture of docs/backbones.md: pictures a second, as measured here, against published hits@1 of COCO, text to picture.

`python scripts/pareto_page.py` draws docs/images/pareto.png out of bench/results/pareto.json (`bench/pareto.py`) and the
published numbers of `conf/experiment/reproduce/coco_*.yaml`. Backbones that no faster one equals are joined by a line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
CONF = PROJECT / "conf"
RESULTS = PROJECT / "bench" / "results" / "pareto.json"
PICTURE = PROJECT / "docs" / "images" / "pareto.png"


@dataclass(frozen=True)
class Point:
    """One backbone: pictures a second of one core, and published hits@1."""

    name: str
    rate: float
    hits: float


def read(path: Path) -> dict[str, Any]:
    """A YAML file."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def published_hits() -> dict[tuple[str, str], float]:
    """hits@1 of COCO, text to picture, by model and weights."""
    found: dict[tuple[str, str], float] = {}
    for path in sorted((CONF / "experiment" / "reproduce").glob("coco_*.yaml")):
        own = read(path)
        named = own.get("backbone") or {}
        option = next((str(v) for one in own["defaults"] for k, v in one.items() if k == "override /backbone"), "")
        if "model" not in named and (CONF / "backbone" / f"{option}.yaml").is_file():
            named = read(CONF / "backbone" / f"{option}.yaml") | named
        found[str(named.get("model")), str(named.get("pretrained"))] = float(own["expected"]["t2i"]["hits@1"])
    return found


def points() -> list[Point]:
    """The backbones that have both numbers, the fastest first."""
    known = published_hits()
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    found = []
    for option, row in measured.items():
        own = read(CONF / "backbone" / f"{option}.yaml")
        hits = known.get((str(own["model"]), str(own["pretrained"])))
        if hits is not None:
            found.append(Point(option, float(row["pictures_per_core_second"]), hits))
    return sorted(found, key=lambda point: -point.rate)


def front(found: Sequence[Point]) -> list[Point]:
    """Those that no faster one equals or beats."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda point: (-point.rate, -point.hits)):
        if not kept or point.hits > kept[-1].hits:
            kept.append(point)
    return kept


def draw(found: Sequence[Point]) -> None:
    """The picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), dpi=110)
    best = front(found)
    axes.plot([one.rate for one in best], [100 * one.hits for one in best], color="#9aa5b1", zorder=1)
    for one in found:
        colour = "#1f6feb" if one in best else "#9aa5b1"
        axes.scatter(one.rate, 100 * one.hits, color=colour, zorder=2)
        left = (
            one is found[0] or one not in best
        )  # the fastest has no room at its right, the best ones keep their line free
        side = {"xytext": (-7, -3), "ha": "right"} if left else {"xytext": (7, 3), "ha": "left"}
        axes.annotate(one.name, (one.rate, 100 * one.hits), textcoords="offset points", fontsize=8, **side)
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.35, 25)
    axes.set_xlabel("pictures a second of one core (measured, fp32)")
    axes.set_ylabel("COCO text to picture, hits@1 in percent (published)")
    axes.grid(alpha=0.3)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Draw it, and say what it shows."""
    found = points()
    draw(found)
    best = front(found)
    for one in found:
        print(f"{one.name}: {one.rate:.2f} pictures/s, {100 * one.hits:.1f}%{' *' if one in best else ''}")
    print(f"written: {PICTURE.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
