"""What the fault benches share: small data, and jobs that start by a fork instead of eight seconds of imports."""

import atexit
import contextlib
import csv
import gc
import hashlib
import json
import os
import re
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
LIMIT_S = 120.0
Row = dict[str, Any]
COUNTS = ("tried", "refused", "unchanged", "code_run", "secrets_sent", "silent_changes", "tracebacks")


def row(kind: str, note: str = "", **counts: int) -> Row:
    """A line of the table."""
    return {"kind": kind, **{name: counts.get(name, 0) for name in COUNTS}, "note": note}


def merge_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows of the same kind added up, in the order of their first; notes that differ side by side."""
    by_kind: dict[str, Row] = {}
    for one in rows:
        whole = by_kind.setdefault(one["kind"], row(one["kind"]))
        for name in COUNTS:
            whole[name] += one[name]
        if one["note"] and one["note"] not in whole["note"]:
            whole["note"] = f"{whole['note']}; {one['note']}".removeprefix("; ")
    return list(by_kind.values())


def small_data(folder: Path, pictures: int = 16, seed: int = 0, first: int = 0) -> Path:
    """`e.npz` (vectors of both sides), `captions.csv`, `pics/`: as many pictures of noise, a caption each."""
    rng = np.random.default_rng(seed)
    names = [f"p{first + i:03d}.png" for i in range(pictures)]
    (folder / "pics").mkdir(parents=True)
    image = rng.normal(size=(pictures, 16)).astype("f4")
    text = image + 0.6 * rng.normal(size=(pictures, 16)).astype("f4")
    np.savez(folder / "e.npz", image_embeddings=image, text_embeddings=text)
    with (folder / "captions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "caption"])
        writer.writerows([name, f"caption number {first + i} of a small picture"] for i, name in enumerate(names))
    for name in names:
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / "pics" / name)
    return folder


def of_pictures(data: Path) -> list[str]:
    """Overrides: pictures through the trunks of `lite`."""
    return ["data=npz", f"data.root={data}", "data.file=e.npz", "data.folder=pics", "backbone=lite"]


def of_vectors(data: Path) -> list[str]:
    """Overrides: vectors that came with the data, no trunk."""
    read = ["data=npz", f"data.root={data}", "data.file=e.npz"]
    return [*read, "backbone=precomputed", "backbone.dim=16", "split=all", "bootstrap.resamples=20"]


def prepare() -> None:
    """Import once what doors import, and read the weights of `lite` once; every job is a fork of this process."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "offline"}
    import copy

    import pytorch_lightning  # noqa: F401
    import torch

    from picdesk.backbones import lite, text_trunks
    from picdesk.rerankers import captions  # noqa: F401

    torch.set_num_threads(1)
    parse_once()
    gc.collect()
    gc.freeze()
    image, text = lite.load_efficientnet("efficientnet_lite0"), text_trunks.load_minilm()
    lite.load_efficientnet = lambda name: copy.deepcopy(image)  # type: ignore[assignment]
    minilm = text_trunks.ENCODERS["minilm_l6"]
    text_trunks.ENCODERS["minilm_l6"] = replace(minilm, load=lambda: replace(text, trunk=copy.deepcopy(text.trunk)))


def parse_once() -> None:
    """Have the config files parsed once: Hydra reads fifty of them for each job, twice."""
    import copy
    from types import SimpleNamespace

    import omegaconf.omegaconf as reader
    import yaml
    from hydra._internal.hydra import Hydra

    known: dict[tuple[str, int], Any] = {}

    def load(stream: Any, Loader: Any) -> Any:  # noqa: N803 - the name that it is called by
        name = getattr(stream, "name", None)
        if not isinstance(name, str) or not name.startswith(str(PROJECT / "conf")):
            return yaml.load(stream, Loader)
        key = (name, os.stat(name).st_mtime_ns)  # noqa: PTH116
        if key not in known:
            known[key] = yaml.load(stream, Loader)
        return copy.deepcopy(known[key])

    mode_of = Hydra.get_mode

    def get_mode(self: Hydra, config_name: str, overrides: list[str]) -> Any:
        """Hydra composes the whole config once more only to look whether the config itself asks for a sweep."""
        told = any(text.startswith("hydra.mode=") for text in overrides)
        return mode_of(self, config_name, overrides) if told else None

    Hydra.get_mode = get_mode  # type: ignore[method-assign]
    reader.yaml = SimpleNamespace(**{**vars(yaml), "load": load})  # type: ignore[attr-defined]


@dataclass
class Job:
    """A door at work in a process of its own."""

    pid: int
    said: Path
    begun: float

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Its exit status, as a shell gives it; one that goes on beyond the limit is killed and counts as 124."""
        until = self.begun + limit_s
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code
            time.sleep(0.004)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return 124

    def wait_until_it_hears(self, limit_s: float = 20.0) -> None:
        """Until the door has its signal handlers; before that a signal ends it as it ends any program."""
        until, bit = time.monotonic() + limit_s, 1 << (signal.SIGTERM - 1)
        while time.monotonic() < until:
            try:
                lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            except OSError:
                return
            caught = next((line.split()[1] for line in lines if line.startswith("SigCgt")), "0")
            if int(caught, 16) & bit:
                return
            time.sleep(0.002)

    def text(self) -> str:
        """All that it said."""
        return self.said.read_text(errors="replace")

    @property
    def has_traceback(self) -> bool:
        """Whether it showed one."""
        return "Traceback" in self.text() or "Exception ignored" in self.text()

    def is_one_line(self) -> bool:
        """Whether what is wrong is said in one line."""
        return len(re.findall(r"^picdesk: .+", self.text(), re.M)) == 1 and not self.has_traceback


def start(door: str, overrides: Sequence[str], said: Path) -> Job:
    """Start a door by a fork; both of its streams go to the file `said`."""
    begun = time.monotonic()
    said.write_text("")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Job(pid, said, begun)
    code = 1
    try:
        os.setsid()
        atexit._clear()  # what this process has to do at its end is not the job's
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(handle, stream)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
        os.chdir(PROJECT)
        sys.argv = [f"{door}.py", *overrides]
        runpy.run_path(str(PROJECT / f"{door}.py"), run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run_door(door: str, overrides: Sequence[str], said: Path) -> tuple[int, Job]:
    """Run a door to its end."""
    job = start(door, overrides, said)
    return job.wait(), job


def must(door: str, overrides: Sequence[str], said: Path) -> None:
    """The same, for what the trials begin from."""
    code, job = run_door(door, overrides, said)
    if code:
        raise SystemExit(f"{door} {' '.join(overrides)}: status {code}\n{job.text()}")


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def leftovers(*folders: Path) -> list[str]:
    """Names of what no finished job leaves: half-written files, claims, workshops."""
    found = [path for folder in folders for path in folder.rglob("*")]
    return [str(path) for path in found if ".part" in path.name or path.suffix == ".claim" or ".blocks" in path.name]


def in_two(trials: Sequence[Any], work: Callable[[int, Any], Row], folder: Path, at_once: int = 2) -> list[Row]:
    """`work(number, trial)` for each, in two processes at once; the rows added up by kind."""
    children = []
    for share in range(at_once):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            with (folder / f"rows-{share}.jsonl").open("w", buffering=1) as stream:
                for number in range(share, len(trials), at_once):
                    stream.write(json.dumps(work(number, trials[number])) + "\n")
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise SystemExit("a worker of the bench failed")
    lines = [line for share in range(at_once) for line in (folder / f"rows-{share}.jsonl").read_text().splitlines()]
    return merge_rows(json.loads(line) for line in lines)


def share_of(count: int) -> int:
    """How many of `count` trials are run: all, or the share that PICDESK_FAULTS_SHARE (0 to 1) says, at least one."""
    return max(1, round(count * float(os.environ.get("PICDESK_FAULTS_SHARE", "1"))))
