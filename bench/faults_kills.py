"""Kills in every task: KILL, TERM and INT at any moment; the next run must succeed and leave the bytes of an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from faults_jobs import (
    PROJECT,
    Row,
    in_two,
    leftovers,
    must,
    of_pictures,
    of_vectors,
    prepare,
    row,
    run_door,
    share_of,
    small_data,
    start,
)
from killed_tasks import SCORES, Task, of_files, place, tasks

SIGNALS = {signal.SIGKILL: 137, signal.SIGTERM: 143, signal.SIGINT: 130}


@dataclass
class Whole:
    """What an undisturbed run leaves, and how long it takes; `base` is a folder that trials begin from."""

    left: str
    seconds: float
    base: Path | None = None


def run_undisturbed(task: Task, known: dict[str, "Whole"], data: Path, folder: Path) -> Whole:
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


def kill_and_rerun(task: Task, whole: Whole, number: int, folder: Path) -> Row:
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
    ended, after = run_door(task.door, (task.again or task.overrides)(root), folder / f"after-{number}")
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
    """As `kill_and_rerun`, without forks: the command as a user types it."""
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
            wholes[task.name] = run_undisturbed(task, wholes, data, folder)
            print(f"{task.name}: {wholes[task.name].seconds:.1f} s undisturbed", flush=True)
        trials = [task for task in all_tasks for _ in range(share_of(task.kills))]
        found = in_two(trials, lambda number, task: kill_and_rerun(task, wholes[task.name], number, folder), folder)
        return [*found, in_processes(data, folder, share_of(12))] if not chosen else found
