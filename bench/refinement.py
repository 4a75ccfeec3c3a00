"""What a refinement can find at best: recall@10 out of the truly nearest thousand, by how it keeps its vectors.

    python bench/refinement.py

Real vectors only: CLIP ViT-B/32's of held-out pictures, and captions through a trained tower (`bench/real_vectors.py`). The first
stage of an index can only lose from this; bytes are those of one vector. Trained on the gallery itself.
"""

import faiss
import numpy as np

from kept import RESULTS, machine
from picdesk.search import making, measure
from real_vectors import SIZES, Asking, captions_to, pictures_to_pictures

ASKED, CANDIDATES, TOP = 500, 1000, 10
KEPT = ("SQ8", "OPQ64_320,SQ8", "OPQ64_256,SQ8", "SQ6", "SQ4", "OPQ64,SQ4")


def recall(kept: str, rows: np.ndarray, candidates: np.ndarray, asked: np.ndarray) -> float:
    """Share of the TOP nearest that stand first when the candidates are scored by their kept form."""
    index = making.empty_index(kept, rows.shape[1])
    making.train(index, rows, kept)
    index.add(rows)
    inner = index  # which lives no longer than the index around it
    if isinstance(index, faiss.IndexPreTransform):
        asked = faiss.downcast_VectorTransform(index.chain.at(0)).apply(asked)
        inner = faiss.downcast_index(index.index)
    decoded = inner.reconstruct_n(0, len(rows))
    found = 0
    for query, own in zip(asked, candidates, strict=True):
        first = own[np.argsort(-(decoded[own] @ query), kind="stable")[:TOP]]
        found += len(np.intersect1d(first, own[:TOP]))
    return found / (TOP * len(asked))


def code_bytes(kept: str) -> int:
    """Bytes of one vector."""
    index = making.empty_index(kept, 512)
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    return int(inner.sa_code_size())


def column(asking: Asking) -> list[float]:
    """Recall of every way to keep the vectors."""
    asked = asking.queries.matrix[np.random.default_rng(0).permutation(len(asking.queries.ids))[:ASKED]]
    candidates = measure.exact_positions(asking.items.matrix, asked, CANDIDATES)
    return [recall(kept, asking.items.matrix, candidates, asked) for kept in KEPT]


def main() -> None:
    sides = [pictures_to_pictures(), captions_to(SIZES[-1])]
    columns = [column(asking) for asking in sides]
    heads = [f"{asking.name}, N = {len(asking.items.ids):,}" for asking in sides]
    lines = [
        f"| `{kept}` | {code_bytes(kept)} | " + " | ".join(f"{own[place]:.3f}" for own in columns) + " |"
        for place, kept in enumerate(KEPT)
    ]
    text = f"""# What a refinement can find at best

`python bench/refinement.py` on {machine()}. Real vectors of 512 dimensions (`bench/real_vectors.py`), {ASKED} queries that
are not in the gallery, recall@10 out of the truly nearest {CANDIDATES:,}. How it is among millions was not measured: neighbours
lie nearer together there, so it can only be lower.

| how the vectors are kept | bytes | {" | ".join(heads)} |
|---|---|{"---|" * len(heads)}
{chr(10).join(lines)}
"""
    (RESULTS / "refinement.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
