"""A thousand damaged files: bytes flipped, cut, zeroed, emptied, in everything that is read back and in what users bring.

A job that meets one must refuse it in one line or leave the result of the sound file. What users bring (pictures, tables,
vectors) is another input once it is changed, and may well give other numbers: so those trials ask `reproduce=`, which must refuse
what is no longer the data of the job, and never print other numbers as if they were its own.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faults_jobs import Row, digest, in_two, must, of_pictures, of_vectors, prepare, row, run_door, share_of, small_data
from picdesk.files import digest_of

SCORES = ("metrics.json", "run.trec", "qrels.trec")
FAST = ("logger=none", "bootstrap.resamples=20")
FLAT = ("split=all", "part=all")


def damage(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Other bytes, and what was done."""
    kind = rng.choice(("flip", "flip", "bit", "cut", "zero", "empty", "more"))
    place, changed = rng.randrange(len(data)), bytearray(data)
    if kind == "flip":
        changed[place] ^= rng.randrange(1, 256)
    elif kind == "bit":
        changed[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[place:]
    elif kind == "zero":
        size = min(rng.choice((1, 16, 256, 4096)), len(data) - place)
        changed[place : place + size] = bytes(size)
    elif kind == "empty":
        changed.clear()
    else:
        changed += rng.randbytes(rng.choice((1, 64)))
    return bytes(changed), kind


@dataclass(frozen=True)
class Target:
    """Files of a kind, below a root that is copied for each trial; the job that reads them; what it leaves."""

    name: str
    count: int
    base: str
    files: Callable[[Path], list[Path]]
    door: str
    overrides: Callable[[Path], Sequence[str]]
    left: Callable[[Path], str]


def scores(root: Path) -> str:
    """What a job found."""
    return digest_of([digest(root / "out" / name) for name in SCORES])


def answers(root: Path) -> str:
    """What a search found; where its pictures lie is another place in each share of the trials."""
    table = root / "out" / "results.csv"
    found = table.read_text().replace(str(root), "") if table.is_file() else ""
    return digest_of([found, digest(root / "out" / "run.trec")])


def fit_findings(root: Path) -> str:
    """What a fit found."""
    names = ("metrics.json", "run.trec", "checkpoint/model.safetensors")
    return digest_of([digest(root / "job" / name) for name in names])


def nothing(root: Path) -> str:
    """For a check: its exit status is all that it leaves."""
    return ""


def place(root: Path, run_dir: str = "out") -> list[str]:
    """Where a job reads and writes."""
    return [f"paths.outputs={root}", f"paths.store={root}/store", f"hydra.run.dir={root}/{run_dir}", *FAST]


def one(*parts: str) -> Callable[[Path], list[Path]]:
    """The files that fit any of these patterns."""
    return lambda root: sorted(path for part in parts for path in root.glob(part) if path.is_file())


def targets() -> list[Target]:
    """All that is read back, and what users bring."""

    def of_job(root: Path) -> list[str]:
        return [*of_pictures(root / "data"), *FLAT, *place(root)]

    def reproduce(root: Path) -> list[str]:
        return [f"reproduce={root}/job/manifest.json", *place(root)[:3], "logger=none"]

    def search(root: Path) -> list[str]:
        return [f"index_dir={root}/index", "query=a small picture", *place(root)]

    def checkpoint(root: Path) -> list[str]:
        return [f"ckpt={root}/job", *place(root)]

    def compare(root: Path) -> list[str]:
        return ["task=compare", f"dir={root}/job", f"against={root}/other", *place(root)[:3], "logger=none"]

    def of_run(root: Path) -> list[str]:
        return [f"run_file={root}/job/run.trec", f"qrels_file={root}/job/qrels.trec", *place(root)]

    given = ("data/captions.csv", "data/e.npz", "data/pics/*.png")
    return [
        Target("shards of the store", 150, "pictures", one("store/*/*.safetensors"), "evaluate", of_job, scores),
        Target("spaces and facts", 80, "pictures", one("store/*.json", "store/*/*.json"), "evaluate", of_job, scores),
        Target("indexes", 150, "index", one("index/*"), "retrieve", search, answers),
        Target("checkpoints", 110, "fit", one("job/checkpoint/*"), "evaluate", checkpoint, scores),
        Target("state of a stopped fit", 90, "stopped", one("job/resume/*"), "train", resume, fit_findings),
        Target(
            "manifest and config",
            100,
            "vectors",
            one("job/manifest.json", "job/config.yaml"),
            "evaluate",
            reproduce,
            nothing,
        ),
        Target("metrics", 50, "vectors", one("job/metrics.json"), "evaluate", reproduce, nothing),
        Target("runs and qrels, reproduced", 40, "vectors", one("job/*.trec"), "evaluate", reproduce, nothing),
        Target("jobs that are compared", 60, "two", one("job/*.trec", "job/*.json"), "evaluate", compare, nothing),
        Target("csv, npz, pictures", 110, "pictures", one(*given), "evaluate", reproduce, nothing),
        Target("parquet", 60, "parquet", one("data/t.parquet"), "evaluate", reproduce, nothing),
    ]


def resume(root: Path) -> list[str]:
    """Go on with a stopped fit."""
    return [f"resume={root}/job", f"paths.store={root}/store", "logger=none"]


def bases(folder: Path, said: Path) -> dict[str, Path]:
    """The roots that trials begin from, each made by jobs that were not disturbed, with a copy of each beside it."""
    made = {name: folder / name for name in BASES}
    for name, make in BASES.items():
        root = made[name]
        root.mkdir(parents=True)
        if name == "parquet":
            small_parquet(root / "data")
        else:
            small_data(root / "data")
        make(root, said)
        shutil.copytree(root, kept_of(root))
    return made


def small_parquet(folder: Path) -> None:
    """Pictures and captions in one table."""
    small_data(folder, 8)
    names = sorted((folder / "pics").iterdir())
    columns = {
        "picture_id": [path.name for path in names],
        "caption": [f"small picture {i}" for i in range(len(names))],
        "picture": pa.array([path.read_bytes() for path in names], pa.binary()),
    }
    pq.write_table(pa.table(columns), folder / "t.parquet")


def of_pictures_base(root: Path, said: Path) -> None:
    """A job on pictures, with its store."""
    must("evaluate", [*of_pictures(root / "data"), *FLAT, *place(root, "job")], said)


def of_parquet_base(root: Path, said: Path) -> None:
    """A job on a parquet file."""
    read = ["data=parquet", f"data.root={root}/data", "data.caption_column=caption", "prompt=caption", "backbone=lite"]
    must("evaluate", [*read, *FLAT, *place(root, "job")], said)


def of_vectors_base(root: Path, said: Path) -> None:
    """A job on vectors."""
    must("evaluate", [*of_vectors(root / "data"), *place(root, "job")], said)


def of_two_base(root: Path, said: Path) -> None:
    """Two jobs to compare."""
    of_vectors_base(root, said)
    must("evaluate", [*of_vectors(root / "data"), *place(root, "other"), "index=hnsw", "seed=1"], said)


def of_index_base(root: Path, said: Path) -> None:
    """A saved index."""
    must(
        "retrieve",
        ["task=index_build", f"index_dir={root}/index", *of_pictures(root / "data"), *FLAT, *place(root)],
        said,
    )
    shutil.rmtree(root / "out")


def fit_of(root: Path) -> list[str]:
    """A short fit."""
    training = ["trainer.max_epochs=4", "training.batch_size=4", "training.state_seconds=0", "split.seed=1"]
    return [*of_pictures(root / "data"), *training, *place(root, "job")]


def of_fit_base(root: Path, said: Path) -> None:
    """A checkpoint."""
    must("train", fit_of(root), said)


def of_stopped_base(root: Path, said: Path) -> None:
    """A fit that a signal stopped after its first state was kept."""
    import signal
    import time

    from faults_jobs import start

    job = start("train", [*fit_of(root), "trainer.max_epochs=30", "callbacks.early_stopping=null"], said)
    while not (root / "job" / "resume" / "state.pt").is_file():
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGTERM)
    if job.wait() != 143:
        raise SystemExit(job.text())


BASES: dict[str, Callable[[Path, Path], None]] = {
    "pictures": of_pictures_base,
    "parquet": of_parquet_base,
    "vectors": of_vectors_base,
    "two": of_two_base,
    "index": of_index_base,
    "fit": of_fit_base,
    "stopped": of_stopped_base,
}


def restore(live: Path) -> None:
    """Put a root back as its jobs left it: what they wrote names its place, so it must be the same place."""
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(kept_of(live), live)


def kept_of(live: Path) -> Path:
    """The copy of a root that is not touched."""
    return live.with_name(f"{live.name}-kept")


def try_damaged(target: Target, root: Path, whole: str, number: int, folder: Path) -> Row:
    """One damaged file."""
    rng = random.Random(number)
    restore(root)
    file = rng.choice(target.files(root))
    data = file.read_bytes()
    changed, how = damage(data, rng) if data else (b"x", "more")
    if changed == data:
        changed, how = data[:-1], "cut"
    file.write_bytes(changed)
    code, job = run_door(target.door, target.overrides(root), folder / f"said-{number}")
    refused = code == 2 and job.is_one_line()
    same = code == 0 and target.left(root) == whole
    silent = not refused and not same
    if silent or job.has_traceback:
        print(
            f"{target.name} {number}: {how} in {file.relative_to(root)}: status {code}\n{job.text()[-700:]}", flush=True
        )
    counts = {"refused": int(refused), "unchanged": int(same), "silent_changes": int(silent and not job.has_traceback)}
    return row(f"damaged: {target.name}", tried=1, tracebacks=int(job.has_traceback), **counts)


def rows() -> list[Row]:
    """Counts by kind of file. `silent_changes` are jobs that ended well with another result, or badly without one line."""
    prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [bases(folder / f"share-{share}", folder / "said") for share in range(2)]
        all_targets = targets()
        chosen = os.environ.get("PICDESK_FAULTS_ONLY")
        all_targets = [target for target in all_targets if not chosen or target.name.startswith(chosen)]
        wholes = {}
        for target in all_targets:
            root = made[0][target.base]
            restore(root)
            must(target.door, target.overrides(root), folder / "said")
            wholes[target.name] = target.left(root)
        trials = [target for target in all_targets for _ in range(share_of(target.count))]
        print(f"{len(trials)} files", flush=True)

        def work(number: int, target: Target) -> Row:
            return try_damaged(target, made[number % 2][target.base], wholes[target.name], number, folder)

        return in_two(trials, work, folder)
