"""What words are worth on NewsImages and on Flickr8k: `python bench/lexical.py [--data-root DIR] [--part newsimages flickr8k]`;
no other tool is compared.

NewsImages: what is known of a picture is the address that it was published at (`image_url`): its file often has a name that
people gave it. BM25 of headline and topics over these words reranks the best 100 of trained heads; the weight is chosen on
validation, the differences are paired, and pictures that look alike or share a headline are in one part (`split.groups`).

Flickr8k: what is known are a picture's captions, of which the one that asks is left out; heads on `lite`, the weight chosen on
the validation part of the train list, reported once on the official dev list.

What was found is kept in bench/results/lexical.json, which `scripts/publish.py` makes a table of. `--limit N` tries the part on
Flickr8k with N pictures, in folders of its own, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from picdesk.files import write_text
from recipes import PROJECT, arguments, machine
from tasks import job, metrics

RESULTS = PROJECT / "bench" / "results" / "lexical.json"
DRAWS = (0, 1, 2)
KNOWN = "data.more_columns.image_url=image_url"
RERANKERS = {
    "bm25": ("reranker=lexical", "reranker.fields=[image_url]"),
    "entities": ("reranker=lexical", "reranker.fields=[image_url]", "reranker.score=entities"),
}
WORDS = ("reranker=lexical", "reranker.fields=[caption]")


def about(found: dict[str, Any]) -> dict[str, Any]:
    """The chosen weight, before and after, and the paired difference, of one job."""
    kept = {"tuned": found["tuned"], "less_search_alone": {}, "before": {}, "after": {}}
    for direction in ("t2i", "i2t"):
        kept["less_search_alone"][direction] = found["less_search_alone"][direction]["hits@1"]
        kept["before"][direction] = found["search_alone"][direction]["hits@1"]
        kept["after"][direction] = found[direction]["metrics"]["hits@1"]
    return kept


def of_newsimages(given: argparse.Namespace) -> None:
    """Each score on each draw of the split."""
    rows: dict[str, dict[str, Any]] = {name: {} for name in RERANKERS}
    for draw in DRAWS:
        own = ("experiment=finetune_newsimages", KNOWN, f"split.seed={draw}")
        fit = job(given, f"lexical_fit_{draw}", "train", *own)
        for name, overrides in RERANKERS.items():
            tuned = ("task=tune_weights", f"ckpt={fit}", KNOWN, *overrides)
            rows[name][str(draw)] = about(metrics(job(given, f"lexical_{name}_{draw}", "evaluate", *tuned)))
            keep(rows)
            print(name, draw, json.dumps(rows[name][str(draw)]), flush=True)


def of_flickr8k(given: argparse.Namespace, limit: int | None) -> None:
    """The captions of a picture without the one that asks, on the fit that `bench/tasks.py` reranks by other means."""
    few = (f"+data.limit={limit}",) if limit else ()
    name = f"_{limit}" if limit else ""
    fit = job(given, f"lite{name}", "train", "experiment=flickr8k_lite", "backbone=lite", *few)
    tuned = ("task=tune_weights", f"ckpt={fit}", *WORDS)
    row = about(metrics(job(given, f"lexical_flickr8k{name}", "evaluate", *tuned)))
    if not limit:
        keep({"flickr8k": row})
    print("flickr8k", json.dumps(row), flush=True)


def keep(rows: dict[str, Any]) -> None:
    """Write these rows beside those that are known."""
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    write_text(RESULTS, json.dumps({**known, "machine": machine(), **rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--part", nargs="+", choices=("newsimages", "flickr8k"), default=("newsimages", "flickr8k"))
    parser.add_argument("--limit", type=int)
    own, sys.argv[1:] = parser.parse_known_args()
    given = arguments()
    if "newsimages" in own.part and not own.limit:
        of_newsimages(given)
    if "flickr8k" in own.part:
        of_flickr8k(given, own.limit)


if __name__ == "__main__":
    main()
