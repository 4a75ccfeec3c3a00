"""Peak memory of jobs over galleries of growing size, and what an item costs; writes bench/results/memory.json and memory.md.

    python bench/memory.py                              # 10,000 and 100,000 pictures
    python bench/memory.py --counts 1000000             # and a million (minutes, up to 16 GB); the page is of all there is
    python bench/memory.py --before CHECKOUT            # the same jobs of another checkout of the project, for its own column

Each job is a door, as it is typed, in a process of its own: `data=npz` (512 float32 numbers a picture, made as in
`bench/clip_like.py`) through `backbone=precomputed`. Its peak is its largest resident set (VmHWM); the
same job over FEW pictures, which is its imports and what does not grow, is shown beside it. A vector takes 2,048 bytes. In
evaluate, retrieve and index_build an item is a picture; in train a picture with one caption, so two vectors.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from clip_like import gallery
from kept import RESULTS, Row, machine, machines, merge_results

PROJECT = Path(__file__).resolve().parents[1]
FEW, ASKED = 1000, 100
BOUND = 16.0  # GB; a job that takes more is ended, and said to
VECTOR = 512 * 4
GIVEN = ("data=npz", "data.file=vectors.npz", "data.image_names=names", "backbone=precomputed")
ALONE = ("data.text_array=null", "data.captions_file=null", "split=all")
TOWER = (
    "+backbone@backbone.text_encoder=minilm", "backbone/head@backbone.text_head=linear", "backbone.text_width=384",
)  # fmt: skip
FIT = (
    *("split=random_80_10_10", "split.train=0.98", "split.val=0.01", "split.test=0.01", "split.groups=[]"),
    *("backbone/head@backbone.image_head=linear", "backbone/head@backbone.text_head=linear", "loss=infonce"),
    *("training.batch_size=512", "trainer.max_epochs=1", "+trainer.limit_train_batches=10"),
)
JOBS = {
    "evaluate": ("evaluate.py", "split=all"),
    "retrieve": ("retrieve.py", *ALONE, *TOWER, "queries={root}/queries.csv", "top_k=10"),
    "index_build": ("retrieve.py", "task=index_build", *ALONE, "index_dir={out}/index"),
    "train": ("train.py", "data.text_array=image_embeddings", "data.captions_file=all.csv", *FIT),
}
WHAT = {
    "evaluate": f"exact scores both ways; {FEW:,} pictures have a caption",
    "retrieve": f"flat search of {ASKED} queries",
    "index_build": "a flat index, saved",
    "train": "linear heads, ten steps, then scored",
}


def write_data(folder: Path, count: int) -> None:
    """`count` pictures; captions of FEW of them with vectors of their own, and of all with the pictures' vectors."""
    folder.mkdir(parents=True)
    names = np.array([f"{i:08}" for i in range(count)], "S8")
    items = gallery(count, 0).matrix
    np.savez(folder / "vectors.npz", names=names, image_embeddings=items, text_embeddings=gallery(FEW, 1).matrix)
    rows = [f"{i:08},a photograph with the number {i}\n" for i in range(count)]
    (folder / "captions.csv").write_text("image,caption\n" + "".join(rows[:FEW]))
    (folder / "all.csv").write_text("image,caption\n" + "".join(rows))
    asked = "".join(f"q{i},a photograph of thing number {i}\n" for i in range(ASKED))
    (folder / "queries.csv").write_text("id,title\n" + asked)


def write_data_apart(folder: Path, count: int) -> None:
    """The same in a process of its own, which gives its memory back."""
    code = f"import memory, pathlib; memory.write_data(pathlib.Path({str(folder)!r}), {count})"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT / "bench", check=True)


def run_job(job: str, root: Path, checkout: Path) -> Row:
    """Peak memory in GB and seconds of one job; `peak` is None where it took more than BOUND."""
    with tempfile.TemporaryDirectory() as out:
        door, *words = (word.format(root=root, out=out) for word in JOBS[job])
        settings = (f"data.root={root}", f"paths.outputs={out}", f"paths.store={out}/store", "logger=none")
        command = [sys.executable, str(checkout / door), *GIVEN, *words, *settings, "bootstrap.resamples=50"]
        environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
        with tempfile.TemporaryFile("w+") as said:
            start = time.perf_counter()
            child = subprocess.Popen(command, cwd=checkout, env=environment, stdout=said, stderr=said)
            peak = peak_of(child)
            seconds = time.perf_counter() - start
            said.seek(0)
            if peak is not None and child.returncode:
                raise SystemExit(f"{' '.join(command)}\n{said.read()[-2000:]}")
    return {"peak": peak, "seconds": seconds}


def peak_of(child: "subprocess.Popen[bytes]") -> float | None:
    """The largest resident set of a process, in GB, once it has ended; one that takes more than BOUND is ended: None.

    Read while it runs: `ru_maxrss` would also count what its parent had when it was forked.
    """
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, largest_resident_set(child.pid))
        if peak > BOUND:
            child.kill()
            child.wait()
            return None
        time.sleep(0.02)
    return peak


def largest_resident_set(pid: int) -> float:
    """GB that a process has had in memory at most (VmHWM); 0 where it has ended."""
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in told.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 / 1e9 if lines else 0.0


def measure(count: int, jobs: list[str], checkout: Path, version: str, place: Path) -> dict[str, Row]:
    """Run some jobs over `count` pictures and keep a row of each as it ends; all rows there are."""
    root = place / "data"
    write_data_apart(root, count)
    found: dict[str, Row] = {}
    for job in jobs:
        row = {"job": job, "count": count, "version": version, "machine": machine(), **run_job(job, root, checkout)}
        found = merge_results("memory", {f"{version} {job} {count}": row})
        print(f"{version} {job} {count:,}: {row['peak']} GB, {row['seconds']:.1f} s", flush=True)
    shutil.rmtree(root)
    return found


def slope(rows: Mapping[str, Row], version: str, job: str, count: int, before: int) -> float | None:
    """Bytes that an item more costs between two sizes."""
    peaks = [rows.get(f"{version} {job} {size}", {}).get("peak") for size in (count, before)]
    if peaks[0] is None or peaks[1] is None:
        return None
    return (float(str(peaks[0])) - float(str(peaks[1]))) * 1e9 / (count - before)


def page(rows: Mapping[str, Row]) -> str:
    """The tables, and what each job costs an item."""
    counts = sorted({int(str(row["count"])) for row in rows.values()})
    versions = sorted({str(row["version"]) for row in rows.values()}, key=lambda name: (name == "now", name))
    lines = [
        "# Memory",
        "",
        "Peak memory of jobs over vectors of 512 float32 numbers (2,048 bytes). "
        f"Growth is over the same job with {FEW:,} pictures.",
        f"{machines(rows.values())}. Made by `python bench/memory.py`; what is measured how stands at its head.",
        "",
        "| job | version | pictures | peak, GB | growth, GB | bytes an item, from the size before | in vectors | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for job in JOBS:
        for version in versions:
            for before, count in pairwise(counts):
                row, first = rows.get(f"{version} {job} {count}"), rows.get(f"{version} {job} {FEW}")
                if row is not None and first is not None:
                    told = cells(row, first, slope(rows, version, job, count, before))
                    lines.append(f"| {job}: {WHAT[job]} | {version} | {count:,} | {told} |")
    return "\n".join([*lines, "", "In train an item is two vectors, of a picture and of its caption.", ""])


def cells(row: Row, first: Row, an_item: float | None) -> str:
    """Peak, growth, bytes an item, how many vectors that is, seconds."""
    if row["peak"] is None:
        return f"more than {BOUND:g} | | | | "
    peak, grew = float(str(row["peak"])), float(str(row["peak"])) - float(str(first["peak"]))
    each = "" if an_item is None else f"{an_item:,.0f}"
    share = "" if an_item is None else f"{an_item / VECTOR:.2f}"
    seconds = "" if row["seconds"] is None else f"{float(str(row['seconds'])):.0f}"  # None: it was stopped meanwhile
    return f"{peak:.2f} | {grew:.2f} | {each} | {share} | {seconds}"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[FEW, 10_000, 100_000])
    parser.add_argument("--only", choices=list(JOBS), nargs="+", default=list(JOBS))
    parser.add_argument("--before", type=Path, help="another checkout of the project")
    parser.add_argument("--folder", type=Path, help="where the vectors are written; by default a temporary folder")
    chosen = parser.parse_args()
    version = "before" if chosen.before else "now"
    checkout = (chosen.before or PROJECT).resolve()
    for count in chosen.counts:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
            rows = measure(count, chosen.only, checkout, version, Path(place))
        (RESULTS / "memory.md").write_text(page(rows), encoding="utf-8")
    print(page(rows))


if __name__ == "__main__":
    main()
