"""What the pages say of rerankers, given vectors, batches and models: each function makes what stands in one block."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from scripts.recipe_numbers import DIRECTIONS, RESULTS, ends


@cache
def tasks() -> dict[str, Any]:
    """What `bench/tasks.py` found."""
    content: dict[str, Any] = json.loads((RESULTS / "tasks.json").read_text(encoding="utf-8"))
    return content


def metric_text(name: str, direction: str, metric: str = "hits@1") -> str:
    """A metric of one of the tasks, with its interval."""
    one = tasks()[name][direction]
    return ends([one["metrics"][metric], *one["intervals"][metric]])


def differs(name: str, direction: str) -> tuple[str, str]:
    """How far hits@1 lies above the search alone, with its interval, and p."""
    value, low, high, p, _ = tasks()[name]["less_search_alone"][direction]["hits@1"]
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
        weights, best = (by_name(own[key]) for key in ("weights", "best_weights"))
        alone = tasks()[name]["search_alone"]["t2i"]["hits@1"]
        cells = (
            f"{weights} (highest at {best})",
            f"{own['search_alone']:.3f}, {own['value']:.3f}",
            f"{alone:.3f}, {tasks()[name]['t2i']['metrics']['hits@1']:.3f}",
            *(*t2i, *i2t),
        )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"


def by_name(weights: Mapping[str, float]) -> str:
    """One weight, or several each with its name."""
    if len(weights) == 1:
        return f"{next(iter(weights.values())):.2f}"
    return ", ".join(f"`{name}` {weight:.2f}" for name, weight in sorted(weights.items()))


def second_tower() -> str:
    """What the second backbone is worth alone, over the whole gallery and over the candidates of the first."""
    alone = {name: tasks()[name]["t2i"]["metrics"]["hits@1"] for name in ("lite", "lite2")}
    own = tasks()["tune_cross_backbone"]["tuned"]
    last = float(tasks()["tune_cross_backbone"]["last_point"][1])
    return (
        f"`lite2` alone reaches {alone['lite2']:.3f} and `lite` {alone['lite']:.3f}; over the candidates of `lite`, on "
        f"validation, {last:.3f} against {own['search_alone']:.3f}. The curve is highest, {own['best_value']:.3f}, at weight "
        f"{own['best_weights']['cross_backbone']:.2f}"
    )


def captions() -> str:
    """Captions between texts and pictures: hits, share answered, BLEU."""
    cut, told = tasks()["captions_0.5"]["min_score"], tasks()["captions"]["captions"]
    low, high = told["interval"]
    return (
        f"text to picture hits@1 {metric_text('captions', 't2i')}, hits@5 {metric_text('captions', 't2i', 'hits@5')}; picture "
        f"to text with the fifth caption standing for the captioner {metric_text('fifth', 'i2t')}. With the threshold 0.5, "
        f"{100 * cut['answered']:.1f}% of the texts are answered and hits@1 is {cut['t2i']['hits@1']:.3f}. First captions "
        f"against the other four have BLEU {told['bleu']:.1f} [{low:.1f}, {high:.1f}]"
    )


def lexical() -> str:
    """The table of docs/reranking.md on words, from what `bench/lexical.py` found: a row a score and draw, one of Flickr8k."""
    found = json.loads((RESULTS / "lexical.json").read_text(encoding="utf-8"))
    heads = ("score", "draw", "chosen weight", "t2i hits@1: alone, reranked", "difference", "i2t: alone, reranked")
    lines = [f"| {' | '.join(('data', *heads, 'difference'))} |", "|" + "---|" * 8]
    rows = [("NewsImages", name, draw, own) for name in ("bm25", "entities") for draw, own in found[name].items()]
    rows += [("Flickr8k dev, captions", "bm25", "", found["flickr8k"])] if "flickr8k" in found else []
    for data, name, draw, own in rows:
        weight = " and ".join(f"{one:.2f}" for one in own["tuned"]["weights"].values())
        cells = [data, name, draw, weight]
        for d in DIRECTIONS:
            cells += [f"{own['before'][d]:.3f}, {own['after'][d]:.3f}", ends(own["less_search_alone"][d][:3])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n\n" + "\n".join(lines) + "\n\n"
