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
from numpy.typing import NDArray

import recipes
from picdesk.evaluation.families import family_p
from picdesk.evaluation.significance import compare_all
from picdesk.evaluation.spread import over_draws, over_seeds_and_pictures, round_spread
from picdesk.files import write_text
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.found import DoneJob, find_jobs
from picdesk.jobs.rankings import rankings_of

RESULTS = recipes.PROJECT / "bench" / "results" / "vectors.json"
Doubles = NDArray[np.float64]
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
        "data.max_bad_fraction=0.8",
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
    "newsimages_mpnet": Fit(
        "NewsImages, heads + InfoNCE, mpnet beside MiniLM",
        (
            *("experiment=finetune_newsimages", "backbone=lite_pair_mpnet", "backbone.image_trunk=efficientnet_lite0"),
            *(
                "backbone.mirrored=false",
                "backbone.residual=false",
                "backbone.text_hidden=null",
                "backbone.dropout=0.3",
            ),
        ),
        tested_per_learned=10 / 80,
    ),
}
LESS = {"flickr8k_mpnet": "flickr8k", "newsimages_mpnet": "newsimages"}
"""Fits that are compared with another one on the same draws or seeds, pair by pair."""


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


def hits_of(job: DoneJob) -> dict[Direction, tuple[Doubles, tuple[str, ...]]]:
    """hits@1 of each query of a job, sorted by query id, and the picture that each is about."""
    found = {}
    for d, (ranks, pictures) in rankings_of(job.folder).items():
        order = sorted(range(len(ranks.query_ids)), key=ranks.query_ids.__getitem__)
        found[d] = ((ranks.first[order] <= 1).astype(np.float64), tuple(pictures[i] for i in order))
    return found


def over_jobs(each: Sequence[Doubles], pictures: Sequence[Sequence[str]], lengths: Sequence[float], fit: Fit) -> Any:
    """The mean over jobs with its 95% interval: over draws of the split, or over the seeds of a fixed list and its pictures."""
    if fit.swept == "split.seed":
        means = np.array([values.mean() for values in each])[:, None]
        return round_spread(over_draws(means, np.array(lengths)[:, None], fit.tested_per_learned))
    return round_spread(over_seeds_and_pictures(np.array(each), np.unique(pictures[0], return_inverse=True)[1]))


def about(jobs: Sequence[DoneJob], fit: Fit) -> dict[str, Any]:
    """hits@1 of each job and over them."""
    found: dict[str, Any] = {"title": fit.title, "draws": fit.swept == "split.seed"}
    own = [hits_of(job) for job in jobs]
    for d in DIRECTIONS:
        each = [round(float(job.metrics[d]["metrics"]["hits@1"]), 6) for job in jobs]
        ends = [job.metrics[d]["intervals"]["hits@1"] for job in jobs]
        values, pictures = zip(*(one[d] for one in own), strict=True)
        over = over_jobs(values, pictures, [high - low for low, high in ends], fit)
        found[d] = {
            "hits@1": each,
            "over": over,
            "gallery": [int(job.metrics[d]["metrics"]["gallery"]) for job in jobs],
        }
    return found


def apart(ours: Sequence[DoneJob], theirs: Sequence[DoneJob], fit: Fit) -> dict[Direction, dict[str, Any]]:
    """Paired differences of hits@1, job by job with interval and p, over the jobs, and what each picture adds to the mean."""
    found: dict[Direction, dict[str, Any]] = {d: {"each": [], "values": [], "pictures": []} for d in DIRECTIONS}
    for one, other in zip(ours, theirs, strict=True):
        a, b = rankings_of(one.folder), rankings_of(other.folder)
        tests = compare_all({d: (a[d][0], b[d][0]) for d in DIRECTIONS}, {d: a[d][1] for d in DIRECTIONS}, ks=(1,))
        mine, other_hits = hits_of(one), hits_of(other)
        for d in DIRECTIONS:
            own = tests[d]["hits@1"]
            row = (own.interval.value, own.interval.low, own.interval.high, own.p)
            found[d]["each"].append([round(x, 6) for x in row])
            found[d]["values"].append(mine[d][0] - other_hits[d][0])
            found[d]["pictures"].append(mine[d][1])
    for own in found.values():
        lengths = [row[2] - row[1] for row in own["each"]]
        own["over"] = over_jobs(own["values"], own["pictures"], lengths, fit)
    return found


def family(compared: Sequence[dict[Direction, dict[str, Any]]]) -> list[dict[Direction, float]]:
    """p of each comparison and direction, corrected for all of them: random signs by picture, over all jobs together."""
    names = sorted({name for one in compared for own in one.values() for part in own["pictures"] for name in part})
    place = {name: i for i, name in enumerate(names)}
    sums = np.zeros((len(names), 1 + len(compared) * len(DIRECTIONS)))
    columns = [(i, d) for i in range(len(compared)) for d in DIRECTIONS]
    for column, (i, d) in enumerate(columns, start=1):
        own = compared[i][d]
        for values, pictures in zip(own["values"], own["pictures"], strict=True):
            np.add.at(sums[:, column], [place[name] for name in pictures], values / len(values) / len(own["values"]))
    pairs = np.array([[column, 0] for column in range(1, 1 + len(columns))], np.int64)
    told = dict(zip(columns, family_p(sums, pairs, 10_000, 0), strict=True))
    return [{d: round(float(told[i, d]), 6) for d in DIRECTIONS} for i in range(len(compared))]


def kept_of(one: dict[str, Any], p: float) -> dict[str, Any]:
    """What a file keeps of a comparison."""
    return {"each": one["each"], "over": one["over"], "p": p}


def paired_differences(ours: Sequence[DoneJob], theirs: Sequence[DoneJob], fit: Fit) -> dict[str, Any]:
    """Paired differences of hits@1 of the same draws or seeds, with p corrected for both directions."""
    found = apart(ours, theirs, fit)
    (told,) = family([found])
    return {d: kept_of(found[d], told[d]) for d in DIRECTIONS}


def tune_scores(given: argparse.Namespace, name: str, jobs: Sequence[DoneJob]) -> list[list[DoneJob]]:
    """For each job a sweep of every rule, its settings chosen on validation data in either direction."""
    rules = ("task=tune_weights", f"scores={','.join(RULES)}", "tune_weights.rule=best")
    both = "tune_weights.metric=t2i/hits@1,i2t/hits@1"
    return [
        swept(given, "evaluate", f"{name}_scores_{i}", [*rules, f"ckpt={job.folder}", both])
        for i, job in enumerate(jobs)
    ]


def corrections(jobs: Sequence[DoneJob], tuned: Sequence[Sequence[DoneJob]], fit: Fit) -> dict[str, Any]:
    """Every rule in each direction, and the one that validation data would choose, plain scores among them: what is gained on
    the pictures reported, paired, with p corrected for all rules and directions."""
    own = {
        (job, one.metrics["tuned"]["scores"], one.metrics["tuned"]["metric"][:3]): one
        for job, each in enumerate(tuned)
        for one in each
    }
    by_rule = {rule: {d: [own[i, rule, d] for i in range(len(jobs))] for d in DIRECTIONS} for rule in RULES}
    compared = {rule: {d: apart(by_rule[rule][d], jobs, fit)[d] for d in DIRECTIONS} for rule in RULES}
    p = dict(zip(RULES, family(list(compared.values())), strict=True))
    found: dict[str, Any] = {rule: {} for rule in RULES}
    for rule in RULES:
        for d in DIRECTIONS:
            told = [one.metrics["tuned"] for one in by_rule[rule][d]]
            plain = [float(job.metrics[d]["metrics"]["hits@1"]) for job in jobs]
            corrected = [float(one.metrics[d]["metrics"]["hits@1"]) for one in by_rule[rule][d]]
            found[rule][d] = kept_of(compared[rule][d], p[rule][d]) | {
                "settings": [one["settings"] for one in told],
                "mean": [round(float(np.mean(values)), 6) for values in (plain, corrected)],
                "validation": [round(float(np.mean([one[key] for one in told])), 6) for key in ("plain", "value")],
            }
    found["chosen"] = {d: choose_rule({rule: found[rule][d]["validation"] for rule in RULES}) for d in DIRECTIONS}
    return found


def choose_rule(validation: Mapping[str, Sequence[float]]) -> str:
    """The rule whose mean over the jobs is highest on validation data, or `plain`."""
    best = max(validation, key=lambda rule: validation[rule][1])
    return best if validation[best][1] > validation[best][0] else "plain"


def main() -> None:
    given = arguments()
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in given.only or ["heads", *FITS]:
        if name == "heads":
            jobs = {key: fits(given, key, fit) for key, fit in HEADS.items()}
            found: Mapping[str, Any] = {
                key: about(own, HEADS[key])
                | (
                    {}
                    if key == "lite_pair"
                    else {"less_lite_pair": paired_differences(own, jobs["lite_pair"], HEADS[key])}
                )
                for key, own in jobs.items()
            }
        else:
            own = fits(given, name, FITS[name])
            tuned = tune_scores(given, name, own)
            found = {"fit": about(own, FITS[name]), "scores": corrections(own, tuned, FITS[name])}
            if name in LESS:
                found[f"less_{LESS[name]}"] = paired_differences(
                    own, fits(given, LESS[name], FITS[LESS[name]]), FITS[name]
                )
        known[name] = found
        write_text(RESULTS, json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(f"{name}: {RESULTS}")


if __name__ == "__main__":
    main()
