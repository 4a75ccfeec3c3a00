"""Real questions for the index benches: captions and held-out pictures through a tower that was trained on other pictures.

`backbone=lite` with heads trained on Flickr8k's train list (`experiment=flickr8k_lite`, seed 0). The gallery is real too: the
1,000 pictures of the official dev list, whose captions ask and which the heads never saw; behind them, as pictures that
nobody asks for, the train list's 5,000 and NewsImages' 3,958. Beyond what photographs there are, nothing is made up: real
queries find the same share of true neighbours only by probing more lists as N grows, made ones by probing fewer.

Trained and encoded once, by the project's own doors (some ten minutes on two cores), and kept in PICDESK_BENCH_CACHE, a
folder; by default one in the system's temporary folder.
"""

import csv
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_like import PROJECT, real_vectors
from picdesk.evaluation.metrics import Ranks, ranks_of_run
from picdesk.evaluation.significance import compare
from picdesk.interfaces import Embeddings
from picdesk.trec.runs import Qrels, Run

SIZES = (1_000, 6_000, 9_958)
HELD_OUT = 500


@dataclass(frozen=True)
class Asking:
    """A gallery, the queries that were kept out of it, and the position of the item each asks for (-1: of none)."""

    name: str
    items: Embeddings
    queries: Embeddings
    wanted: np.ndarray

    def part(self, rows: np.ndarray) -> "Asking":
        """Some of the queries."""
        return Asking(self.name, self.items, self.queries.take(rows), self.wanted[rows])

    def ranks(self, found: np.ndarray) -> Ranks:
        """Where the wanted items stand in lists [queries, depth] of positions (-1: none)."""
        falling = -np.arange(found.shape[1], dtype=np.float32)
        scores = np.where(found >= 0, falling, -np.inf).astype(np.float32)
        run = Run(self.queries.ids, self.items.ids, found.astype(np.int32), scores, len(self.items.ids))
        qrels = Qrels.from_pairs(self.queries.ids, self.items.ids, np.arange(len(self.wanted)), self.wanted)
        return ranks_of_run(run, qrels)

    def hits_lost(self, found: np.ndarray, exact: np.ndarray) -> Mapping[str, str]:
        """hits@1 and hits@10 in percent, less those of exact search with the 95% interval, paired and by picture."""
        if (self.wanted < 0).any():
            return {}
        own = compare(self.ranks(found), self.ranks(exact), ks=(1, 10))
        told = {}
        for name in ("hits@1", "hits@10"):
            value = 100 * float((self.ranks(found).first <= int(name[5:])).mean())
            span = own[name].interval
            told[name] = f"{value:.2f} ({100 * span.value:+.2f} [{100 * span.low:+.2f}, {100 * span.high:+.2f}])"
        return told


def captions_to(count: int) -> Asking:
    """The 5,000 captions of the dev list over a gallery of `count` real pictures, the dev list's among them."""
    vectors = _embed()
    names = np.concatenate([vectors["asked_names"], vectors["other_names"]])[:count]
    matrix = np.concatenate([vectors["asked_pictures"], vectors["other_pictures"]])[:count]
    if len(names) < count:
        raise SystemExit(f"{count:,} pictures wanted; there are {len(names):,}")
    items = Embeddings(tuple(map(str, names)), np.ascontiguousarray(matrix))
    texts = vectors["captions"]
    queries = Embeddings(tuple(f"c{i}" for i in range(len(texts))), np.ascontiguousarray(texts))
    return Asking("captions", items, queries, vectors["picture_of"])


def pictures_to_pictures() -> Asking:
    """Real CLIP ViT-B/32 vectors: 500 pictures ask over the other 1,928. Nothing is marked relevant."""
    real = real_vectors()
    order = np.random.default_rng(0).permutation(len(real))
    asked, kept = order[:HELD_OUT], order[HELD_OUT:]
    items = Embeddings(tuple(f"i{n}" for n in kept), np.ascontiguousarray(real[kept]))
    queries = Embeddings(tuple(f"q{n}" for n in asked), np.ascontiguousarray(real[asked]))
    return Asking("held-out pictures, CLIP", items, queries, np.full(HELD_OUT, -1))


@functools.cache
def _embed() -> Mapping[str, np.ndarray]:
    folder = Path(os.environ.get("PICDESK_BENCH_CACHE", Path(tempfile.gettempdir()) / "picdesk-bench"))
    path = folder / "real_vectors.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, **_make_arrays(folder))
        temporary.rename(path)
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _make_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Train, unless heads are there already; export the dev list, the whole of Flickr8k, and NewsImages through these heads."""
    if not any((folder / "outputs").glob("train/*/*/checkpoint/model.safetensors")):
        _door(folder, "train", "experiment=flickr8k_lite")
    asked, owners = _export(folder, "part=test")
    whole, _ = _export(folder, "part=all")
    news, _ = _export(folder, "data=newsimages", "split=all", "part=all", "prompt=title")
    place = {str(name): i for i, name in enumerate(asked["image_names"])}
    rest = np.array([str(name) not in place for name in whole["image_names"]])
    return {
        "asked_names": asked["image_names"],
        "asked_pictures": asked["image_embeddings"],
        "captions": asked["text_embeddings"],
        "picture_of": np.array([place[name] for name in owners]),
        "other_names": np.concatenate([whole["image_names"][rest], news["image_names"]]),
        "other_pictures": np.concatenate([whole["image_embeddings"][rest], news["image_embeddings"]]),
    }


def _export(folder: Path, *words: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a `task=export`, and the picture of each text."""
    before = set((folder / "outputs").rglob("embeddings.npz"))
    _door(folder, "evaluate", "task=export", "ckpt=latest", *words)
    (path,) = set((folder / "outputs").rglob("embeddings.npz")) - before
    with np.load(path, allow_pickle=False) as stored, (path.parent / "captions.csv").open(encoding="utf-8") as rows:
        return dict(stored), [row["image"] for row in csv.DictReader(rows)]


def _door(folder: Path, door: str, *words: str) -> None:
    root = os.environ.get("PICDESK_DATA_ROOT", str(PROJECT.parent / "shared" / "data"))
    settings = [f"paths.data_root={root}", f"paths.outputs={folder / 'outputs'}", "logger=none", "seed=0"]
    subprocess.run([sys.executable, str(PROJECT / f"{door}.py"), *words, *settings], check=True, cwd=PROJECT)


if __name__ == "__main__":
    for size in SIZES:
        one = captions_to(size)
        print(one.name, len(one.items.ids), one.items.dim, len(one.queries.ids))
