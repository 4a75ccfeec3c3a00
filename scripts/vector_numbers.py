"""What docs/vectors.md says of frozen vectors: each function makes what stands in one block, from bench/results/vectors.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from scripts.recipe_numbers import DIRECTIONS, NOT_YET, RESULTS

HEADS = ("clip_linear", "clip_residual", "lite_pair")
CORRECTED = {
    "demo": "demo",
    "newsimages": "NewsImages, heads + InfoNCE",
    "flickr8k": "Flickr8k dev, best recipe",
    "flickr8k_mpnet": "Flickr8k dev, best recipe, mpnet beside MiniLM",
    "newsimages_mpnet": "NewsImages, heads + InfoNCE, mpnet beside MiniLM",
}
RULES = ("csls", "nnn", "inverted_softmax", "dynamic_inverted_softmax", "sinkhorn")
ENCODERS = {
    "flickr8k_mpnet": "Flickr8k dev, best recipe, mpnet beside MiniLM",
    "newsimages_mpnet": "NewsImages, heads + InfoNCE, mpnet beside MiniLM",
}
KEPT = ("trunks", "kept_linear", "kept_residual")


@cache
def vectors() -> dict[str, Any]:
    """What `bench/vectors.py` and `bench/adapters.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "vectors.json").read_text(encoding="utf-8"))
    return content


def spread(over: Mapping[str, Any], sign: str = "") -> str:
    """`0.532 [0.501, 0.563]`: a mean with its 95% interval."""
    return f"{over['mean']:{sign}.3f} [{over['low']:{sign}.3f}, {over['high']:{sign}.3f}]"


def difference(own: Mapping[str, Any]) -> str:
    """A paired difference with its interval, and p corrected for its family."""
    return f"{spread(own['over'], '+')}, p {own['p']:.4f}"


def table(heads: tuple[str, ...], rows: list[list[str]]) -> str:
    """Markdown lines between empty ones."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n\n" + "\n".join(lines) + "\n\n"


def given_heads() -> str:
    """Heads on real CLIP vectors beside a backbone that sees the pictures."""
    rows = []
    for name in HEADS:
        row = vectors()["heads"][name]
        less = row.get("less_lite_pair")
        told = [difference(less[d]) for d in DIRECTIONS] if less else ["", ""]
        rows.append([row["title"], *(spread(row[d]["over"]) for d in DIRECTIONS), *told])
    return table(("what learns", "t2i hits@1", "i2t hits@1", "less `lite_pair`, t2i", "i2t"), rows)


def score_corrections() -> str:
    """Every rule on every data set; the one that validation data would choose is marked."""
    rows = []
    for name, title in CORRECTED.items():
        if name not in vectors():
            rows.append([title, NOT_YET, "", "", "", ""])
            continue
        scores = vectors()[name]["scores"]
        for rule in RULES:
            cells = [f"`{rule}`"]
            for d in DIRECTIONS:
                mark = "**" if scores["chosen"][d] == rule else ""
                plain, corrected = scores[rule][d]["mean"]
                cells += [f"{plain:.3f}, {mark}{corrected:.3f}{mark}", difference(scores[rule][d])]
            rows.append([title, *cells])
    heads = ("data", "scores", "t2i: plain, corrected", "difference", "i2t: plain, corrected", "difference")
    return table(heads, rows)


def sentence_encoders() -> str:
    """A larger sentence encoder beside MiniLM or for it, against MiniLM alone; and with the correction that was chosen."""
    rows = []
    for name, title in ENCODERS.items():
        if name not in vectors():
            rows.append([title, NOT_YET, "", "", ""])
            continue
        found = vectors()[name]
        (less,) = [own for key, own in found.items() if key.startswith("less_")]
        cells = [cell for d in DIRECTIONS for cell in (spread(found["fit"][d]["over"]), difference(less[d]))]
        rows.append([title, *cells])
    return table(("recipe", "t2i hits@1", "less MiniLM alone", "i2t hits@1", "less MiniLM alone"), rows)


def kept_projections() -> str:
    """Heads on projections that were kept as vectors, beside those on the trunks."""
    found = vectors().get("kept", {})
    rows = [
        [found[name]["title"], *(spread(found[name][d]["over"]) for d in DIRECTIONS)]
        if name in found
        else [NOT_YET, "", ""]
        for name in KEPT
    ]
    return table(("what learns", "t2i hits@1", "i2t hits@1"), rows)
