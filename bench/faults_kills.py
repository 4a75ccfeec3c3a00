"""Kills in every task: KILL, TERM and INT at any moment; the next run must succeed and leave the bytes of an undisturbed one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faults_jobs import (
    PROJECT,
    Row,
    digest,
    done,
    in_two,
    leftovers,
    must,
    of_pictures,
    of_vectors,
    prepare,
    row,
    share_of,
    small_data,
    start,
)
from picdesk.embedding.shards import open_shard, shard_paths
from picdesk.files import digest_of

SIGNALS = {signal.SIGKILL: 137, signal.SIGTERM: 143, signal.SIGINT: 130}
SCORES = ("metrics.json", "run.trec", "qrels.trec")
FAST = ("logger=none", "bootstrap.resamples=20")


def of_files(*names: str) -> Callable[[Path], str]:
    """What a run left, as a digest over these files of its output dir."""
    return lambda root: digest_of([digest(root / "job" / name) for name in names])


def of_store(root: Path) -> str:
    """What the store holds: a digest over keys and vectors, however they lie in shards."""
    held: dict[str, str] = {}
    for space in sorted((root / "store").glob("*-*")):
        about = json.loads((space / "space.json").read_text())
        parts = {key: about[key] for key in ("modality", "trunk", "precision", "width", "decode", "storage")}
        for path in shard_paths(space):
            shard = open_shard(path, digest_of(parts), about["width"], about["storage"])
            for key, vector in zip(shard.keys, shard.features, strict=True):
                name = f"{space.name}/{key.tobytes().hex()}"
                assert name not in held, "an item was written twice"
                held[name] = np.asarray(vector).tobytes().hex()
    return digest_of(held)


def of_index(root: Path) -> str:
    """What an index folder holds."""
    header = json.loads((root / "index" / "header.json").read_text())
    files = {role: digest(root / "index" / entry["name"]) for role, entry in header["files"].items()}
    stray = sorted({path.name for path in (root / "index").iterdir()} - {e["name"] for e in header["files"].values()})
    return digest_of([files, [name for name in stray if name.startswith(("index-", "ids-", "lists-"))]])


def of_sweep(root: Path) -> str:
    """Metrics of all jobs of a sweep, and who leads."""
    jobs = {path.parent.name: digest(path) for path in (root / "job").glob("*/metrics.json")}
    lines = (root / "job" / "leaderboard.csv").read_text().splitlines() if jobs else []
    return digest_of([jobs, len(lines)])


def of_tuning(root: Path) -> str:
    """What an index was found to cost in hits; times differ."""
    rows = json.loads((root / "job" / "tune_index.json").read_text())
    return digest_of([[row["settings"], row["recall@10"], row["hits@1"], row["hits@10"]] for row in rows])


@dataclass(frozen=True)
class Task:
    """A job that is killed: its command below a fresh root, what it leaves, how many kills; `again` where it goes on another
    way."""

    name: str
    door: str
    overrides: Callable[[Path], Sequence[str]]
    left: Callable[[Path], str]
    kills: int
    again: Callable[[Path], Sequence[str]] | None = None
    base: str = ""
    beside: bool = False


def place(root: Path, *more: str) -> list[str]:
    """Where a job writes."""
    return [f"paths.outputs={root}", f"paths.store={root}/store", f"hydra.run.dir={root}/job", *FAST, *more]


def tasks(data: Path, more: Path) -> list[Task]:
    """All that can be killed."""
    pictures, vectors = of_pictures(data), of_vectors(data)
    training = ["trainer.max_epochs=6", "training.batch_size=4", "training.state_seconds=0", "split.seed=1"]

    def fit(root: Path) -> list[str]:
        return [*pictures, *training, *place(root)]

    def go_on(root: Path) -> list[str]:
        stopped = (root / "job" / "resume" / "config.yaml").is_file()
        return [f"resume={root}/job", f"paths.store={root}/store", "logger=none"] if stopped else fit(root)

    def sweep(root: Path) -> list[str]:
        axes = ["-m", "seed=0,1,2", "skip_completed=true", f"hydra.sweep.dir={root}/job"]
        return [*axes, *vectors, *place(root)[:2], "logger=none"]

    def index(root: Path) -> list[str]:
        return [f"index_dir={root}/index", *place(root)]

    flat = ["split=all", "part=all"]
    return [
        Task("train", "train", fit, of_files(*SCORES, "checkpoint/model.safetensors"), 50, go_on),
        Task("evaluate", "evaluate", lambda root: [*pictures, *flat, *place(root)], of_files(*SCORES), 36),
        Task("encode", "evaluate", lambda root: ["task=encode", *pictures, *flat, *place(root)], of_store, 36),
        Task(
            "retrieve",
            "retrieve",
            lambda root: ["query=a small picture", *pictures, *flat, *place(root)],
            of_files("results.csv", "run.trec"),
            30,
        ),
        Task(
            "index_build", "retrieve", lambda root: ["task=index_build", *pictures, *flat, *index(root)], of_index, 30
        ),
        Task(
            "index_add, new items",
            "retrieve",
            lambda root: ["task=index_add", *of_pictures(more)[:-1], *flat, *index(root)],
            of_index,
            30,
            base="index_build",
        ),
        Task(
            "tune_index",
            "evaluate",
            lambda root: ["task=tune_index", "index=hnsw", "tune.settings=[{efSearch: 4}]", *vectors, *place(root)],
            of_tuning,
            20,
        ),
        Task(
            "tune_weights",
            "evaluate",
            lambda root: ["task=tune_weights", "reranker=captions", "tune_weights.steps=3", *pictures, *place(root)],
            of_files("metrics.json", "weights.csv"),
            24,
        ),
        Task(
            "export",
            "evaluate",
            lambda root: ["task=export", *pictures, *flat, *place(root)],
            of_files("embeddings.npz", "captions.csv"),
            20,
        ),
        Task("sweep of three jobs", "evaluate", sweep, of_sweep, 24),
        Task(
            "two jobs on one store",
            "evaluate",
            lambda root: ["task=encode", *pictures, *flat, *place(root)],
            of_store,
            24,
            beside=True,
        ),
    ]


@dataclass
class Whole:
    """What an undisturbed run leaves, and how long it takes; `base` is a folder that trials begin from."""

    left: str
    seconds: float
    base: Path | None = None


def undisturbed(task: Task, known: dict[str, "Whole"], data: Path, folder: Path) -> Whole:
    """Run a task to its end once."""
    root = folder / f"whole {task.name}".replace(" ", "-").replace(",", "")
    base = None
    if task.base:
        base = folder / f"base-{task.name}".replace(" ", "-").replace(",", "")
        must("retrieve", base_of(data, base), folder / "said")
        shutil.copytree(base, root)
    begun = time.monotonic()
    must(task.door, task.overrides(root), folder / "said")
    return Whole(task.left(root), time.monotonic() - begun, base)


def base_of(data: Path, root: Path) -> list[str]:
    """The index that items are added to."""
    return ["task=index_build", f"index_dir={root}/index", *of_pictures(data), "split=all", "part=all", *place(root)]


def killed(task: Task, whole: Whole, number: int, folder: Path) -> Row:
    """One kill and the run after it."""
    root, rng = folder / f"trial-{number}", random.Random(number)
    signum = list(SIGNALS)[number % 3]
    if whole.base:
        shutil.copytree(whole.base, root)
    root.mkdir(exist_ok=True)
    said = folder / f"said-{number}"
    overrides = list(task.overrides(root))
    job, other = start(task.door, overrides, said), None
    if task.beside:
        other = start(task.door, [*overrides, f"hydra.run.dir={root}/other"], folder / f"other-{number}")
    job.wait_until_it_hears()
    time.sleep(rng.uniform(0.0, 1.0) * whole.seconds)
    asked = time.monotonic()
    os.kill(job.pid, signum)
    code = job.wait()
    late = time.monotonic() - asked > 12
    wrong = [] if code in (0, SIGNALS[signum]) else [f"status {code} after {signum.name}"]
    wrong += ["ended late"] if late else []
    tracebacks = int(job.has_traceback)
    if code == SIGNALS[signum] and signum != signal.SIGKILL and "stopped by" not in job.text():
        wrong.append(f"no line after {signum.name}")
    if other is not None and other.wait():
        wrong.append("the other job failed")
    ended, after = done(task.door, (task.again or task.overrides)(root), folder / f"after-{number}")
    tracebacks += int(after.has_traceback)
    twice = bool(task.base) and ended == 2 and "already" in after.text() and after.is_one_line()
    if ended and not twice:
        wrong.append(f"the next run: status {ended}")
    same = (not ended or twice) and task.left(root) == whole.left
    left = leftovers(root)
    wrong += [f"left: {Path(left[0]).name}"] if left else []
    note = "; ".join(wrong)
    if wrong or tracebacks or not same:
        print(f"{task.name} {number} {signum.name} status {code}: {note or 'other bytes'}")
        print(job.text()[-600:], after.text()[-900:], sep="\n---\n", flush=True)
    else:
        shutil.rmtree(root)
    ended_well = int(code == SIGNALS[signum])
    return row(
        f"kill: {task.name}",
        note,
        tried=1,
        refused=ended_well,
        unchanged=int(same and not wrong),
        silent_changes=int(not same),
        tracebacks=tracebacks,
    )


def in_processes(data: Path, folder: Path, count: int) -> Row:
    """As `killed`, without forks: the command as a user types it."""
    rng = random.Random(9)
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"}

    def begin(root: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "evaluate.py", *of_vectors(data), *place(root)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=PROJECT, env=environment, text=True, **streams)  # type: ignore[call-overload]

    begun = time.monotonic()
    begin(folder / "real").communicate()
    seconds, whole = time.monotonic() - begun, of_files(*SCORES)(folder / "real")
    counts = dict.fromkeys(("tried", "refused", "unchanged", "silent_changes", "tracebacks"), 0)
    for number in range(count):
        root, signum = folder / f"real-{number}", list(SIGNALS)[number % 3]
        first = begin(root)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        first.send_signal(signum)
        said = first.communicate()[0]
        again = begin(root)
        said += again.communicate()[0]
        same = again.returncode == 0 and of_files(*SCORES)(root) == whole and not leftovers(root)
        counts["tried"] += 1
        counts["refused"] += int(first.returncode in (-signum, 128 + signum))
        counts["unchanged"] += int(same)
        counts["silent_changes"] += int(not same)
        counts["tracebacks"] += int("Traceback" in said)
    return row("kill: evaluate, processes of their own", "the command as typed", **counts)


def rows() -> list[Row]:
    """Counts by task: `refused` are jobs that the signal ended (the others were done before it), `unchanged` those after which
    the next run left the bytes of an undisturbed one and nothing else."""
    prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = small_data(folder / "data")
        more = small_data(folder / "more", 8, 1, 500)
        all_tasks = tasks(data, more)
        chosen = os.environ.get("PICDESK_FAULTS_ONLY")
        all_tasks = [task for task in all_tasks if not chosen or task.name.startswith(chosen)]
        wholes: dict[str, Whole] = {}
        for task in all_tasks:
            wholes[task.name] = undisturbed(task, wholes, data, folder)
            print(f"{task.name}: {wholes[task.name].seconds:.1f} s undisturbed", flush=True)
        trials = [task for task in all_tasks for _ in range(share_of(task.kills))]
        found = in_two(trials, lambda number, task: killed(task, wholes[task.name], number, folder), folder)
        return [*found, in_processes(data, folder, share_of(12))] if not chosen else found
