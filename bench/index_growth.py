"""How an index grows with the number of pictures: time to build, memory, latency and recall, and the slopes of each.

    python bench/index_growth.py [N ...] [KIND ...]        (default 10000 100000 1000000, all kinds)

Parts may be run one after the other (`1000000 ivf_pq`); the table holds what has been measured.
Vectors as in `bench/clip_like.py`, made shard by shard while the index is built, so that the whole gallery is never in memory.
Every measurement is a process of its own: it builds and saves, then a second process opens the saved index memory-mapped and
searches. Exact answers for recall come from going through all shards once more.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import faiss
import numpy as np

from clip_like import blocks, queries, shaping
from kept import RESULTS, Row, machine, machines, merged
from picdesk.interfaces import Embeddings
from picdesk.search import measure
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import FactoryIndex, FlatIndex, HnswIndex, IvfFlatIndex
from picdesk.search.quantised import IvfPqFastScanIndex, IvfPqIndex
from picdesk.search.saved import open_index
from picdesk.search.streaming import build_from_shards, build_on_disk

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
        build_from_shards(index, shards(count), sample=min(count, max(65_536, 32 * lists(count))))
        index.save(folder)
    seconds = perf_counter() - start - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"build_s": seconds, "peak_mb": peak - before}))


def exact(count: int, folder: Path) -> None:
    """The true ten nearest over all shards, kept for the others."""
    asked = queries(ASKED, 2).matrix
    best = np.full((ASKED, 10), -np.inf, np.float32)
    place = np.zeros((ASKED, 10), np.int64)
    start = 0
    for shard in blocks(count, seed=1):
        scores, found = faiss.knn(asked, shard.matrix, 10, metric=faiss.METRIC_INNER_PRODUCT)
        scores, found = np.hstack([best, scores]), np.hstack([place, found + start])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        best, place = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
        start += len(shard.ids)
    np.save(folder / f"exact-{count}.npy", place.astype(np.int32))
    print("{}")


def search(kind: str, count: int, folder: Path) -> None:
    asked = queries(ASKED, 2).matrix
    truth = np.load(folder.parent / f"exact-{count}.npy", allow_pickle=False)
    before = memory_mb("Pss_Anon")
    start = perf_counter()
    index = open_index(folder)
    ready = perf_counter() - start
    maker = KINDS[kind][0](count)
    ladders = maker.ladders(count) if kind != "IVF,SQ8 on disk" else IvfFlatIndex(lists=lists(count)).ladders(count)
    best: dict[str, object] = {}
    top = 0.0
    for ladder in ladders:
        before_it = 0.0
        for settings in ladder:
            index.tune(settings)
            found = measure.recall(index.nearest(asked, 10)[0], truth).mean
            top = max(top, found)
            if found < TARGET and 0 < found - before_it < STALLED:
                break  # further up the ladder costs more and finds no more
            before_it = found
            if found >= TARGET or index.exact:
                times = measure.latency(index.nearest, asked, 10)
                if not best or times.p50_ms < float(str(best["p50"])):
                    named = " ".join(f"{key}={value:g}" for key, value in settings.items())
                    best = {
                        "settings": named,
                        "recall": found,
                        "p50": times.p50_ms,
                        "p95": times.p95_ms,
                        "p99": times.p99_ms,
                    }
                    best["qps"] = measure.batch_rate(index.nearest, asked, 10, repeats=3)
                break
    anonymous = memory_mb("Pss_Anon") - before
    best = best or {"settings": f"none reaches {TARGET}", "recall": top}
    disk = sum(path.stat().st_size for path in folder.iterdir()) / MEGABYTE
    mapped = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".faiss", ".ivfdata")) / MEGABYTE
    print(json.dumps({**best, "open_s": ready, "anon_mb": anonymous, "disk_mb": disk, "index_mb": mapped}))


def call(*words: object) -> dict[str, float]:
    """Run one step in a process of its own; its last line is JSON."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_all(counts: list[int], kinds: list[str], root: Path) -> None:
    """Every kind at every size that it is meant for; the page is written anew after each."""
    for count in counts:
        call("exact", "-", count, root)
        for kind in kinds:
            if count > KINDS[kind][2]:
                continue
            folder = root / f"{kind.replace(' ', '_')}-{count}"
            told = call("build", kind, count, folder)
            row = {"kind": kind, "N": count, **told, **call("search", kind, count, folder), "machine": machine()}
            print(row, flush=True)
            shutil.rmtree(folder)
            write(list(merged("index_growth", {f"{kind} {count:010}": row}).values()))


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

    keys = {"build_s": ",.1f", "peak_mb": ",.0f", "index_mb": ",.1f", "anon_mb": ",.0f", "open_s": ".2f", "settings": "",
            "recall": ".4f", "p50": ".2f", "p95": ".2f", "p99": ".2f", "qps": ",.0f"}  # fmt: skip
    head = "| kind | N | build s | peak MB while building | index MB | own MB while searching | open s | settings | recall@10 "
    lines = [head + "| p50 ms | p95 ms | p99 ms | queries/s |", "|---" * 13 + "|"]
    for row in sorted(rows, key=lambda row: (list(KINDS).index(str(row["kind"])), int(str(row["N"])))):
        lines.append(f"| {row['kind']} | {row['N']:,} | " + " | ".join(cell(row, k, f) for k, f in keys.items()) + " |")
    lines += ["", "Slopes: the power of N by which each grows.", ""]
    wanted = {"build_s": "build", "index_mb": "index size", "p50": "p50 latency", "qps": "queries/s"}
    lines += ["| kind | " + " | ".join(wanted.values()) + " |", "|---" * 5 + "|"]
    lines += [f"| {kind} | " + " | ".join(slope(rows, kind, key) for key in wanted) + " |" for kind in KINDS]
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) > 4 and not sys.argv[1].isdigit():
        step, kind, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
        if step == "exact":
            exact(count, folder)
        else:
            {"build": build, "search": search}[step](kind, count, folder)
        return
    counts = [int(text) for text in sys.argv[1:] if text.isdigit()] or [10_000, 100_000, 1_000_000]
    kinds = [text for text in sys.argv[1:] if not text.isdigit()] or list(KINDS)
    if not set(kinds) <= set(KINDS):
        raise SystemExit(f"kinds: {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory() as folder:
        measure_all(counts, kinds, Path(folder))


def write(rows: list[Row]) -> None:
    """The page, from all that has been measured."""
    text = f"""# Growth of the indexes with the number of pictures

`python bench/index_growth.py` on {machines(rows)}. 512 dimensions; {ASKED} queries, top 10; the least settings that reach recall
{TARGET}. "own MB while searching" is memory that no file can give back (the index itself is memory-mapped).

{table(rows)}
"""
    (RESULTS / "index_growth.md").write_text(text)
    print(f"written: {RESULTS / 'index_growth.md'}")


if __name__ == "__main__":
    main()
