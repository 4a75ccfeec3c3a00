"""The part `doors` of bench/gpu.py: every door on the card and on the CPU of the same machine, over the embedded demo set.

Each side has a folder and a store of its own, so the card encodes what it scores. A job's seconds are those of its whole process,
its start included; the figures beside them are what it printed of hits@1, so that one sees the same answers from both.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kept import Row

PROJECT = Path(__file__).resolve().parents[1]
PORT = 8719
MIXED = "+trainer.precision=bf16-mixed"
LONGEST = 900  # seconds of one job


@dataclass(frozen=True)
class Door:
    """A job: its name in the table, its command, and whether its metrics are shown."""

    name: str
    words: tuple[str, ...]
    scores: bool = True
    fits: bool = False


FIT = Door("fit heads, evaluate", ("train.py",), fits=True)
DOORS = (
    Door("evaluate a checkpoint", ("evaluate.py", "ckpt=latest")),
    Door(
        "evaluate, rerank by itself", ("evaluate.py", "ckpt=latest", "reranker=cross_backbone", "reranker.ckpt=latest")
    ),
    Door("evaluate, scores=csls", ("evaluate.py", "ckpt=latest", "scores=csls")),
    Door(
        "answer a file of queries", ("retrieve.py", "ckpt=latest", "queries=data/demo_headlines.txt", "top_k=5"), False
    ),
    Door(
        "build an index",
        ("retrieve.py", "task=index_build", "ckpt=latest", "index=hnsw", "index_dir={out}/index"),
        False,
    ),
    Door("a query of a saved index", ("retrieve.py", "index_dir={out}/index", "query=a ship at sea"), False),
    Door("tune weights", ("evaluate.py", "task=tune_weights", "ckpt=latest", "reranker=lexical"), False),
    Door("encode in bf16", ("evaluate.py", "task=encode", "encode.precision=bf16"), False),
    Door("fit heads on bf16 features", ("train.py", "encode.precision=bf16"), fits=True),
)
ON_CARD_ALONE = (  # on a CPU these take minutes, or are not there
    Door(
        "fit both trunks, bf16-mixed, 1 epoch",
        ("train.py", "adaptation=full", MIXED, "trainer.max_epochs=1"),
        fits=True,
    ),
    Door("fit LoRA, bf16-mixed, 1 epoch", ("train.py", "adaptation=lora", MIXED, "trainer.max_epochs=1"), fits=True),
    Door(
        "fit heads, DDP of one process, NCCL",
        ("train.py", "trainer=ddp", "trainer.devices=1", "trainer.strategy.process_group_backend=nccl"),
        fits=True,
    ),
)


def open_doors(device: str, tiny: bool = False) -> dict[str, Row]:
    """A row a door and side, by key; of the CPU alone, and of the first doors, where `tiny`."""
    sides = ["cpu"] if device == "cpu" else [device, "cpu"]
    found: dict[str, Row] = {}
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            doors = (FIT, *DOORS) if not tiny else (FIT, DOORS[0])
            for door in (*doors, *(ON_CARD_ALONE if side != "cpu" else ())):
                found[f"doors {door.name} {side}"] = row = open_door(door, side, Path(folder), tiny)
                print(f"{door.name}, {side}: {row['seconds']} {row['note']}", flush=True)  # what is done is seen
            if not tiny:
                found[f"doors serve {side}"] = ask_server(side, Path(folder))
    return found


def open_door(door: Door, side: str, out: Path, tiny: bool) -> Row:
    """One job in a process of its own: its seconds, and hits@1 of what it scored; where it failed, its last line."""
    start = time.perf_counter()
    done = subprocess.run(
        command(door.words, side, out, door.fits, ["trainer.max_epochs=2"] if tiny and door.fits else []),
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LONGEST,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(done.stderr[-3000:], file=sys.stderr)
        return row_of(door.name, side, [], f"ended with {done.returncode}: {last[-200:]}")
    return row_of(door.name, side, [seconds], hits_of(out) if door.scores else "")


def command(words: Sequence[str], side: str, out: Path, fits: bool, more: Sequence[str] = ()) -> list[str]:
    """The command line of a job on one side."""
    on_card = [f"encode.device={side}", *(["trainer.accelerator=gpu"] if fits else [])] if side != "cpu" else []
    own = [f"paths.outputs={out}/outputs", f"paths.store={out}/store", "logger=none"]
    given = dict.fromkeys([*(word.format(out=out) for word in words[1:]), *on_card, *own, *more])
    return [sys.executable, words[0], *given]


def hits_of(out: Path) -> str:
    """hits@1 of the newest job below a folder, text to picture and picture to text, with the intervals."""
    newest = max(out.glob("outputs/*/*/*/metrics.json"), key=lambda path: path.stat().st_mtime)
    told = json.loads(newest.read_text(encoding="utf-8"))
    parts = []
    for way in ("t2i", "i2t"):
        low, high = told[way]["intervals"]["hits@1"]
        parts.append(f"{told[way]['metrics']['hits@1']:.3f} [{low:.3f}, {high:.3f}]")
    return "hits@1 " + " and ".join(parts)


def ask_server(side: str, out: Path) -> Row:
    """Seconds until the server is ready, and the milliseconds of an answer to a new text."""
    words = ("serve.py", "ckpt=latest", f"serve.port={PORT}")
    start = time.perf_counter()
    with subprocess.Popen(
        command(words, side, out, False), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            while not is_ready():
                if process.poll() is not None or time.perf_counter() - start > LONGEST:
                    said = process.stderr.read() if process.stderr else ""
                    return row_of("serve", side, [], f"not ready: {said[-200:]}")
                time.sleep(0.1)
            seconds = time.perf_counter() - start
            times = sorted(answer_time(number) for number in range(30))
            return row_of(
                "serve, until ready", side, [seconds], f"an answer in {times[15] * 1000:.1f} ms (median of 30)"
            )
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def is_ready() -> bool:
    """Whether the server says that it is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def answer_time(number: int) -> float:
    """Seconds of an answer to a text that was not asked before."""
    body = json.dumps({"text": f"a ship at sea, number {number}"}).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{PORT}/search", body, {"Content-Type": "application/json"})
    start = time.perf_counter()
    with urllib.request.urlopen(asked, timeout=60) as answer:
        answer.read()
    return time.perf_counter() - start


def row_of(name: str, side: str, seconds: list[float], note: str) -> Row:
    """A row of the part `doors`."""
    return {
        "what": name, "who": "the card" if side != "cpu" else "the CPU", "count": 0, "flops": 0.0, "kind": "fp32",
        "note": note, "seconds": seconds, "peak": 0.0,
    }  # fmt: skip
