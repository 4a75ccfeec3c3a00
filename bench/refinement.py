"""What a refinement can find at best: recall@10 out of the truly nearest thousand, by how it keeps its vectors.

    python bench/refinement.py

Real vectors only: CLIP ViT-B/32's of held-out pictures, and captions through a trained tower (`bench/real_vectors.py`). The first
stage of an index can only lose from this; bytes are those of one vector. Trained on the gallery itself. What was found is kept in
bench/results/refinement.json, which `scripts/publish.py` makes a table of.
"""

from collections.abc import Mapping

import faiss
import numpy as np

from kept import RESULTS, Row, machine, machines, merge_results
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


def rows_of(asking: Asking) -> dict[str, Row]:
    """Recall of every way to keep the vectors, over one gallery."""
    asked = asking.queries.matrix[np.random.default_rng(0).permutation(len(asking.queries.ids))[:ASKED]]
    candidates = measure.exact_positions(asking.items.matrix, asked, CANDIDATES)
    count = len(asking.items.ids)
    found: dict[str, Row] = {}
    for kept in KEPT:
        value = recall(kept, asking.items.matrix, candidates, asked)
        row = {"kept": kept, "bytes": code_bytes(kept), "asked": asking.name, "N": count, "recall": value}
        found[f"{asking.name} {count:06} {kept}"] = row | {"machine": machine()}
        print(row, flush=True)
    return found


def write_page(found: Mapping[str, Row]) -> None:
    """The page, from all that has been measured: a row a way to keep the vectors, a column a gallery."""
    heads = sorted({(str(row["asked"]), int(str(row["N"]))) for row in found.values()})
    lines = []
    for kept in KEPT:
        own = [found[f"{asked} {count:06} {kept}"] for asked, count in heads]
        lines.append(f"| `{kept}` | {own[0]['bytes']} | " + " | ".join(f"{row['recall']:.3f}" for row in own) + " |")
    text = f"""# What a refinement can find at best

`python bench/refinement.py` on {machines(found.values())}. Real vectors of 512 dimensions (`bench/real_vectors.py`),
{ASKED} queries that are not in the gallery, recall@10 out of the truly nearest {CANDIDATES:,}.
How it is among millions was not measured.

| how the vectors are kept | bytes | {" | ".join(f"{asked}, N = {count:,}" for asked, count in heads)} |
|---|---|{"---|" * len(heads)}
{chr(10).join(lines)}
"""
    (RESULTS / "refinement.md").write_text(text)
    print(text)


def main() -> None:
    """Measure both galleries, and write what was found."""
    found: dict[str, Row] = {}
    for asking in (pictures_to_pictures(), captions_to(SIZES[-1])):
        found = merge_results("refinement", rows_of(asking))
    write_page(found)


if __name__ == "__main__":
    main()
