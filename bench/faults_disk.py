"""Disks of fourteen sizes that fill up, and other faults of the machine: complete, or one line and nothing half-written.

Disks are mounted (`tmpfs`), which needs root; where that is not to be had, those rows are left out and the table says so.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from faults_jobs import (
    PROJECT,
    Row,
    leftovers,
    merge_rows,
    of_pictures,
    of_vectors,
    prepare,
    row,
    run_door,
    share_of,
    small_data,
    start,
)
from picdesk.embedding.upkeep import spaces, verify
from picdesk.errors import UserError
from picdesk.report.manifest import Manifest

SIZES_KB = (4, 16, 32, 48, 64, 96, 128, 192, 256, 448, 768, 1536, 8192, 65536)
FAST = ("logger=none", "bootstrap.resamples=20")
FLAT = ("split=all", "part=all")
Work = tuple[str, str, Callable[[Path], Sequence[str]]]


def works(data: Path) -> list[Work]:
    """Name, door and command of the jobs that write to a disk which is too small."""

    def place(disk: Path) -> list[str]:
        return [f"paths.outputs={disk}", f"paths.store={disk}/store", f"hydra.run.dir={disk}/job", *FAST]

    training = ["trainer.max_epochs=3", "training.batch_size=4", "training.state_seconds=0", "split.seed=1"]
    sweep = ["-m", "seed=0,1", "skip_completed=true", FAST[0]]
    return [
        ("evaluate", "evaluate", lambda disk: [*of_vectors(data), *place(disk)]),
        ("encode", "evaluate", lambda disk: ["task=encode", *of_pictures(data), *FLAT, *place(disk)]),
        ("train", "train", lambda disk: [*of_pictures(data), *training, *place(disk)]),
        (
            "index_build",
            "retrieve",
            lambda disk: ["task=index_build", f"index_dir={disk}/index", *of_pictures(data), *FLAT, *place(disk)],
        ),
        (
            "sweep",
            "evaluate",
            lambda disk: [*sweep, f"hydra.sweep.dir={disk}/sweep", *of_vectors(data), *place(disk)[:2]],
        ),
    ]


def mount(disk: Path, kilobytes: int) -> bool:
    """Whether a disk of this size could be made."""
    disk.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def half_written(disk: Path) -> list[str]:
    """Files of ours that cannot be read whole, and names of what is unfinished."""
    wrong = leftovers(disk)
    for path in disk.rglob("*"):
        if (
            not path.is_file()
            or ".hydra" in path.parts
            or path.name in ("job.log", "multirun.yaml", "optimization_results.yaml")
        ):
            continue
        try:
            if path.name == "facts.json":  # its digest on one line, what is known on the next
                digest, known = map(json.loads, path.read_text().splitlines())
                if not digest or not known:
                    wrong.append(str(path))
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".yaml":
                yaml.safe_load(path.read_text())
            if path.name == "manifest.json":
                Manifest.read(path).check_files(path.parent)
            if path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                wrong.append(str(path))
        except (ValueError, UserError, yaml.YAMLError):
            wrong.append(str(path))
    if (disk / "store").is_dir():
        wrong += [fault for space in spaces(disk / "store") for fault in verify(space)]
    return wrong


def outcome(kind: str, code: int, text: str, has_line: bool, wrong: list[str], after: bool = True) -> Row:
    """A row of one job: complete, refused in one line, or neither."""
    refused = code in (1, 2) and has_line and not wrong
    complete = code == 0 and not wrong and after
    if not refused and not complete:
        print(f"{kind}: status {code}; {wrong[:2]}\n{text[-800:]}", flush=True)
    counts = {"refused": int(refused), "unchanged": int(complete), "silent_changes": int(not refused and not complete)}
    return row(kind, tried=1, tracebacks=int("Traceback" in text or "Exception ignored" in text), **counts)


def fill_disk(work: Work, kilobytes: int, folder: Path) -> Row:
    """One job on one disk; then there is room, and the same command must succeed."""
    name, door, overrides = work
    disk = folder / "disk"
    if not mount(disk, kilobytes):
        return row(f"full disk: {name}", "no disk could be mounted here")
    try:
        code, job = run_door(door, overrides(disk), folder / "said")
        wrong = half_written(disk)
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        again, later = run_door(door, overrides(disk), folder / "later")
        if again:
            wrong.append(f"with room again: status {again}: {later.text()[-300:]}")
        wrong += half_written(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    found = outcome(f"full disk: {name}", code, job.text(), job.is_one_line(), wrong)
    found["note"] = f"{len(SIZES_KB)} sizes, {SIZES_KB[0]} kB to {SIZES_KB[-1] // 1024} MB"
    return found


def other_faults(data: Path, folder: Path) -> list[Row]:
    """No permission, a file for a folder, a folder for a file, read-only, too many files, no memory, strange devices."""
    file, odd = folder / "a-file", folder / "odd"
    file.write_text("x")
    (odd / "results.json").mkdir(parents=True)
    closed = folder / "closed"
    closed.mkdir(mode=0o500)
    vectors, pictures = of_vectors(data), [*of_pictures(data), *FLAT, *FAST]
    out = f"paths.outputs={folder}/out"
    trials: list[tuple[str, str, list[str]]] = [
        ("a file for the outputs", "evaluate", [*vectors, *FAST, f"paths.outputs={file}"]),
        ("a file for the store", "evaluate", ["task=encode", *pictures, out, f"paths.store={file}"]),
        ("a file above the outputs", "train", [*pictures, f"paths.outputs={file}/under/it"]),
        ("a file for an index", "retrieve", ["task=index_build", f"index_dir={file}", *pictures, out]),
        ("a folder for a file", "retrieve", ["query=a", *pictures, f"hydra.run.dir={odd}", out]),
        ("outputs that cannot be made", "evaluate", [*vectors, *FAST, "paths.outputs=/proc/none"]),
        (
            "outputs that cannot be made, sweep",
            "evaluate",
            ["-m", "seed=0,1", *vectors, FAST[0], "paths.outputs=/proc/none"],
        ),
        ("a device that is not there: cuda", "evaluate", [*pictures, out, "encode.device=cuda:77"]),
        ("a device that is not there: mps", "evaluate", [*pictures, out, "encode.device=mps"]),
        ("a device that is none", "evaluate", [*pictures, out, "encode.device=toaster"]),
        ("learning rate 1e6", "train", [*of_pictures(data), out, *FAST, "optimizer.lr=1e6", "trainer.max_epochs=3"]),
        ("learning rate NaN", "train", [*of_pictures(data), out, *FAST, "optimizer.lr=nan", "trainer.max_epochs=3"]),
        ("a folder name too long", "evaluate", [*vectors, *FAST, f"paths.outputs={folder}/{'n' * 300}"]),
    ]
    rows = []
    for name, door, overrides in trials:
        code, job = run_door(door, overrides, folder / "said")
        rows.append(outcome(f"fault: {name}", code, job.text(), job.is_one_line(), leftovers(folder)))
    rows.append(run_limited(folder, [*pictures, out], "too many open files", resource.RLIMIT_NOFILE, 24))
    rows.append(run_limited(folder, [*pictures, out], "files that may not grow", resource.RLIMIT_FSIZE, 20_000))
    for gigabytes in (2, 3, 4):
        rows.append(memory(folder, [*pictures, out], gigabytes))
    return rows


def run_limited(folder: Path, overrides: list[str], name: str, which: int, most: int) -> Row:
    """A job under a limit of the system."""
    before = resource.getrlimit(which)
    resource.setrlimit(which, (most, before[1]))
    try:
        job = start("evaluate", [*overrides, f"paths.store={folder}/store-{most}"], folder / "said")
    finally:
        resource.setrlimit(which, before)
    code = job.wait()
    return outcome(f"fault: {name}", code, job.text(), job.is_one_line(), leftovers(folder))


def memory(folder: Path, overrides: list[str], gigabytes: int) -> Row:
    """A job with so much address space, in a process of its own."""
    command = f'ulimit -v {gigabytes << 20}; exec {sys.executable} evaluate.py "$@"'
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done_ = subprocess.run(
        ["bash", "-c", command, "job", *overrides, f"paths.store={folder}/store-m{gigabytes}"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    text = done_.stdout + done_.stderr
    has_line = text.count("picdesk: ") == 1
    return outcome(f"fault: {gigabytes} GB of address space", done_.returncode, text, has_line, leftovers(folder))


def rows() -> list[Row]:
    """Counts by job and fault; `silent_changes` are jobs that were neither complete nor refused in one line."""
    prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = small_data(folder / "data")
        sizes = SIZES_KB[:: max(1, len(SIZES_KB) // share_of(len(SIZES_KB)))]
        full = merge_rows(fill_disk(work, size, folder) for work in works(data) for size in sizes)
        return [*full, *other_faults(data, folder)]
