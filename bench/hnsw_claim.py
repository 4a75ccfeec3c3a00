"""Is HNSW (M 16, efConstruction 200, efSearch 100) free of loss, and is it quicker, at the size of Flickr8k?

    python bench/hnsw_claim.py [PICTURES ...]        (default 1213 6000)

System C says both of 1,213 pictures. Here: the 5,000 real captions of Flickr8k's dev list over real pictures, its own 1,000 among
them, through heads trained on other pictures (`bench/real_vectors.py`).
"""

import sys
from collections.abc import Mapping

import numpy as np

from kept import RESULTS, machine, machines, merge_results
from picdesk.search import measure
from picdesk.search.indexes import FlatIndex, HnswIndex
from real_vectors import captions_to

COUNTS = (1_213, 6_000)
STEPS = (16, 50, 100, 200, 400)
SINGLES, ROUNDS, TOP = 500, 5, 10


def rows_of(count: int) -> list[str]:
    """One table row per setting; the index is built once, the settings take turns."""
    asking = captions_to(count)
    asked = asking.queries.matrix
    flat, graph = FlatIndex(), HnswIndex(m=16, ef_construction=200)
    for index in (flat, graph):
        index.build(asking.items)
    exact = flat.nearest(asked, TOP)[0]
    systems = [("flat", flat, {}), *((f"hnsw efSearch={step}", graph, {"efSearch": step}) for step in STEPS)]
    singles: dict[str, list[np.ndarray]] = {name: [] for name, *_ in systems}
    batches: dict[str, list[float]] = {name: [] for name, *_ in systems}
    for turn in range(ROUNDS):
        rows = asked[np.random.default_rng(turn).permutation(len(asked))[:SINGLES]]
        for name, index, settings in systems:
            index.tune(settings)
            singles[name].append(measure.single_seconds(index.nearest, rows, TOP))
            batches[name].append(len(asked) / measure.batch_seconds(index.nearest, asked, TOP))
    lines = []
    for name, index, settings in systems:
        index.tune(settings)
        found = index.nearest(asked, TOP)[0]
        lost = asking.hits_lost(found, exact)
        times = 1000 * np.percentile(np.concatenate(singles[name]), [50, 95, 99])
        rate = np.percentile(batches[name], [50, 0, 100])
        lines.append(
            f"| {count:,} | {name} | {measure.recall(found, exact).mean:.4f} | {lost['hits@1']} | {lost['hits@10']} | "
            + " | ".join(f"{time:.3f}" for time in times)
            + f" | {rate[0]:,.0f} ({rate[1]:,.0f} to {rate[2]:,.0f}) |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    for count in [int(text) for text in sys.argv[1:]] or COUNTS:
        rows = merge_results("hnsw_claim", {f"{count:07}": {"lines": rows_of(count), "machine": machine()}})
        write(rows)


def write(rows: Mapping[str, Mapping[str, object]]) -> None:
    """The page, from all that has been measured."""
    lines = [line for _, row in sorted(rows.items()) for line in row["lines"]]  # type: ignore[attr-defined]
    text = f"""# HNSW (16, 200, 100) against exact search, asked by real captions

`python bench/hnsw_claim.py` on {machines(rows.values())}.
The 5,000 captions of Flickr8k's dev list over real pictures, through heads trained on other pictures (`bench/real_vectors.py`).
hits in percent; in brackets less exact search, with the 95% interval, paired and by picture. Times of {ROUNDS} rounds of
{SINGLES} single captions, settings in turn; queries/s of all 5,000 at once, median (least to most).

| pictures | index | recall@10 | hits@1 | hits@10 | p50 ms | p95 ms | p99 ms | queries/s in batch |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""
    (RESULTS / "hnsw_claim.md").write_text(text)
    print(f"written: {RESULTS / 'hnsw_claim.md'}")


if __name__ == "__main__":
    main()
