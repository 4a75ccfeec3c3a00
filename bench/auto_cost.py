"""What `index=auto` costs in all: seconds until it is ready and until every query is answered, beside exact search and autofaiss.

    python bench/auto_cost.py [N ...] [qQ ...] [autofaiss]      (default: 1000 10000 100000 1000000, q1 q100 q10000 q1000000)

Made vectors that lie as CLIP's do (`bench/clip_like.py`; 512 dimensions, among a million items the 128 in which the real vectors
differ most), as this is about time: what an index finds of real pictures is in `bench/index.py`. Queries come in one batch; where
there are more than 20,000, so many are asked and the rest reckoned from their pace. Both are asked in turns, a piece of the
queries each, so that a busy moment hits both; small cells are repeated whole. With the word autofaiss its index is built and
asked too, for the sizes that are named: set PICDESK_AUTOFAISS_PYTHON to an interpreter that has it. Each cell is kept as soon
as it is measured, so the bench may be run in pieces.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from clip_like import real_vectors, vectors
from index import built_by_autofaiss
from kept import RESULTS, machine, machines, merge_results
from picdesk.interfaces import Embeddings
from picdesk.search import measure
from picdesk.search.auto import AutoIndex
from picdesk.search.contests.choices import Choices
from picdesk.search.indexes import FlatIndex

NUMBERS, QUERIES = (1_000, 10_000, 100_000, 1_000_000), (1, 100, 10_000, 1_000_000)
BLOCK, ASKED, EXAMPLES, TURNS = 50_000, 20_000, 1_000, 8
NARROW_FROM, NARROW = 1_000_000, 128
REPEAT_SECONDS, REPEATS = 3.0, 201
LEAST, LONG = 5, 90.0  # repeats of what takes less than so many seconds
HEADS = (
    *(
        "items",
        "queries",
        "auto chose",
        "recall@10",
        "s to ready",
        "again",
        "auto, s in all",
        "exact, s in all",
        "auto / exact",
    ),
    *("autofaiss, s to ready", "s in all", "recall@10", "what it is"),
)
Search = Callable[[np.ndarray, int], object]


def made_vectors(count: int, seed: int, narrow: bool) -> np.ndarray:
    """Rows of length 1: of 512 dimensions, or of the 128 main ones."""
    starts = range(0, count, BLOCK)
    blocks = (vectors(min(BLOCK, count - start), seed, number) for number, start in enumerate(starts))
    if not narrow:
        return np.concatenate(list(blocks))
    axes = np.linalg.svd(real_vectors(), full_matrices=False)[2][:NARROW].T
    rows = np.concatenate([block @ axes for block in blocks])
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def search_seconds(searches: Sequence[Search], asked: np.ndarray, count: int, first: int = 0) -> list[float]:
    """Seconds that `count` queries take in each search, from those asked, in turns and in changing order, from `first` on."""
    taken = [0.0] * len(searches)
    turns = np.array_split(asked, TURNS if len(asked) >= 1_000 * TURNS else 1)
    for turn, rows in enumerate(turns):
        for place in np.roll(np.arange(len(searches)), -turn - first):
            taken[place] += measure.batch_seconds(searches[place], np.ascontiguousarray(rows), 10)  # type: ignore[arg-type]
    return [seconds * count / len(asked) for seconds in taken]


def ready(index: AutoIndex | FlatIndex, items: Embeddings, examples: Embeddings) -> float:
    """Seconds until the index is ready; auto measures recall by the examples."""
    start = perf_counter()
    index.build(items, examples)
    return perf_counter() - start


def auto_for(count: int, kept: Path) -> AutoIndex:
    """The index, told how many queries come."""
    index = AutoIndex()
    index.expect(count, 10)
    index.remember_in(Choices(kept))
    return index


def once(
    items: Embeddings, examples: Embeddings, asked: np.ndarray, count: int, kept: Path, first: bool
) -> tuple[list[float], AutoIndex]:
    """Seconds of [auto ready, auto asked, exact ready, exact asked], and the index that was chosen."""
    auto, flat = auto_for(count, kept), FlatIndex()
    order = [auto, flat] if first else [flat, auto]
    seconds = {id(index): ready(index, items, examples) for index in order}  # type: ignore[arg-type]
    own, exact = search_seconds([auto.nearest, flat.nearest], asked, count, int(not first))
    return [seconds[id(auto)], own, seconds[id(flat)], exact], auto


def wanted_repeats(taken: Sequence[Sequence[float]], spent: float) -> int:
    """How often a cell is measured: once if that takes long, else at least LEAST times, and on while the seconds last."""
    if taken and sum(taken[0]) >= LONG:
        return 1
    return REPEATS if spent < REPEAT_SECONDS else LEAST


def measure_cell(items: Embeddings, examples: Embeddings, queries: np.ndarray, count: int) -> dict[str, object]:
    """One cell: medians over its repeats, and the seconds to ready of the second time, when the choice is known."""
    asked = queries[: min(count, ASKED)]
    with tempfile.TemporaryDirectory() as folder:
        taken, start = [], perf_counter()
        while len(taken) < wanted_repeats(taken, perf_counter() - start):
            kept = Path(folder) / f"{len(taken)}.json"
            auto = None  # let the last one go, so that neither side has fresh memory to ask for
            seconds, auto = once(items, examples, asked, count, kept, bool(len(taken) % 2))
            taken.append(seconds)
        again = ready(auto_for(count, kept), items, examples) if kept.is_file() else None
    middle = [float(value) for value in np.median(taken, axis=0)]
    settings = " ".join(f"{key}={value:g}" for key, value in auto.chosen_index.settings.items())
    exact = measure.exact_positions(items.matrix, asked[:1000], 10)
    return {
        "auto_ready": middle[0],
        "auto": middle[0] + middle[1],
        "exact": middle[2] + middle[3],
        "ratio": float(np.median([(row[0] + row[1]) / (row[2] + row[3]) for row in taken])),
        "again_ready": again,
        "chosen": f"{auto.chosen_index.kind} {settings}".strip(),
        "recall": measure.recall(auto.nearest(asked[:1000], min(10, len(items.ids)))[0], exact).mean,
        "repeats": len(taken),
        "machine": machine(),
    }


def measure_autofaiss(items: Embeddings, queries: np.ndarray) -> dict[str, object]:
    """Seconds until its index is ready, and a query in a batch; nothing where there is no autofaiss."""
    with tempfile.TemporaryDirectory() as folder:
        built = built_by_autofaiss(items.matrix, Path(folder))
        if built is None:
            raise SystemExit("PICDESK_AUTOFAISS_PYTHON names no interpreter that has autofaiss")
        index, told = built
        asked = queries[:10_000]
        pace = search_seconds([lambda rows, top_k: index.search(rows, top_k)], asked, len(asked))[0] / len(asked)
        found = np.asarray(index.search(asked[:1000], 10)[1], np.int32)
    return {
        "autofaiss_ready": float(str(told["seconds"])),
        "pace": pace,
        "what": f"{told['key']} {told['set'] or ''}".strip(),
        "recall": measure.recall(found, measure.exact_positions(items.matrix, asked[:1000], 10)).mean,
        "machine": machine(),
    }


def main() -> None:
    words = sys.argv[1:]
    numbers = [int(word) for word in words if word.isdigit()] or list(NUMBERS)
    counts = [int(word[1:]) for word in words if word[:1] == "q" and word[1:].isdigit()]
    for number in numbers:
        narrow = number >= NARROW_FROM
        items = Embeddings(tuple(f"i{i}" for i in range(number)), made_vectors(number, 0, narrow))
        queries = made_vectors(ASKED, 1, narrow)
        examples = Embeddings(tuple(f"e{i}" for i in range(EXAMPLES)), made_vectors(EXAMPLES, 2, narrow))
        if "autofaiss" in words:
            write(merge_results("auto_cost", {f"{number:08} autofaiss": measure_autofaiss(items, queries)}))
        for count in counts or ([] if "autofaiss" in words else QUERIES):
            row = measure_cell(items, examples, queries, count)
            print(f"{number:,} items, {count:,} queries: {row}", flush=True)
            write(merge_results("auto_cost", {f"{number:08} {count:08}": row}))


def line_of(key: str, rows: Mapping[str, Mapping[str, object]]) -> str:
    """One row of the table; autofaiss's total from its time to ready and its pace."""
    number, count = (int(word) for word in key.split())
    row, other = rows[key], rows.get(f"{number:08} autofaiss")
    again = "" if row["again_ready"] is None else f"{row['again_ready']:.3g}"
    rival = ["", "", "", ""]
    if other is not None:
        total = float(str(other["autofaiss_ready"])) + count * float(str(other["pace"]))
        rival = [f"{other['autofaiss_ready']:.3g}", f"{total:.3g}", f"{other['recall']:.4f}", str(other["what"])]
    cells = [f"{number:,}", f"{count:,}", str(row["chosen"]), f"{row['recall']:.4f}", f"{row['auto_ready']:.3g}", again]
    cells += [f"{row['auto']:.3g}", f"{row['exact']:.3g}", f"{row['ratio']:.3f}", *rival]
    return f"| {' | '.join(cells)} |"


def elsewhere(rows: Mapping[str, Mapping[str, object]]) -> str:
    """Which rows say that they are of another processor than the first ones, which say nothing of theirs."""
    named = {key: " x ".join(f"{int(word):,}" if word.isdigit() else word for word in key.split()) for key in rows}
    told = [f"{named[key]} ({row['processor']})" for key, row in sorted(rows.items()) if "processor" in row]
    return f"Of another machine: {'; '.join(told)}; compare ratios, not seconds, with the rest." if told else ""


def write(rows: Mapping[str, Mapping[str, object]]) -> None:
    """The page, from all that has been measured."""
    lines = [line_of(key, rows) for key in sorted(rows) if not key.endswith("autofaiss")]
    text = f"""# What index=auto costs in all, beside exact search and autofaiss

`python bench/auto_cost.py` on {machines(rows.values())}.
Made vectors that lie as CLIP's do, 512 dimensions; from {NARROW_FROM:,} items on the {NARROW} in which real ones differ most.
Seconds until every query is answered, top 10, in one batch, building included; of a million queries {ASKED:,} were asked and the
rest is reckoned from their pace. "again" is the time to ready where what was found the first time is kept beside the store.
"auto / exact" is the median over repeats of the whole; the goal is at most 1.05. {elsewhere(rows)}
autofaiss as it comes: its total is its time to ready and its pace in a batch. The recall is that of made queries; auto has seen
{EXAMPLES:,} others.

| {" | ".join(HEADS)} |
|{"---|" * len(HEADS)}
{chr(10).join(lines)}
"""
    (RESULTS / "auto_cost.md").write_text(text)


if __name__ == "__main__":
    main()
