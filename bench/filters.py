"""What a filter costs: faiss, LanceDB and Milvus-lite over the same vectors, with and without a filter that keeps 1%.

    python bench/filters.py [N ...] [KIND ...]             (default 100000, all kinds)

Vectors as in `bench/clip_like.py`, with a day of the year's first hundred for each picture, at random: `day = 2021-02-10` keeps
1%. Every kind is a process of its own. Latency is of single queries through `Gallery.search`, so that reading the filter, and
asking the columns, count; recall@10 is against exact search over the same items (with the filter, those that are kept). Such made
vectors say how kinds compare under a filter, not what they find of real pictures.
"""

import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from clip_like import gallery as made
from clip_like import queries
from kept import RESULTS, Row, machine, machines, merge_results
from picdesk.files import write_text
from picdesk.filters.columns import Column, Columns
from picdesk.interfaces import Embeddings
from picdesk.retrieval.catalogue import Catalogue
from picdesk.retrieval.filtering import tell
from picdesk.retrieval.gallery import Gallery
from picdesk.search import measure
from picdesk.search.indexes import FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.lance.index import LanceIndex
from picdesk.search.milvus import MilvusIndex

ASKED, TOP_K = 200, 10
FILTER = "day = 2021-02-10"
NAME = "filters"


def milvus(folder: Path) -> MilvusIndex:
    return MilvusIndex(str(folder / "milvus.db"))


KINDS: dict[str, Callable[[Path], Any]] = {
    "flat": lambda _: FlatIndex(),
    "hnsw": lambda _: HnswIndex(repeatable=False),
    "ivf_flat": lambda _: IvfFlatIndex(),
    "lancedb FLAT": lambda _: LanceIndex(),
    "lancedb IVF_HNSW_SQ": lambda _: LanceIndex(
        kind="IVF_HNSW_SQ", params={"num_partitions": 1}, search_params={"ef": 200, "refine_factor": 4}
    ),
    "milvus-lite FLAT": milvus,
}


def gallery_of(count: int) -> tuple[Embeddings, Columns]:
    """The pictures and what is said of them."""
    items = made(count, seed=1)
    first = datetime.date(2021, 1, 1)
    days = np.random.default_rng(5).integers(0, 100, count).tolist()
    said = [(place, (first + datetime.timedelta(day)).isoformat()) for place, day in enumerate(days)]
    return items, Columns(items.ids, {"day": Column.of(count, said)})


def held_mb() -> float:
    """What the process holds in memory now."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def measure_kind(kind: str, count: int) -> dict[str, Any]:
    """One kind, in this process."""
    items, known = gallery_of(count)
    asked = queries(ASKED, seed=2).matrix
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = held_mb()
        index = KINDS[kind](folder)
        start = perf_counter()
        tell(index, lambda: known)
        index.build(items)
        built = perf_counter() - start
        gallery = Gallery("t2i", index, Catalogue(None, "t2i"), None, "bench", None, lambda: known)
        found: dict[str, Any] = {"build_s": round(built, 2), "build_mb": round(held_mb() - before)}
        for key, wanted in (("all", None), ("filtered", FILTER)):
            found[key] = asked_one_by_one(gallery, asked, wanted)
            rows = np.arange(count) if wanted is None else np.flatnonzero(known.fulfilling(wanted))
            found[key] |= {"recall": recall(gallery, asked, items, rows, wanted), "items": len(rows)}
        index.save(folder / "saved") if not isinstance(index, MilvusIndex) else None
        found["disk_mb"] = round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20)
    return found


def asked_one_by_one(gallery: Gallery, asked: np.ndarray, wanted: str | None) -> dict[str, float]:
    """Milliseconds a query: median and 95th percentile, after ten that are not counted."""
    taken = []
    for row in range(len(asked)):
        one = Embeddings((f"q{row}",), np.ascontiguousarray(asked[row : row + 1]))
        start = perf_counter()
        gallery.search(one, TOP_K, filter=wanted)
        taken.append(1000 * (perf_counter() - start))
    middle, high = np.percentile(taken[10:], [50, 95])
    return {"ms": round(float(middle), 3), "ms_95": round(float(high), 3)}


def recall(gallery: Gallery, asked: np.ndarray, items: Embeddings, rows: np.ndarray, wanted: str | None) -> float:
    """Share of the true best that are found."""
    exact = rows[measure.exact_positions(items.matrix[rows], asked, TOP_K)]
    both = Embeddings(tuple(f"q{i}" for i in range(len(asked))), asked)
    run = gallery.search(both, TOP_K, filter=wanted)
    place = {item: number for number, item in enumerate(items.ids)}
    found = [{place[run.item_ids[i]] for i in row if i >= 0} for row in run.index]
    return round(
        float(np.mean([len(own & set(true)) / TOP_K for own, true in zip(found, exact.tolist(), strict=True)])), 4
    )


def measure_apart(kind: str, count: int) -> dict[str, Any]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "one", kind, str(count)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"machine": machine(), "kind": kind, "count": count}


def line_of(row: Row) -> str:
    whole, some = row["all"], row["filtered"]
    assert isinstance(whole, dict)
    assert isinstance(some, dict)
    cells = [
        f"{row['count']:,}",
        row["kind"],
        *(f"{whole['ms']:.2f} ({whole['ms_95']:.2f})", f"{whole['recall']:.3f}"),
        *(f"{some['ms']:.2f} ({some['ms_95']:.2f})", f"{some['recall']:.3f}"),
        *(f"{row['build_s']:.1f}", f"{row['build_mb']:,}" if "build_mb" in row else "", f"{row['disk_mb']:,}"),
        str(row["machine"]).rpartition(", load ")[2],
    ]
    return f"| {' | '.join(map(str, cells))} |"


def write(rows: dict[str, Row]) -> None:
    """The page, from all that has been measured."""
    order = list(KINDS)
    lines = [
        line_of(row) for row in sorted(rows.values(), key=lambda row: (row["count"], order.index(str(row["kind"]))))
    ]
    text = f"""# What a filter costs

`python bench/filters.py` on {machines(rows.values())}.
{ASKED} single queries, top {TOP_K}, over made vectors of 512 dimensions (`bench/clip_like.py`); the filter, `{FILTER}`,
keeps 1% at random. ms: median (95th percentile) of a query through `Gallery.search`, the filter's own reading and asking in it.
Recall@10 is against exact search over the items that may be found. Build: seconds, and by how much the process is larger after
it; disk: the saved index, with its columns where the index has them itself. Load: processes at work when a row was done, its own
threads among them; above 2.5 or so others were at work too.

| N | index | ms | recall@10 | ms, 1% kept | recall@10, 1% kept | s to build | MB in memory | MB on disk | load |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""
    write_text(RESULTS / f"{NAME}.md", text)
    print(f"written: {RESULTS / NAME}.md")


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure_kind(sys.argv[2], int(sys.argv[3]))))
        return
    counts = [int(text) for text in sys.argv[1:] if text.isdigit()] or [100_000]
    kinds = [text for text in sys.argv[1:] if text in KINDS] or list(KINDS)
    for count in counts:
        for kind in kinds:
            found = measure_apart(kind, count)
            print(json.dumps(found), flush=True)
            write(merge_results(NAME, {f"{count:08} {kind}": found}))


if __name__ == "__main__":
    main()
