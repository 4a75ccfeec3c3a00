"""How an index grows with the number of pictures: time to build and memory, and what must be probed for one recall.

    python bench/index_growth.py [N ...] [KIND ...]        (default 10000 100000 1000000, all kinds)
    python bench/index_growth.py real                      (recall, hits and time, asked by real queries)

Parts may be run one after the other (`1000000 ivf_pq`); the tables hold what has been measured.
Time to build and memory: vectors as in `bench/clip_like.py`, made shard by shard while the index is built, so that the whole
gallery is never in memory. Every measurement is a process of its own: it builds and saves, then a second process opens the saved
index memory-mapped and searches. What such made vectors say of recall is not told: it is no answer to how real ones behave.
Recall and time: real queries over real pictures (`bench/real_vectors.py`), as many as there are.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter

import faiss
import numpy as np

from clip_like import blocks, queries, shaping
from kept import RESULTS, Row, machine, machines, merge_results
from picdesk.interfaces import Embeddings
from picdesk.search import measure
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.open_saved import open_index
from picdesk.search.quantised import IvfPqFastScanIndex, IvfPqIndex
from picdesk.search.streaming import build_on_disk
from real_vectors import SIZES, Asking, captions_to, pictures_to_pictures

ASKED = 500
MEGABYTE = 2**20


MOST_LISTS = 4096  # beyond a million; assigning ten million items to 16,384 lists takes half an hour on two cores


def lists(count: int) -> int:
    return int(2 ** round(np.log2(4 * np.sqrt(count))))


KINDS: dict[str, tuple[Callable[[int], FaissIndex], bool, int]] = {
    "flat": (lambda n: FlatIndex(), False, 10**6),
    "hnsw": (lambda n: HnswIndex(m=32, ef_construction=100, repeatable=False), False, 10**6),
    "ivf_flat on disk": (lambda n: IvfFlatIndex(lists=lists(n)), True, 10**7),
    "IVF,SQ8 on disk": (lambda n: FactoryIndex(f"IVF{min(lists(n), MOST_LISTS)},SQ8"), True, 10**7),
    "ivf_pq": (lambda n: IvfPqIndex(lists=lists(n) // 2, refine="OPQ64_320,SQ8"), False, 10**7),
    "ivf_pq_fastscan": (lambda n: IvfPqFastScanIndex(lists=lists(n) // 2, refine="SQ8"), False, 10**7),
}
TARGET = 0.9
STALLED = 0.001


def shards(count: int) -> Callable[[], Iterator[Embeddings]]:
    return lambda: blocks(count, seed=1)


def memory_mb(what: str) -> float:
    """A line of /proc/self/smaps_rollup: Rss (all pages), Pss_Anon (what no file can give back)."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no {what} in smaps_rollup")


def making_seconds(count: int) -> float:
    """What making the vectors takes, twice, as building goes through them twice."""
    shaping()  # made once, and not again while building
    start = perf_counter()
    for _ in blocks(count, seed=1):
        pass
    return 2 * (perf_counter() - start)


def build(kind: str, count: int, folder: Path) -> None:
    make, on_disk, _ = KINDS[kind]
    spent = making_seconds(count)
    before = memory_mb("Rss")
    start = perf_counter()
    if on_disk:
        build_on_disk(make(count), shards(count), folder, sample=min(count, 64 * lists(count)))
    else:
        index = make(count)
        index.build_from_shards(shards(count), sample=min(count, max(65_536, 32 * lists(count))))
        index.save(folder)
    seconds = perf_counter() - start - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"build_s": seconds, "peak_mb": peak - before}))


def search(kind: str, count: int, folder: Path) -> None:
    """Open the saved index in this process and ask it; what that takes of memory and time to open."""
    asked = queries(ASKED, 2).matrix
    before = memory_mb("Pss_Anon")
    start = perf_counter()
    index = open_index(folder)
    ready = perf_counter() - start
    index.nearest(asked, 10)
    anonymous = memory_mb("Pss_Anon") - before
    mapped = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".faiss", ".ivfdata")) / MEGABYTE
    print(json.dumps({"open_s": ready, "anon_mb": anonymous, "index_mb": mapped}))


REAL_KINDS = ("flat", "hnsw", "ivf_flat on disk", "IVF,SQ8 on disk", "ivf_pq", "ivf_pq_fastscan")


def real_row(kind: str, asking: Asking) -> Row:
    """The least setting of the ladder that reaches TARGET, what it finds, and how long a single query takes."""
    count = len(asking.items.ids)
    index = KINDS[kind][0](count)
    index.build(asking.items)
    asked = asking.queries.matrix
    exact = measure.exact_positions(asking.items.matrix, asked, 10)
    maker = IvfFlatIndex(lists=lists(count)) if kind == "IVF,SQ8 on disk" else index
    best: dict[str, object] = {}
    for ladder in maker.ladders(count):
        for settings in ladder:
            index.tune(settings)
            found = index.nearest(asked, 10)[0]
            recall = measure.recall(found, exact).mean
            if recall < TARGET:
                continue
            times = measure.latency(index.nearest, asked[:ASKED], 10)
            if not best or times.p50_ms < float(str(best["p50"])):
                probed = settings.get("nprobe", 0) / max(getattr(index.faiss, "nlist", 0) or _lists_of(index), 1)
                named = " ".join(f"{key}={value:g}" for key, value in settings.items())
                best = {"settings": named, "probed": probed, "recall": recall, "p50": times.p50_ms, "p99": times.p99_ms}
                best |= asking.hits_lost(found, exact)
            break
    best = best or {"settings": f"none reaches {TARGET}"}
    return {"kind": kind.removesuffix(" on disk"), "N": count, "asked": asking.name, **best, "machine": machine()}


def _lists_of(index: FaissIndex) -> int:
    """Lists of an index that stands before a refinement."""
    try:
        return int(faiss.extract_index_ivf(index.faiss).nlist)
    except RuntimeError:
        return 0


def measure_real() -> None:
    """Every kind at every real gallery."""
    for asking in (pictures_to_pictures(), *map(captions_to, SIZES)):
        for kind in REAL_KINDS:
            row = real_row(kind, asking)
            print(row, flush=True)
            write(merge_results("index_growth", {f"real {asking.name} {len(asking.items.ids):06} {kind}": row}))


def real_table(rows: list[Row]) -> str:
    """One row per gallery and kind."""
    lines = [
        "| asked by | N | kind | least settings | share of lists probed | recall@10 | hits@1 | hits@10 | p50 ms | p99 ms |",
        "|---" * 10 + "|",
    ]
    for row in rows:
        probed = f"{100 * float(str(row['probed'])):.1f}%" if row.get("probed") else ""
        numbers = [format(row[key], form) if key in row else "" for key, form in (("p50", ".3f"), ("p99", ".3f"))]
        recall = format(row["recall"], ".4f") if "recall" in row else ""
        words = [row["asked"], f"{row['N']:,}", row["kind"], row["settings"], probed, recall]
        hits = [row.get("hits@1", ""), row.get("hits@10", "")]
        lines.append("| " + " | ".join(str(word) for word in (*words, *hits, *numbers)) + " |")
    return "\n".join(lines)


def call(*words: object) -> dict[str, float]:
    """Run one step in a process of its own; its last line is JSON."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_all(counts: list[int], kinds: list[str], root: Path) -> None:
    """Every kind at every size that it is meant for; the page is written anew after each."""
    for count in counts:
        for kind in kinds:
            if count > KINDS[kind][2]:
                continue
            folder = root / f"{kind.replace(' ', '_')}-{count}"
            told = call("build", kind, count, folder)
            row = {"kind": kind, "N": count, **told, **call("search", kind, count, folder), "machine": machine()}
            print(row, flush=True)
            shutil.rmtree(folder)
            write(merge_results("index_growth", {f"{kind} {count:010}": row}))


def slope(rows: list[Row], kind: str, key: str) -> str:
    """Power of N by which `key` grows: least squares on logarithms."""
    points = [
        (float(str(r["N"])), float(str(r[key]))) for r in rows if r["kind"] == kind and float(str(r.get(key, 0))) > 0
    ]
    if len(points) < 2:
        return ""
    x, y = np.log(np.array(points)).T
    return f"{np.polyfit(x, y, 1)[0]:.2f}"


def table(rows: list[Row]) -> str:
    def cell(row: Row, key: str, form: str) -> str:
        return format(row[key], form) if key in row else ""

    keys = {"build_s": ",.1f", "peak_mb": ",.0f", "index_mb": ",.1f", "anon_mb": ",.0f", "open_s": ".2f"}
    lines = [
        "| kind | N | build s | peak MB while building | index MB | own MB while searching | open s |",
        "|---" * 7 + "|",
    ]
    for row in sorted(rows, key=lambda row: (list(KINDS).index(str(row["kind"])), int(str(row["N"])))):
        lines.append(f"| {row['kind']} | {row['N']:,} | " + " | ".join(cell(row, k, f) for k, f in keys.items()) + " |")
    lines += ["", "Slopes: the power of N by which each grows.", ""]
    wanted = {"build_s": "build", "index_mb": "index size"}
    lines += ["| kind | " + " | ".join(wanted.values()) + " |", "|---" * 3 + "|"]
    lines += [f"| {kind} | " + " | ".join(slope(rows, kind, key) for key in wanted) + " |" for kind in KINDS]
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) > 4 and not sys.argv[1].isdigit():
        step, kind, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
        {"build": build, "search": search}[step](kind, count, folder)
        return
    if sys.argv[1:] == ["real"]:
        return measure_real()
    counts = [int(text) for text in sys.argv[1:] if text.isdigit()] or [10_000, 100_000, 1_000_000]
    kinds = [text for text in sys.argv[1:] if not text.isdigit()] or list(KINDS)
    if not set(kinds) <= set(KINDS):
        raise SystemExit(f"kinds: {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory() as folder:
        measure_all(counts, kinds, Path(folder))


def write(found: Mapping[str, Row]) -> None:
    """The page, from all that has been measured."""
    made = [row for key, row in found.items() if not key.startswith("real ")]
    real = [row for key, row in sorted(found.items()) if key.startswith("real ")]
    text = f"""# Growth of the indexes with the number of pictures

`python bench/index_growth.py`. 512 dimensions.

## Time to build and memory

On {machines(made)}. Made vectors (`bench/clip_like.py`), which say nothing of recall.
"own MB while searching" is memory that no file can give back (the index itself is memory-mapped).

{table(made)}

## What must be probed for a recall of {TARGET}

On {machines(real) if real else "nothing yet"}. Real queries over real pictures that they are no part of, or no training of
(`bench/real_vectors.py`); the least settings of the ladder that reach recall@10 of {TARGET}, in memory; hits in percent, in
brackets less exact search with the 95% interval, paired and by picture; times of {ASKED} single queries.

{real_table(real)}
"""
    (RESULTS / "index_growth.md").write_text(text)
    print(f"written: {RESULTS / 'index_growth.md'}")


if __name__ == "__main__":
    main()
