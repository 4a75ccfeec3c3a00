"""Heads on projections that were kept as vectors, beside the same recipe from the trunks: `python bench/adapters.py`.

Flickr8k through `backbone=lite` before any training, whose heads are random projections to 512 numbers, is exported
(`task=export`); an adapter (`residual`) and linear heads learn from these vectors alone, over five seeds, and are scored on the
official dev list beside linear heads on the trunks' own features (1,280 and 384 numbers). What was found is kept under `kept` in
bench/results/vectors.json. No other tool is compared.
"""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from pathlib import Path

import numpy as np

import recipes
from picdesk.files import write_text
from tasks import job
from vectors import RESULTS, Fit, about, swept

RECIPE = (
    *("loss=infonce", "training.batch_size=512", "training.sampler=pictures", "optimizer.lr=1.0e-3"),
    *("optimizer.weight_decay=1.0e-4", "optimizer.eps=1.0e-8", "scheduler.warmup=0.05", "trainer.max_epochs=30"),
    *("callbacks.early_stopping.patience=30", "prompt=caption"),
)
HEADS = {"kept_linear": "linear", "kept_residual": "residual"}
TITLES = {
    "trunks": "linear heads on the trunks' features",
    "kept_linear": "linear heads on kept projections",
    "kept_residual": "adapters on kept projections",
}


def write_split(given: Namespace) -> Path:
    """A file of the official lists: dev is the test part, a tenth of the train list, drawn once, the validation part."""
    lists = given.data_root / "flickr8k"
    train = (lists / "Flickr_8k.trainImages.txt").read_text(encoding="utf-8").split()
    dev = (lists / "Flickr_8k.devImages.txt").read_text(encoding="utf-8").split()
    held_out = set(np.random.default_rng(0).permutation(train)[: len(train) // 10].tolist())
    path: Path = given.outputs.resolve() / "adapters" / "split.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("picture", "split"))
        writer.writerows((name, "val" if name in held_out else "train") for name in train)
        writer.writerows((name, "test") for name in dev)
    return path


def main() -> None:
    given = recipes.arguments()
    lists = ("split=file", f"split.file={write_split(given)}")
    whole = ("task=export", "data=flickr8k", "split=all", "part=all", "prompt=caption", "backbone=lite")
    vectors = job(given, "kept_projections", "evaluate", *whole)
    npz = (
        "data=npz",
        f"data.root={vectors}",
        "data.file=embeddings.npz",
        "data.image_names=image_names",
        "backbone=precomputed",
        "backbone.dim=512",
    )
    fits = {"trunks": ("data=flickr8k", "backbone=lite", "backbone.dropout=0.3")}
    for name, head in HEADS.items():
        sides = (f"backbone/head@backbone.{side}_head={head}" for side in ("image", "text"))
        fits[name] = (*npz, *sides, *(f"backbone.{side}_head.dropout=0.3" for side in ("image", "text")))
    found = {}
    for name, overrides in fits.items():
        fit = Fit(TITLES[name], (*overrides, *RECIPE, *lists), swept="seed")
        jobs = swept(given, "train", name, [*fit.given, f"seed={recipes.FIVE}"])
        found[name] = about(sorted(jobs, key=lambda one: int(one.overrides["seed"])), fit)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    write_text(RESULTS, json.dumps(known | {"kept": found}, indent=1, sort_keys=True) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
