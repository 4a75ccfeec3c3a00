"""`index=auto` against autofaiss and against plain exact search: queries per second at recall@10 of 0.99, and time to ready.

    python bench/index.py [N ...] [batch|single]        (default 1000 6000 9958, both uses)

Real captions ask over real pictures (`bench/real_vectors.py`): no N is larger than the photographs there are. The captions of
500 pictures are the examples by which auto chooses; 1,000 captions of the other 500 are timed and scored. Set
PICDESK_AUTOFAISS_PYTHON to the interpreter of an environment that has autofaiss (it wants numpy below 2); without it that column
stays empty. Timed in turn, round after round, in one process; the ratios are medians over the rounds. autofaiss is measured
twice: as it comes, and with the least efSearch or nprobe that gives recall 0.99 on the very queries that are timed. auto is
measured as it comes: it has only seen other queries.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import faiss
import numpy as np

from kept import RESULTS, machine, machines, merge_results
from picdesk.interfaces import Embeddings
from picdesk.search import making, measure
from picdesk.search.auto import AutoIndex
from picdesk.search.indexes import FlatIndex
from real_vectors import SIZES, Asking, captions_to

ROUNDS = 15
SINGLES = 200
EXAMPLES, ASKED = 500, 1_000
MANY = 10**8
"""Queries that auto is told to expect: enough that building may cost anything. What it costs in all: bench/auto_cost.py."""
AUTOFAISS = """
import json, sys, time, logging
import numpy as np
logging.disable(logging.CRITICAL)
from autofaiss import build_index
vectors = np.load(sys.argv[1])
start = time.perf_counter()
build_index(vectors, save_on_disk=True, index_path=sys.argv[2], index_infos_path=sys.argv[2] + ".json",
            metric_type="ip", max_index_memory_usage="4GB", current_memory_available="8GB", verbose=50)
infos = json.load(open(sys.argv[2] + ".json"))
json.dump({"seconds": time.perf_counter() - start, "key": infos.get("index_key"), "set": infos.get("index_param")},
          open(sys.argv[2] + ".told", "w"))
"""


@dataclass
class System:
    """One column: how it searches, what it found for the timed queries, how long it took to be ready, and what it is."""

    name: str
    search: Callable[[np.ndarray, int], object]
    found: np.ndarray
    ready: float
    what: str


def built_by_autofaiss(vectors: np.ndarray, folder: Path) -> tuple[faiss.Index, dict[str, object]] | None:
    """Its index, and what it said; None where there is no autofaiss."""
    python = os.environ.get("PICDESK_AUTOFAISS_PYTHON")
    if not python:
        return None
    np.save(folder / "vectors.npy", vectors)
    command = [python, "-c", AUTOFAISS, str(folder / "vectors.npy"), str(folder / "auto.faiss")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return faiss.read_index(str(folder / "auto.faiss")), json.loads((folder / "auto.faiss.told").read_text())


def searching(index: faiss.Index) -> Callable[[np.ndarray, int], object]:
    return lambda asked, top_k: index.search(asked, top_k)


def found_by(index: faiss.Index, asked: np.ndarray) -> np.ndarray:
    return np.asarray(index.search(asked, 10)[1].astype(np.int32))


def autofaiss_systems(items: Embeddings, asked: np.ndarray, exact: np.ndarray, folder: Path) -> list[System]:
    built = built_by_autofaiss(items.matrix, folder)
    if built is None:
        return []
    index, told = built
    what = f"{told['key']} {told['set'] or ''}".strip()
    ready = float(str(told["seconds"]))
    systems = [System("autofaiss", searching(index), found_by(index, asked), ready, what)]
    tuned = faiss.read_index(str(folder / "auto.faiss"))
    name, steps = ("efSearch", range(10, 2000, 2)) if "HNSW" in what else ("nprobe", range(1, 5000))
    for step in steps:
        making.set_search(tuned, {name: step})
        reached = found_by(tuned, asked)
        if measure.recall(reached, exact).mean >= 0.99:
            break
    systems.append(System("autofaiss at 0.99", searching(tuned), reached, ready, f"{told['key']} {name}={step}"))
    return systems


def ours(items: Embeddings, examples: Embeddings, use: str, asked: np.ndarray) -> System:
    index = AutoIndex(use=use, expect_queries=MANY)  # type: ignore[arg-type]
    start = perf_counter()
    index.build(items, examples)
    ready = perf_counter() - start
    assert index.record is not None
    print(index.record.table(), flush=True)
    settings = " ".join(f"{key}={value:g}" for key, value in index.chosen_index.settings.items())
    return System(
        "auto", index.nearest, index.nearest(asked, 10)[0], ready, f"{index.chosen_index.kind} {settings}".strip()
    )


def plain_systems(items: Embeddings, asked: np.ndarray) -> tuple[System, System]:
    start = perf_counter()
    flat = FlatIndex()
    flat.build(items)
    ready = perf_counter() - start
    start = perf_counter()
    bare = faiss.IndexFlatIP(items.dim)
    bare.add(items.matrix)
    added = perf_counter() - start
    return (
        System("index=flat", flat.nearest, flat.nearest(asked, 10)[0], ready, "exact, ties by id"),
        System("bare IndexFlatIP", searching(bare), found_by(bare, asked), added, "exact, ties as they fall"),
    )


def time_systems(systems: list[System], asked: np.ndarray, use: str) -> np.ndarray:
    """Seconds per query [rounds, systems], each round one turn of every system, in changing order."""
    taken = np.empty((ROUNDS, len(systems)))
    for turn in range(-1, ROUNDS):
        for place in np.random.default_rng(turn + 1).permutation(len(systems)):
            search = systems[place].search
            if use == "single":
                rows = np.arange(SINGLES) + (turn * SINGLES) % (len(asked) - SINGLES)
                seconds = float(np.median(measure.single_seconds(search, asked[rows], 10)))  # type: ignore[arg-type]
            else:
                seconds = measure.batch_seconds(search, asked, 10) / len(asked)  # type: ignore[arg-type]
            if turn >= 0:
                taken[turn, place] = seconds
    return taken


def rows_of(asking: Asking, use: str, systems: list[System], taken: np.ndarray, exact: np.ndarray) -> list[str]:
    rows = []
    count = len(asking.items.ids)
    for place, system in enumerate(systems):
        ratios = taken[:, place] / taken[:, 0]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        rate = 1 / np.median(taken[:, place])
        versus = "" if place == 0 else f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lost = asking.hits_lost(system.found, exact)
        recall = measure.recall(system.found, exact).mean
        rows.append(
            f"| {count:,} | {use} | {system.name} | {system.what} | {recall:.4f} | {lost['hits@1']} | {lost['hits@10']} "
            f"| {rate:,.0f} | {versus} | {system.ready:.2f} |"
        )
    return rows


def compare(count: int, uses: list[str]) -> dict[str, dict[str, object]]:
    every = captions_to(count)
    items, examples = every.items, every.part(np.flatnonzero(every.wanted < EXAMPLES)).queries
    others_ask = np.flatnonzero(every.wanted >= EXAMPLES)
    asking = every.part(np.random.default_rng(0).permutation(others_ask)[:ASKED])
    asked = asking.queries.matrix
    exact = measure.exact_positions(items.matrix, asked, 10)
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        others = [*plain_systems(items, asked), *autofaiss_systems(items, asked, exact, Path(folder))]
        for use in uses:
            systems = [ours(items, examples, use, asked), *others]
            taken = time_systems(systems, asked, use)
            rows = rows_of(asking, use, systems, taken, exact)
            print("\n".join(rows), flush=True)
            found[f"{count:08} {use}"] = {"lines": rows, "worst": worst(systems, taken), "machine": machine()}
    return found


def worst(systems: list[System], taken: np.ndarray) -> dict[str, float]:
    """How many times as long auto took as exact search, and as autofaiss brought to the same recall (or as it comes)."""
    names = [system.name for system in systems]
    rivals = {"index=flat": "exact", "autofaiss at 0.99": "autofaiss"}
    ratios = {
        rival: float(np.median(taken[:, 0] / taken[:, names.index(name)]))
        for name, rival in rivals.items()
        if name in names
    }
    return ratios


def main() -> None:
    counts = [int(text) for text in sys.argv[1:] if text.isdigit()] or list(SIZES)
    uses = [text for text in sys.argv[1:] if not text.isdigit()] or ["batch", "single"]
    for count in counts:
        write(merge_results("index", compare(count, uses)))


def write(rows: Mapping[str, Mapping[str, object]]) -> None:
    """The page, from all that has been measured."""
    lines = [line for _, row in sorted(rows.items()) for line in row["lines"]]  # type: ignore[attr-defined]
    goal = [
        f"| {int(key.split()[0]):,} | {key.split()[1]} | "
        + " | ".join(f"{row['worst'][rival]:.2f}" if rival in row["worst"] else "" for rival in ("exact", "autofaiss"))  # type: ignore[index,operator]
        + " |"
        for key, row in sorted(rows.items())
    ]
    text = f"""# auto, autofaiss and exact search side by side

`python bench/index.py` on {machines(rows.values())}.
Real captions of Flickr8k's dev list over real pictures, through heads trained on other pictures (`bench/real_vectors.py`);
1,000 captions at once (batch) or one at a time (single), top 10; one target of recall, 0.99, for all N. "times auto" is the time
per query over that of auto: median of {ROUNDS} rounds (quartiles); above 1 means slower than auto. "autofaiss at 0.99" was tuned
on the very captions that are timed, auto on those of other pictures. hits in percent; in brackets less exact search, with the 95%
interval, paired and by picture.

| N | use | system | what it is | recall@10 | hits@1 | hits@10 | queries/s | times auto | s to ready |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

The goal is that auto never takes more than 1.05 times as long as either; auto's time over theirs (above 1: auto is slower):

| N | use | over index=flat | over autofaiss at 0.99 |
|---|---|---|---|
{chr(10).join(goal)}
"""
    (RESULTS / "index.md").write_text(text)
    print(f"written: {RESULTS / 'index.md'}")


if __name__ == "__main__":
    main()
