"""What bench/faults_kills.py kills: jobs of every kind, and a digest over what each leaves."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faults_jobs import (
    digest,
    of_pictures,
    of_vectors,
)
from picdesk.embedding.shards import open_shard, shard_paths
from picdesk.files import digest_of

SCORES = ("metrics.json", "run.trec", "qrels.trec")
FAST = ("logger=none", "bootstrap.resamples=20")


def of_files(*names: str) -> Callable[[Path], str]:
    """What a run left, as a digest over these files of its output dir."""
    return lambda root: digest_of([digest(root / "job" / name) for name in names])


def of_store(root: Path) -> str:
    """What the store holds: a digest over keys and vectors, however they lie in shards."""
    held: dict[str, str] = {}
    for space in sorted((root / "store").glob("*-*")):
        about = json.loads((space / "space.json").read_text())
        parts = {key: about[key] for key in ("modality", "trunk", "precision", "width", "decode", "storage")}
        for path in shard_paths(space):
            shard = open_shard(path, digest_of(parts), about["width"], about["storage"])
            for key, vector in zip(shard.keys, shard.features, strict=True):
                name = f"{space.name}/{key.tobytes().hex()}"
                assert name not in held, "an item was written twice"
                held[name] = np.asarray(vector).tobytes().hex()
    return digest_of(held)


def of_index(root: Path) -> str:
    """What an index folder holds."""
    header = json.loads((root / "index" / "header.json").read_text())
    files = {role: digest(root / "index" / entry["name"]) for role, entry in header["files"].items()}
    stray = sorted({path.name for path in (root / "index").iterdir()} - {e["name"] for e in header["files"].values()})
    return digest_of([files, [name for name in stray if name.startswith(("index-", "ids-", "lists-"))]])


def of_sweep(root: Path) -> str:
    """Metrics of all jobs of a sweep, and who leads."""
    jobs = {path.parent.name: digest(path) for path in (root / "job").glob("*/metrics.json")}
    lines = (root / "job" / "leaderboard.csv").read_text().splitlines() if jobs else []
    return digest_of([jobs, len(lines)])


def of_tuning(root: Path) -> str:
    """What an index was found to cost in hits; times differ."""
    rows = json.loads((root / "job" / "tune_index.json").read_text())
    return digest_of([[row["settings"], row["recall@10"], row["hits@1"], row["hits@10"]] for row in rows])


@dataclass(frozen=True)
class Task:
    """A job that is killed: its command below a fresh root, what it leaves, how many kills; `again` where it goes on another
    way."""

    name: str
    door: str
    overrides: Callable[[Path], Sequence[str]]
    left: Callable[[Path], str]
    kills: int
    again: Callable[[Path], Sequence[str]] | None = None
    base: str = ""
    beside: bool = False


def place(root: Path, *more: str) -> list[str]:
    """Where a job writes."""
    return [f"paths.outputs={root}", f"paths.store={root}/store", f"hydra.run.dir={root}/job", *FAST, *more]


FLAT = ("split=all", "part=all")


def tasks(data: Path, more: Path) -> list[Task]:
    """All that can be killed."""
    pictures, vectors = of_pictures(data), of_vectors(data)
    added = of_pictures(more)[:-1]
    return [*of_pictures_alone(pictures), *of_indexes(pictures, added, vectors), *of_choices(pictures, vectors)]


def of_pictures_alone(pictures: list[str]) -> list[Task]:
    """Fitting, scoring, encoding and searching pictures."""
    training = ["trainer.max_epochs=6", "training.batch_size=4", "training.state_seconds=0", "split.seed=1"]

    def fit(root: Path) -> list[str]:
        return [*pictures, *training, *place(root)]

    def go_on(root: Path) -> list[str]:
        stopped = (root / "job" / "resume" / "config.yaml").is_file()
        return [f"resume={root}/job", f"paths.store={root}/store", "logger=none"] if stopped else fit(root)

    return [
        Task("train", "train", fit, of_files(*SCORES, "checkpoint/model.safetensors"), 50, go_on),
        Task("evaluate", "evaluate", lambda root: [*pictures, *FLAT, *place(root)], of_files(*SCORES), 36),
        Task("encode", "evaluate", lambda root: ["task=encode", *pictures, *FLAT, *place(root)], of_store, 36),
        Task(
            "retrieve",
            "retrieve",
            lambda root: ["query=a small picture", *pictures, *FLAT, *place(root)],
            of_files("results.csv", "run.trec"),
            30,
        ),
    ]


def of_indexes(pictures: list[str], added: list[str], vectors: list[str]) -> list[Task]:
    """Building an index, adding to it, and measuring what it costs."""

    def index(root: Path) -> list[str]:
        return [f"index_dir={root}/index", *place(root)]

    return [
        Task(
            "index_build", "retrieve", lambda root: ["task=index_build", *pictures, *FLAT, *index(root)], of_index, 30
        ),
        Task(
            "index_add, new items",
            "retrieve",
            lambda root: ["task=index_add", *added, *FLAT, *index(root)],
            of_index,
            30,
            base="index_build",
        ),
        Task(
            "tune_index",
            "evaluate",
            lambda root: ["task=tune_index", "index=hnsw", "tune.settings=[{efSearch: 4}]", *vectors, *place(root)],
            of_tuning,
            20,
        ),
    ]


def of_choices(pictures: list[str], vectors: list[str]) -> list[Task]:
    """Choosing weights, exporting vectors, a sweep, and two jobs at once."""

    def sweep(root: Path) -> list[str]:
        axes = ["-m", "seed=0,1,2", "skip_completed=true", f"hydra.sweep.dir={root}/job"]
        return [*axes, *vectors, *place(root)[:2], "logger=none"]

    return [
        Task(
            "tune_weights",
            "evaluate",
            lambda root: ["task=tune_weights", "reranker=captions", "tune_weights.steps=3", *pictures, *place(root)],
            of_files("metrics.json", "weights.csv"),
            24,
        ),
        Task(
            "export",
            "evaluate",
            lambda root: ["task=export", *pictures, *FLAT, *place(root)],
            of_files("embeddings.npz", "captions.csv"),
            20,
        ),
        Task("sweep of three jobs", "evaluate", sweep, of_sweep, 24),
        Task(
            "two jobs on one store",
            "evaluate",
            lambda root: ["task=encode", *pictures, *FLAT, *place(root)],
            of_store,
            24,
            beside=True,
        ),
    ]
