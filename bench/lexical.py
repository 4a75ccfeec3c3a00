"""What words are worth on NewsImages: `python bench/lexical.py [--data-root DIR]`; no other tool is compared.

What is known of a picture is the address that it was published at (`image_url`): its file often has a name that people gave it.
BM25 of headline and topics over these words reranks the best 100 of trained heads; the weight is chosen on the validation part,
the differences are paired, and pictures that look alike or share a headline are in one part (`split.groups`). What was found is
kept in bench/results/lexical.json, which `scripts/publish.py` makes a table of.
"""

from __future__ import annotations

import json
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


def about(found: dict[str, Any]) -> dict[str, Any]:
    """The chosen weight, before and after, and the paired difference, of one job."""
    kept = {"tuned": found["tuned"], "less_search_alone": {}, "before": {}, "after": {}}
    for direction in ("t2i", "i2t"):
        kept["less_search_alone"][direction] = found["less_search_alone"][direction]["hits@1"]
        kept["before"][direction] = found["search_alone"][direction]["hits@1"]
        kept["after"][direction] = found[direction]["metrics"]["hits@1"]
    return kept


def main() -> None:
    given = arguments()
    rows: dict[str, dict[str, Any]] = {name: {} for name in RERANKERS}
    for draw in DRAWS:
        own = ("experiment=finetune_newsimages", KNOWN, f"split.seed={draw}")
        fit = job(given, f"lexical_fit_{draw}", "train", *own)
        for name, overrides in RERANKERS.items():
            tuned = ("task=tune_weights", f"ckpt={fit}", KNOWN, *overrides)
            rows[name][str(draw)] = about(metrics(job(given, f"lexical_{name}_{draw}", "evaluate", *tuned)))
            write_text(RESULTS, json.dumps({"machine": machine(), **rows}, indent=1) + "\n")
            print(name, draw, json.dumps(rows[name][str(draw)]), flush=True)


if __name__ == "__main__":
    main()
