"""What a refinement can find at best: recall@10 out of the truly nearest thousand, by how it keeps its vectors.

    python bench/refinement.py [N]        (default 1000000; ten minutes on two cores)

Vectors as in `bench/clip_like.py`. The first stage of an index can only lose from this; bytes are those of one vector.
"""

import sys

import faiss
import numpy as np

from clip_like import blocks, gallery, queries
from kept import RESULTS, machine
from picdesk.search import making

ASKED, CANDIDATES, TOP = 500, 1000, 10
SAMPLE = 65_536
KEPT = ("SQ8", "OPQ64_320,SQ8", "OPQ64_256,SQ8", "SQ6", "SQ4", "OPQ64,SQ4")


def nearest(count: int, asked: np.ndarray) -> np.ndarray:
    """Places [queries, CANDIDATES] of the truly nearest, best first."""
    best = np.full((len(asked), CANDIDATES), -np.inf, np.float32)
    place = np.zeros((len(asked), CANDIDATES), np.int64)
    start = 0
    for shard in blocks(count, seed=1):
        scores, found = faiss.knn(asked, shard.matrix, CANDIDATES, metric=faiss.METRIC_INNER_PRODUCT)
        scores, found = np.hstack([best, scores]), np.hstack([place, found + start])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
        best, place = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
        start += len(shard.ids)
    return place


def rows_at(count: int, places: np.ndarray) -> np.ndarray:
    """The vectors at these places, which are sorted."""
    start, parts = 0, []
    for shard in blocks(count, seed=1):
        parts.append(shard.matrix[places[(places >= start) & (places < start + len(shard.ids))] - start])
        start += len(shard.ids)
    return np.concatenate(parts)


def recall(kept: str, sample: np.ndarray, rows: np.ndarray, candidates: np.ndarray, asked: np.ndarray) -> float:
    """Share of the TOP nearest that stand first when the candidates are scored by their kept form."""
    index = making.empty_index(kept, rows.shape[1])
    making.train(index, sample, kept)
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


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    asked = queries(ASKED, 2).matrix
    places = nearest(count, asked)
    known = np.unique(places)
    rows, candidates = rows_at(count, known), np.searchsorted(known, places)
    sample = gallery(SAMPLE, 1).matrix
    lines = []
    for kept in KEPT:
        lines.append(f"| `{kept}` | {code_bytes(kept)} | {recall(kept, sample, rows, candidates, asked):.3f} |")
        print(lines[-1], flush=True)
    text = f"""# What a refinement can find at best

`python bench/refinement.py` on {machine()}. {count:,} vectors as in `bench/clip_like.py`, {ASKED} queries, out of the truly
nearest {CANDIDATES:,}.

| how the vectors are kept | bytes | recall@10 |
|---|---|---|
{chr(10).join(lines)}
"""
    (RESULTS / "refinement.md").write_text(text)


if __name__ == "__main__":
    main()
