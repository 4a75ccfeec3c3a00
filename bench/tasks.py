"""Published numbers of other tasks than fits: `python bench/tasks.py [--data-root DIR]`; no other tool is compared.

What rerankers are worth on Flickr8k (docs/reranking.md), and captions between texts and pictures (docs/backbones.md). What was
found is kept in bench/results/tasks.json; a job whose code has not changed since is not run again.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from picdesk.files import write_text
from picdesk.jobs.identity import source_digest
from recipes import FP32, ONE_THREAD, PROJECT, arguments, machine

RESULTS = PROJECT / "bench" / "results" / "tasks.json"
DONE = "code.txt"
LISTED = ("data=flickr8k", "split=official_dev", "prompt=caption", "backbone=sentences")
TUNED = {
    "cross_backbone": ("reranker=cross_backbone", "reranker.ckpt={lite2}"),
    "captions": ("reranker=captions",),
    "both": (
        "reranker=several",
        "reranker.use=[cross_backbone,captions]",
        "reranker.parts.cross_backbone.ckpt={lite2}",
    ),
}


def job(given: Namespace, name: str, door: str, *overrides: str) -> Path:
    """The folder of a job, which is run unless it was with this code."""
    folder: Path = given.outputs.resolve() / "tasks" / name
    if (folder / DONE).is_file() and (folder / DONE).read_text() == source_digest():
        return folder
    command = [sys.executable, str(PROJECT / f"{door}.py"), *overrides, f"hydra.run.dir={folder}", "logger=none", FP32]
    command += [f"paths.data_root={given.data_root}", f"paths.outputs={given.outputs}"]
    command += [f"paths.store={given.store or given.outputs / 'store'}"]
    subprocess.run(command, check=True, cwd=PROJECT, env={**os.environ, **ONE_THREAD})
    write_text(folder / DONE, source_digest())
    return folder


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def fifth_captions(given: Namespace) -> Path:
    """A file that says the fifth caption of each picture, as a captioner would."""
    path: Path = given.outputs.resolve() / "tasks" / "fifth.csv"
    with (given.data_root / "flickr8k" / "captions.txt").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    last = {row["image"]: row["caption"] for row in rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("image", "caption"), *last.items()])
    return path


def main() -> None:
    given = arguments()
    found: dict[str, Any] = {"machine": machine()}
    fits = {
        name: job(given, name, "train", "experiment=flickr8k_lite", f"backbone={name}") for name in ("lite", "lite2")
    }
    for name, fit in fits.items():
        found[name] = metrics(fit)
    for name, overrides in TUNED.items():
        given_to = [override.format(lite2=fits["lite2"]) for override in overrides]
        folder = job(given, f"tune_{name}", "evaluate", "task=tune_weights", f"ckpt={fits['lite']}", *given_to)
        with (folder / "weights.csv").open(newline="") as stream:
            alone = list(csv.reader(stream))[-1]
        found[f"tune_{name}"] = {**metrics(folder), "last_point": alone}
    said = {"captions": (), "captions_0.5": ("min_score=0.5",), "fifth": (f"captions_file={fifth_captions(given)}",)}
    for name, overrides in said.items():
        found[name] = metrics(job(given, name, "evaluate", "task=captioner", *LISTED, *overrides))
    write_text(RESULTS, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
