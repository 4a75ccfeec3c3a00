"""Time and memory of scoring both directions, beside other evaluators on the same arrays; writes bench/results/evaluate.md.

    python bench/evaluate.py            # 5,000 pictures, 25,000 captions of 512 dimensions
    python bench/evaluate.py --large    # and 50,000 by 250,000, ours alone (minutes)

Each tool gets two matrices and the picture of each caption, and gives hits@k and recall@k. Whatever it needs in between (dicts,
sorted lists, one-hot matrices) is part of its time; importing it is not, nor a first call on 20 pictures, for what is compiled at
first use. Every measurement is a process of its own, the tools take turns, and the table shows medians. A tool that gives other
values than ours is an error. ranx and CLIP_benchmark are not among our dependencies: PICDESK_BENCH_PYTHON names an interpreter
that has them, and torch.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from evaluate_tools import ALL, FOREIGN, OURS, TOLD, TOOLS, Values, arrays, our_ranks

HERE = Path(__file__).resolve().parent


def child(tool: str, pictures: int, captions: int) -> None:
    """Measure one tool in this process; one line of JSON."""
    __import__("picdesk.evaluation.metrics" if tool in OURS else tool)
    if tool not in OURS:
        __import__("torch")
    data = arrays(pictures, captions)
    TOOLS[tool](*arrays(20, 2))
    before = peak()
    start = time.perf_counter()
    values = TOOLS[tool](*data)
    seconds = time.perf_counter() - start
    told = {"values": values, "seconds": seconds, "before": before, "peak": peak()}
    if tool in OURS:
        told |= intervals_of(data, tool)
    print(json.dumps(told))


def intervals_of(data: tuple[np.ndarray, np.ndarray, np.ndarray], tool: str) -> dict[str, object]:
    """Time of all intervals of both directions, from ranks that are there."""
    from picdesk.evaluation.significance import compare
    from picdesk.evaluation.statistics import intervals
    from picdesk.measures.listing import KS, MEASURES, NAMES

    names = tuple(MEASURES) if tool == ALL else NAMES
    ranked = our_ranks(*data)
    start = time.perf_counter()
    shown = {
        ranks.direction: {name: str(value) for name, value in intervals(ranks, KS, names=names).items()}
        for ranks in ranked
    }
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    compare(ranked[0], ranked[0])
    return {"intervals": seconds, "compare": time.perf_counter() - start, "shown": shown, "peak_with_intervals": peak()}


def peak() -> float:
    """Highest resident memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_apart(tool: str, pictures: int, captions: int) -> dict[str, object] | None:
    """Run one measurement in a fresh process; None where the tool is not installed."""
    python = os.environ.get("PICDESK_BENCH_PYTHON", "") if tool in FOREIGN else sys.executable
    if not python:
        return None
    command = [python, str(Path(__file__).resolve()), "--child", tool, str(pictures), str(captions)]
    paths = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=False)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{tool}: {done.stderr.strip()[-2000:]}")
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def assert_equal(tool: str, values: Values, ours_: Values) -> None:
    for name, value in values.items():
        if abs(value - ours_[name]) > 1e-6:
            raise SystemExit(f"{tool}: {name} is {value}, ours {ours_[name]}")


def side_by_side(pictures: int, captions: int, rounds: int) -> list[str]:
    """The table of all tools."""
    seen: dict[str, list[dict]] = {tool: [] for tool in TOOLS}
    for _ in range(rounds):
        for tool, results in seen.items():
            if result := measure_apart(tool, pictures, captions):
                results.append(result)
                usual = seen["picdesk"][0]["values"]
                own = result["values"]
                assert_equal(tool, {name: own[name] for name in usual} if tool == ALL else own, usual)
    base = statistics.median(result["seconds"] for result in seen["picdesk"])
    lines = ["| tool | time, s | times ours | peak memory, GB | what |", "|---|---|---|---|---|"]
    for tool, results in seen.items():
        if not results:
            lines.append(f"| {tool} | not installed | | | |")
            continue
        seconds = statistics.median(result["seconds"] for result in results)
        memory = statistics.median(result["peak"] for result in results)
        lines.append(f"| {tool} | {seconds:.2f} | {seconds / base:.1f} | {memory:.2f} | {TOLD[tool]} |")
    first, all_metrics = seen["picdesk"], seen[ALL]
    longer = statistics.median(result["intervals"] for result in all_metrics)
    ratios = sorted(b["seconds"] / a["seconds"] for a, b in zip(first, all_metrics, strict=True))
    longer_all = sorted(
        (b["seconds"] + b["intervals"]) / (a["seconds"] + a["intervals"])
        for a, b in zip(first, all_metrics, strict=True)
    )
    spent = {name: statistics.median(result[name] for result in first) for name in ("intervals", "compare", "before")}
    shown = "; ".join(f"{d} " + ", ".join(f"{n} {v}" for n, v in row.items()) for d, row in first[0]["shown"].items())
    return [
        *lines,
        "",
        f"Intervals of all metrics, both directions, 10,000 resamples of pictures: {spent['intervals']:.2f} s more. "
        f"With nDCG@k, mAP@R and R-Precision too: {longer:.2f} s. Turn by turn, scoring with all metrics takes "
        f"{statistics.median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f}), with the intervals "
        f"{statistics.median(longer_all):.2f} times ({longer_all[0]:.2f} to {longer_all[-1]:.2f}).",
        f"A paired test and bootstrap of two runs of {pictures * captions:,} queries: {spent['compare']:.2f} s.",
        f"The arrays and the interpreter alone take {spent['before']:.2f} GB.",
        "",
        f"Values: {shown}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=3, metavar=("TOOL", "PICTURES", "CAPTIONS"), help=argparse.SUPPRESS)
    parser.add_argument("--large", action="store_true", help="also 50,000 pictures by 250,000 captions, ours alone")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.child:
        return child(chosen.child[0], int(chosen.child[1]), int(chosen.child[2]))
    size = chosen.pictures
    lines = [
        "# Scoring both directions",
        "",
        f"{size:,} pictures, {5 * size:,} captions, 512 dimensions, k = 1, 5, 10. {machine()}. Medians of {chosen.rounds}",
        "processes, tools by turns; values equal to ours within 1e-6. Made by `python bench/evaluate.py`.",
        "",
        *side_by_side(size, 5, chosen.rounds),
    ]
    if chosen.large and (result := measure_apart("picdesk", 50_000, 5)):
        memory = f"peak {result['peak']:.2f} GB, of which arrays and interpreter {result['before']:.2f} GB"
        spent = f"{result['seconds']:.1f} s, {memory}; intervals {result['intervals']:.1f} s"
        lines += ["", f"50,000 pictures by 250,000 captions (12.5 thousand million scores), one process: {spent}."]
    text = "\n".join(lines) + "\n"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "evaluate.md").write_text(text, encoding="utf-8")
    print(text)
    return None


def machine() -> str:
    """Processor and number of cores that may be used."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, numpy {np.__version__}"


if __name__ == "__main__":
    main()
