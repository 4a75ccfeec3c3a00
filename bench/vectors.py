"""What is gained without training a trunk: heads on given vectors, corrected scores, a second sentence encoder.

`python bench/vectors.py [--only NAME ...] [--outputs DIR] [--store DIR]`. Each part is one sweep a recipe and goes on where it
was cut off. Corrections are chosen on validation data (`task=tune_weights`), a bank is always the training part, and every number
is of pictures that were neither learned from nor chosen by. What was found is kept in bench/results/vectors.json, which
`scripts/publish.py` makes tables from. No other tool is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import recipes
from picdesk.evaluation.significance import compare_all
from picdesk.evaluation.spread import over_draws, round_spread
from picdesk.files import write_text
from picdesk.interfaces import DIRECTIONS
from picdesk.jobs.found import DoneJob, find_jobs
from picdesk.jobs.rankings import rankings_of

RESULTS = recipes.PROJECT / "bench" / "results" / "vectors.json"
RULES = ("csls", "nnn", "inverted_softmax", "dynamic_inverted_softmax", "sinkhorn")
DRAWS = "0,1,2,3,4"
BEST = (
    *("loss=infonce", "training.batch_size=1024", "training.sampler=pictures", "optimizer.lr=3.0e-3"),
    *("optimizer.weight_decay=1.0e-4", "optimizer.eps=1.0e-8", "scheduler.warmup=0.05"),
    *("trainer.max_epochs=72", "callbacks.early_stopping.patience=72"),
)
CLIP = (
    *("data=npz", "data.root=DATA_ROOT", "data.file=clip_vit_b32_openai_flickr8k.npz"),
    *("data.image_array=embedding", "data.image_names=image", "data.text_array=null"),
    *(
        "data.captions_file=flickr8k/captions.txt",
        "data.folder=flickr8k/Images",
        "prompt=caption",
        "split=random_70_15_15",
        "data.max_bad_fraction=0.5",
    ),
)
TOWER = ("backbone=precomputed", "backbone.dim=512", "+backbone@backbone.text_encoder=minilm")


def heads(image: str, text: str) -> tuple[str, str]:
    return f"backbone/head@backbone.image_head={image}", f"backbone/head@backbone.text_head={text}"


@dataclass(frozen=True)
class Fit:
    """A sweep of `train.py` over five draws of the split, or five seeds of a fixed list (`swept`)."""

    title: str
    given: tuple[str, ...]
    swept: str = "split.seed"
    tested_per_learned: float = 15 / 70


HEADS = {
    "clip_linear": Fit(
        "CLIP vectors, linear head; MiniLM, hidden layer", (*CLIP, *TOWER, *heads("linear", "mlp"), *BEST)
    ),
    "clip_residual": Fit(
        "CLIP vectors, adapter; MiniLM, hidden layer", (*CLIP, *TOWER, *heads("residual", "mlp"), *BEST)
    ),
    "lite_pair": Fit("`lite_pair` on the same pictures", (*CLIP, "backbone=lite_pair", *BEST)),
}
FITS = {
    "demo": Fit("demo", ("data=demo",), tested_per_learned=20 / 70),
    "newsimages": Fit("NewsImages, heads + InfoNCE", ("experiment=finetune_newsimages",), tested_per_learned=10 / 80),
    "flickr8k": Fit("Flickr8k dev, best recipe", ("experiment=finetune_flickr8k_best",), swept="seed"),
    "flickr8k_mpnet": Fit(
        "Flickr8k dev, best recipe, mpnet beside MiniLM",
        ("experiment=finetune_flickr8k_best", "backbone=lite_pair_mpnet"),
        swept="seed",
    ),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=recipes.DATA_ROOT)
    parser.add_argument("--outputs", type=Path, default=recipes.PROJECT / "outputs")
    parser.add_argument("--store", type=Path, help="by default OUTPUTS/store")
    parser.add_argument("--only", nargs="+", choices=["heads", *FITS], help="some parts; the others stay as they are")
    return parser.parse_args()


def swept(given: argparse.Namespace, door: str, name: str, overrides: Sequence[str]) -> list[DoneJob]:
    """The jobs of one sweep; those that are there are not run again."""
    folder = given.outputs.resolve() / "vectors" / name
    command = [
        sys.executable,
        str(recipes.PROJECT / f"{door}.py"),
        "-m",
        *overrides,
        "logger=none",
        "skip_completed=true",
    ]
    command += [f"paths.data_root={given.data_root}", f"paths.outputs={given.outputs}", f"hydra.sweep.dir={folder}"]
    command += [f"paths.store={given.store or given.outputs / 'store'}"]
    subprocess.run(command, check=True, cwd=recipes.PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return list(find_jobs(folder).jobs)


def fits(given: argparse.Namespace, name: str, fit: Fit) -> list[DoneJob]:
    own = [override.replace("DATA_ROOT", str(given.data_root)) for override in fit.given]
    jobs = swept(given, "train", name, [*own, f"{fit.swept}={DRAWS}"])
    return sorted(
        jobs, key=lambda job: int(job.overrides[fit.swept])
    )  # found by when they ended; compared draw by draw


def over_jobs(values: Sequence[float], fit: Fit) -> dict[str, Any]:
    """Mean with its interval over draws; over seeds of a fixed list the mean with the least and the most."""
    if fit.swept == "split.seed":
        return round_spread(over_draws(np.array(values)[:, None], fit.tested_per_learned))
    return {"mean": round(float(np.mean(values)), 6), "least": min(values), "most": max(values)}


def about(jobs: Sequence[DoneJob], fit: Fit) -> dict[str, Any]:
    """hits@1 of each job and over them."""
    found: dict[str, Any] = {"title": fit.title, "draws": fit.swept == "split.seed"}
    for d in DIRECTIONS:
        each = [round(float(job.metrics[d]["metrics"]["hits@1"]), 6) for job in jobs]
        gallery = [int(job.metrics[d]["metrics"]["gallery"]) for job in jobs]
        found[d] = {"hits@1": each, "over": over_jobs(each, fit), "gallery": gallery}
    return found


def paired_differences(ours: Sequence[DoneJob], theirs: Sequence[DoneJob], fit: Fit) -> dict[str, Any]:
    """Paired differences of hits@1 of the same draws: of each draw with its interval and p, and over the draws."""
    found: dict[str, Any] = {d: {"each": []} for d in DIRECTIONS}
    for one, other in zip(ours, theirs, strict=True):
        a, b = rankings_of(one.folder), rankings_of(other.folder)
        tests = compare_all({d: (a[d][0], b[d][0]) for d in DIRECTIONS}, {d: a[d][1] for d in DIRECTIONS}, ks=(1,))
        for d in DIRECTIONS:
            own = tests[d]["hits@1"]
            found[d]["each"].append(
                [round(x, 6) for x in (own.interval.value, own.interval.low, own.interval.high, own.p)]
            )
    for d in DIRECTIONS:
        found[d]["over"] = over_jobs([row[0] for row in found[d]["each"]], fit)
    return found


def corrections(given: argparse.Namespace, name: str, fit: Fit, jobs: Sequence[DoneJob]) -> dict[str, Any]:
    """Every rule, its settings chosen on validation data, in each direction: what is gained on the pictures reported."""
    found: dict[str, Any] = {rule: {d: {"less_plain": [], "settings": []} for d in DIRECTIONS} for rule in RULES}
    for i, job in enumerate(jobs):
        tuned = swept(
            given,
            "evaluate",
            f"{name}_scores_{i}",
            [
                *("task=tune_weights", f"scores={','.join(RULES)}", f"ckpt={job.folder}", "tune_weights.rule=best"),
                "tune_weights.metric=t2i/hits@1,i2t/hits@1",
            ],
        )
        for one in tuned:
            said = one.metrics["tuned"]
            d = said["metric"].partition("/")[0]
            own = found[said["scores"]][d]
            own["less_plain"].append([round(x, 6) for x in one.metrics["less_plain"][d]["hits@1"]])
            own["settings"].append(said["settings"])
            own.setdefault("plain", []).append(one.metrics["plain"][d]["hits@1"])
            own.setdefault("corrected", []).append(one.metrics[d]["metrics"]["hits@1"])
    for rule in RULES:
        for d in DIRECTIONS:
            own = found[rule][d]
            own["over"] = over_jobs([row[0] for row in own["less_plain"]], fit)
            own["mean"] = [round(float(np.mean(own[key])), 6) for key in ("plain", "corrected")]
    return found


def main() -> None:
    given = arguments()
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in given.only or ["heads", *FITS]:
        if name == "heads":
            jobs = {key: fits(given, key, fit) for key, fit in HEADS.items()}
            found: Mapping[str, Any] = {
                key: about(own, HEADS[key]) | {"less_lite_pair": paired_differences(own, jobs["lite_pair"], HEADS[key])}
                for key, own in jobs.items()
            }
        else:
            own = fits(given, name, FITS[name])
            found = {"fit": about(own, FITS[name]), "scores": corrections(given, name, FITS[name], own)}
        known[name] = found
        write_text(RESULTS, json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(f"{name}: {RESULTS}")


if __name__ == "__main__":
    main()
