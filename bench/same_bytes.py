"""Which settings of a machine keep a job's files to the byte, and how far numbers move where they do not.

A fit and its evaluation on part of the demo set, once for each setting, in processes of their own; each begins from an empty
store, so that pictures and texts are encoded anew. Writes bench/results/same_bytes.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from safetensors.numpy import load_file

from picdesk.report.metrics_file import read_metrics

PROJECT = Path(__file__).resolve().parents[1]
PICTURES = 400
FILES = ("metrics.json", "run.trec", "checkpoint/model.safetensors")
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
NAMES = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "LANG": "C", "TZ": "Asia/Tokyo"}
SETTINGS: dict[str, tuple[dict[str, str], tuple[str, ...], bool]] = {
    "as before": ({}, (), False),
    "two threads": ({"OMP_NUM_THREADS": "2"}, (), False),
    "hash seed, locale C, another time zone": (NAMES, (), False),
    "another working directory": ({}, (), True),
    "encode.workers=1": ({}, ("encode.workers=1",), False),
    "encode.batch_size=7": ({}, ("encode.batch_size=7",), False),
    "a processor without AVX": (OLD, (), False),
}


def job(data: Path, outputs: Path, setting: tuple[dict[str, str], tuple[str, ...], bool]) -> Path:
    """The folder of one fit under the setting."""
    environment, overrides, elsewhere = setting
    command = [
        sys.executable,
        str(PROJECT / "train.py"),
        f"data.root={data}",
        f"paths.outputs={outputs}",
        "logger=none",
        "encode.precision=fp32",
    ]
    subprocess.run(
        [*command, "trainer.max_epochs=5", *overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src"), **environment},
        cwd=outputs.parent if elsewhere else PROJECT,
        check=True,
        capture_output=True,
    )
    (manifest,) = outputs.glob("train/*/*/manifest.json")
    return manifest.parent


def furthest(one: Path, other: Path) -> tuple[float, float]:
    """The largest difference between two jobs' metrics that are shares, and between two weights of their checkpoints."""
    metrics = [read_metrics(folder / "metrics.json") for folder in (one, other)]
    shares = [name for name in metrics[0]["t2i"]["metrics"] if name.startswith(("hits", "recall", "mrr"))]
    moved = max(abs(metrics[0][d]["metrics"][n] - metrics[1][d]["metrics"][n]) for d in ("t2i", "i2t") for n in shares)
    weights = [load_file(folder / FILES[2]) for folder in (one, other)]
    return moved, max(float(abs(weights[0][name] - weights[1][name]).max()) for name in weights[0])


def row(name: str, base: Path, folder: Path) -> str:
    """A line of the table."""
    same = ["same" if (base / file).read_bytes() == (folder / file).read_bytes() else "differs" for file in FILES]
    moved, weight = furthest(base, folder)
    arithmetic = json.loads((folder / "manifest.json").read_text())["arithmetic"]
    return f"| {name} | {' | '.join(same)} | {moved:.4f} | {weight:.1e} | {arithmetic['instructions']} |"


def main() -> None:
    """Run every setting and write the table."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        data.mkdir()
        pq.write_table(pq.read_table(PROJECT / "data" / "demo.parquet").slice(0, PICTURES), data / "demo.parquet")
        base = job(data, Path(place) / "base", ({}, (), False))
        lines = []
        for name, setting in SETTINGS.items():
            outputs = Path(place) / "other"
            lines.append(row(name, base, job(data, outputs, setting)))
            print(lines[-1], flush=True)
            shutil.rmtree(outputs)
    heads = ["setting", *FILES, "shares moved by at most", "a weight moved by at most", "instructions"]
    head = [
        "# Which settings keep a job's files to the byte\n",
        f"A fit of five epochs and its evaluation on {PICTURES} pictures of the demo set in fp32, one thread, against the same "
        "job with one setting changed; made by `python bench/same_bytes.py`.\n",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    (PROJECT / "bench" / "results" / "same_bytes.md").write_text("\n".join([*head, *lines, ""]))


if __name__ == "__main__":
    main()
