"""A page of the most and the least aesthetic pictures of a data set whose CLIP vectors are known.

python scripts/aesthetic_page.py --root DATA --file clip_vit_b32_openai_flickr8k.npz --image-array embedding --image-names image \
    --folder flickr8k/Images --head sa_0_4_vit_b_32_linear.pth --out page.html

Scores every vector by the head as `reranker=aesthetics` does, compares them with torch's own linear layer, and writes the page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from picdesk.readers.npz import Npz
from picdesk.report.content import Fact, Item, QueryCard, Ranking, RetrievalPage
from picdesk.report.page import write_retrieval
from picdesk.rerankers.aesthetics import apply_head, read_head


def main() -> None:
    """Score, compare, write."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("root", "file", "image-array", "image-names", "folder", "head", "out"):
        top.add_argument(f"--{name}", required=True)
    top.add_argument("--shown", type=int, default=12)
    chosen = top.parse_args()
    reader = Npz(
        chosen.root,
        chosen.file,
        image_array=chosen.image_array,
        image_names=chosen.image_names,
        text_array=None,
        captions_file=None,
        folder=chosen.folder,
    )
    part, vectors = reader.read(), reader.embeddings("image")
    layers = read_head(chosen.head)
    values = apply_head(layers, vectors.matrix)
    if len(layers) == 1:
        layer = torch.nn.Linear(vectors.dim, 1)
        layer.weight.data, layer.bias.data = layers[0]
        with torch.inference_mode():
            own = layer(torch.from_numpy(vectors.matrix)).numpy()[:, 0]
        print(f"largest difference to torch.nn.Linear over {len(own):,} pictures: {np.abs(own - values).max():.3g}")
    order = np.argsort(-values, kind="stable")
    print(f"values from {values.min():.2f} to {values.max():.2f}, mean {values.mean():.2f}")
    place = {name: i for i, name in enumerate(part.picture_ids)}
    cards = [
        card(part.picture_ids, values, rows, title)
        for title, rows in (("Most aesthetic", order), ("Least aesthetic", order[::-1]))
    ]
    page = RetrievalPage(
        title="Aesthetics",
        subtitle=f"{len(values):,} pictures scored by {Path(chosen.head).name}",
        cards=tuple(one(chosen.shown) for one in cards),
        facts=(Fact("data", chosen.file), Fact("head", Path(chosen.head).name)),
    )
    write_retrieval(chosen.out, page, lambda name: part.pictures.read(place[name]))


def card(ids: tuple[str, ...], values: np.ndarray, rows: np.ndarray, title: str):  # type: ignore[no-untyped-def]
    """A card of so many pictures in this order."""

    def made(shown: int) -> QueryCard:
        found = [Item(ids[i], "", ids[i], float(values[i]), rank) for rank, i in enumerate(rows[:shown].tolist(), 1)]
        return QueryCard(title, "t2i", (Ranking(tuple(found)),), text=title)

    return made


if __name__ == "__main__":
    main()
