"""101 fusion weights x 1,000 queries x 100 candidates from cached scores: the claim is one second.

python bench/fusion.py [--queries 1000] [--candidates 100] [--repeats 5]

Everything after the cached scores is timed: normalising, mixing, counting ranks, the metric and its standard error at each
weight, and the choice. Beside it the same done by fusing and sorting a run at each weight. The scores are random (seed 0), with
the relevant item at a random place; the time does not depend on what they are. Both must find the same metric at each weight.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from picdesk.evaluation.metrics import Ranks, exact_ranks, metrics_of, ranks_of_run
from picdesk.interfaces import Embeddings
from picdesk.retrieval.weight_sweep import WeightSweep, grid
from picdesk.search.fusion import WeightedSum
from picdesk.search.indexes import FlatIndex
from picdesk.tasks.tune_weights import sweep_weights
from picdesk.trec.runs import Qrels, Run

RESULT = Path(__file__).parent / "results" / "fusion.md"


def case(queries: int, candidates: int) -> tuple[Run, np.ndarray, Qrels, Ranks]:
    """Random vectors; the gallery is ten times as long as the list."""
    generator = np.random.default_rng(0)
    gallery = generator.normal(size=(candidates * 10, 32))
    picture_of = generator.integers(0, len(gallery), queries)
    asked = gallery[picture_of] + generator.normal(size=(queries, 32))
    sides = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (asked, gallery)]
    ids = tuple(f"q{i}" for i in range(queries)), tuple(f"p{i:05}" for i in range(len(gallery)))
    text, image = Embeddings(ids[0], sides[0]), Embeddings(ids[1], sides[1])
    qrels = Qrels.from_pairs(*ids, np.arange(queries), picture_of)
    index = FlatIndex()
    index.build(image)
    run = index.search(text, candidates)
    return run, generator.normal(size=run.index.shape).astype(np.float32), qrels, exact_ranks(text, image, qrels)


def time_work(work: Callable[[], object], repeats: int) -> tuple[float, object]:
    """The median of some repeats, in seconds, and what the work gave."""
    times, found = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), found


def main() -> None:
    """Time both ways and print a table."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("queries", 1000), ("candidates", 100), ("repeats", 5)):
        top.add_argument(f"--{name}", type=int, default=default)
    chosen = top.parse_args()
    run, scores, qrels, exact = case(chosen.queries, chosen.candidates)
    points, fusion = grid(1, None), WeightedSum()

    def sort_by_counting() -> list[float]:
        sweep = WeightSweep(fusion, run, [scores], qrels, exact)
        return list(sweep_weights(sweep, ("x",), points, "hits@1", "one_se").values)

    def sorted_each() -> list[float]:
        return [metrics_of(ranks_of_run(fusion.fuse(run, [scores], point), qrels))["hits@1"] for point in points]

    fast, ours = time_work(sort_by_counting, chosen.repeats)
    slow, other = time_work(sorted_each, 1)
    assert np.allclose(ours, other, atol=1e-12), "both ways must find the same"  # type: ignore[arg-type]
    size = f"{len(points)} weights x {chosen.queries:,} queries x {chosen.candidates} candidates"
    lines = [
        f"`python bench/fusion.py`, {size}, from cached scores; median of {chosen.repeats}; {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.",
        "",
        "| how | seconds |",
        "|---|---|",
        f"| counted: mixed, ranks counted, metric and error at each weight, the choice | {fast:.3f} |",
        f"| a run fused and sorted at each weight, then scored | {slow:.3f} |",
        "",
        "Both find the same hits@1 at every weight.",
    ]
    print("\n".join(lines))
    RESULT.write_text("# A weight sweep from cached scores\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
