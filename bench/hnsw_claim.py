"""Is HNSW (M 16, efConstruction 200, efSearch 100) free of loss, and is it quicker, at the size of Flickr8k?

    python bench/hnsw_claim.py [PICTURES ...]        (default 1213 2428)

System C says both of 1,213 pictures. Here: real CLIP ViT-B/32 image vectors. Each query is a picture's vector with noise, its
relevant item the picture: the noise is set so that exact search hits at 1 about as often as System C reports (0.48).
"""

import sys
from collections.abc import Callable, Mapping

import numpy as np

from clip_like import real_vectors
from kept import RESULTS, machine, machines, merged
from picdesk.interfaces import Embeddings
from picdesk.search.indexes import HnswIndex
from picdesk.search.tuning import TradeOff, tune_index
from picdesk.trec import Run

COUNTS = (1_213, 2_428)
STEPS = (16, 50, 100, 200, 400)
SEEDS = (1, 2, 3)
NOISE = 4.35


def noisy(real: np.ndarray, pictures: np.ndarray, seed: int) -> Embeddings:
    """Five queries per picture, as there are five captions."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(real[pictures], 5, axis=0)
    noise = rng.standard_normal(rows.shape, np.float32)
    rows = rows + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    ids = tuple(f"q{p}#{k}" for p in pictures for k in range(5))
    return Embeddings(ids, np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32))


def hits_of(pictures: np.ndarray) -> Callable[[Run], Mapping[str, float]]:
    def hits(run: Run) -> Mapping[str, float]:
        own = np.repeat(np.arange(len(pictures)), 5)[:, None]
        return {f"hits@{k}": float((run.index[:, :k] == own).any(axis=1).mean()) for k in (1, 5, 10)}

    return hits


def measured(count: int, seed: int) -> list[TradeOff]:
    real = real_vectors()
    pictures = np.random.default_rng(seed).permutation(len(real))[:count]
    items = Embeddings(tuple(f"i{p}" for p in pictures), np.ascontiguousarray(real[pictures]))
    index = HnswIndex(m=16, ef_construction=200)
    settings = [{"efSearch": step} for step in STEPS]
    return tune_index(index, items, noisy(real, pictures, seed), hits_of(pictures), settings=settings)


def rows_of(count: int) -> list[str]:
    """One table row per setting."""
    seeds = [measured(count, seed) for seed in SEEDS]
    lines = []
    for place, first in enumerate(seeds[0]):
        rows = [seed[place] for seed in seeds]
        named = " ".join([first.index.split()[0], *(f"{key}={value}" for key, value in first.settings.items())])
        hits = [np.mean([row.hits[key] for row in rows]) for key in ("hits@1", "hits@5", "hits@10")]
        lost = np.mean([seed[0].hits["hits@1"] - row.hits["hits@1"] for row, seed in zip(rows, seeds, strict=True)])
        times = [np.median([getattr(row.latency, name) for row in rows]) for name in ("p50_ms", "p95_ms", "p99_ms")]
        quality = " | ".join(f"{value:.5f}" for value in (np.mean([row.recall for row in rows]), *hits, lost))
        speed = " | ".join(f"{value:.3f}" for value in times)
        lines.append(
            f"| {count:,} | {named} | {quality} | {speed} | {np.median([row.batch_qps for row in rows]):,.0f} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or COUNTS
    for count in counts:
        rows = merged("hnsw_claim", {f"{count:07}": {"lines": rows_of(count), "machine": machine()}})
        write(rows)


def write(rows: Mapping[str, Mapping[str, object]]) -> None:
    """The page, from all that has been measured."""
    lines = [line for _, row in sorted(rows.items()) for line in row["lines"]]  # type: ignore[attr-defined]
    text = f"""# HNSW (16, 200, 100) against exact search on real CLIP vectors

`python bench/hnsw_claim.py` on {machines(rows.values())}.
Five noisy queries per picture; recall, hits and the hits@1 lost against
exact search are means, times are medians, over {len(SEEDS)} seeds.

| pictures | index | recall@10 | hits@1 | hits@5 | hits@10 | lost hits@1 | p50 ms | p95 ms | p99 ms | queries/s in batch |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""
    (RESULTS / "hnsw_claim.md").write_text(text)
    print(f"written: {RESULTS / 'hnsw_claim.md'}")


if __name__ == "__main__":
    main()
