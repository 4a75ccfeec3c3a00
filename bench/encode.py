"""Folder to embeddings: our encode loop beside its ceiling and beside other tools; writes bench/results/encode.md.

    python bench/encode.py                      # 192 pictures and 1,536 captions of PICDESK_DATA_ROOT/flickr8k, 3 rounds
    PICDESK_BENCH_PYTHON=... python bench/encode.py    # also sentence-transformers, out of that interpreter

ViT-B-32 with random weights: the cost is the same. Every contender starts from file names and plain strings and ends with
embeddings of length 1 in memory; the ceiling is the forward pass alone, on tensors that are there already. Contenders take turns
within each round, after one batch each to warm up, and the table shows medians over rounds.
"""

import argparse
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch

from encode_contenders import BATCH, HERE, MODEL, Foreign, Ours, Usual, ceiling, material
from picdesk.embedding.memory import keep_freed_memory

Timed = dict[str, list[float]]


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a piece of work, its child processes' too."""
    start, used = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - used


def measure(paths: list[Path], texts: list[str], rounds: int, save: Callable[..., None]) -> None:
    """Let the contenders take turns; `save` is called after each round, so that a run that is cut short leaves a page."""
    keep_freed_memory()
    usual, fp32, bf16 = Usual(), Ours("fp32"), Ours("bf16")
    foreign = Foreign(usual, paths, texts) if os.environ.get("PICDESK_BENCH_PYTHON") else None
    bounds = {"ceiling fp32": ceiling(fp32, paths), "ceiling bf16": ceiling(bf16, paths)}
    seconds: Timed = {}
    busy: Timed = {}
    facts: dict[str, float] = {}

    def note(name: str, taken: tuple[float, float]) -> None:
        seconds.setdefault(name, []).append(taken[0])
        busy.setdefault(name, []).append(taken[1])

    usual.pictures(paths[:BATCH])
    usual.texts(texts[:BATCH])
    for turn in range(rounds):
        for name, run in bounds.items():
            note(f"pictures: {name}", clock(run))
        note("pictures: usual loop", clock(lambda: usual.pictures(paths)))
        note("texts: usual loop", clock(lambda: usual.texts(texts)))
        for ours in (fp32, bf16):
            with tempfile.TemporaryDirectory() as folder:
                store = Path(folder)
                for what, items, call in (("pictures", paths, ours.pictures), ("texts", texts, ours.texts)):
                    note(f"{what}: ours {ours.precision}", clock(lambda c=call, i=items, s=store: c(i, s)))
                    time.sleep(
                        2.1
                    )  # files younger than two seconds are checked again; a second job starts later than that
                    call(items, store)
                    before = ours.passed
                    note(f"{what}: ours {ours.precision}, again", clock(lambda c=call, i=items, s=store: c(i, s)))
                    facts["passes of the second run"] = facts.get("passes of the second run", 0) + ours.passed - before
                if turn == 0:
                    facts |= drift(usual, ours, paths, texts, store)
        if foreign:
            for what, value in foreign.round().items():
                note(f"{what}: sentence-transformers", value)
        print(f"round {turn + 1} of {rounds} done", flush=True)
        save(seconds, busy, dict(facts), turn + 1, f", sentence-transformers {foreign.version}" if foreign else "")


def drift(usual: Usual, ours: Ours, paths: list[Path], texts: list[str], store: Path) -> dict[str, float]:
    """How far our embeddings are from the usual loop's; both drew their weights from seed 0, so they are the same."""
    pairs = {
        "pictures": (usual.made["pictures"], ours.pictures(paths, store)),
        "texts": (usual.made["texts"], ours.texts(texts, store)),
    }
    return {f"{what} {ours.precision}: least cosine": float((a * b).sum(1).min()) for what, (a, b) in pairs.items()} | {
        f"{what} {ours.precision}: largest difference": float(abs(a - b).max()) for what, (a, b) in pairs.items()
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=192)
    options.add_argument("--texts", type=int, default=1536)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--remark", default="", help="a line about the circumstances, for the page")
    chosen = options.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    paths, texts = material(chosen.pictures, chosen.texts)

    def save(seconds: Timed, busy: Timed, facts: dict[str, float], rounds: int, foreign: str) -> None:
        page = write(seconds, busy, facts, len(paths), len(texts), rounds, foreign, chosen.remark)
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "encode.md").write_text(page, encoding="utf-8")

    measure(paths, texts, chosen.rounds, save)
    print((HERE / "results" / "encode.md").read_text(encoding="utf-8"))


def write(
    seconds: Timed,
    busy: Timed,
    facts: dict[str, float],
    pictures: int,
    texts: int,
    rounds: int,
    foreign: str,
    remark: str,
) -> str:
    """The page with the table."""
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    work = {name: statistics.median(values) for name, values in busy.items()}
    rows = [
        "| | items/s | against the usual loop | spread of rounds | processor ms per item | against the usual loop |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(middle):
        what = name.split(":")[0]
        count = pictures if what == "pictures" else texts
        spread = (max(seconds[name]) - min(seconds[name])) / middle[name]
        ratio = middle[f"{what}: usual loop"] / middle[name]
        cost, less = 1000 * work[name] / count, work[f"{what}: usual loop"] / max(work[name], 1e-3)
        rows.append(
            f"| {name} | {count / middle[name]:,.1f} | {ratio:.2f}x | {spread:.0%} | {cost:,.1f} | {less:.2f}x |"
        )
    share = {
        f"{kind} by {what}": times[f"pictures: ceiling {kind}"] / times[f"pictures: ours {kind}"]
        for kind in ("fp32", "bf16")
        for what, times in (("wall clock", middle), ("processor time", work))
    }
    warm = {
        f"{what} {kind}": middle[f"{what}: ours {kind}"] / middle[f"{what}: ours {kind}, again"]
        for what in ("pictures", "texts")
        for kind in ("fp32", "bf16")
    }
    lines = [
        "# Folder to embeddings",
        "",
        f"{MODEL}, random weights, {pictures} photographs of Flickr8k, {texts} captions, medians of {rounds} rounds, "
        f"batches of {BATCH}; {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, open_clip {open_clip.__version__}{foreign}, "
        f"Python {platform.python_version()}. Made by `python bench/encode.py`.",
        "",
        *rows,
        "",
        *([f"- {remark}"] if remark else []),
        "- Share of the ceiling (forward pass alone on tensors in memory): "
        + ", ".join(f"{name} {value:.0%}" for name, value in share.items())
        + ".",
        "- A second run on the same store against the first: "
        + ", ".join(f"{name} {value:.0f}x" for name, value in warm.items())
        + f"; items that went through a trunk in all second runs: {facts.pop('passes of the second run'):.0f}.",
        *(f"- Ours against the usual loop, {name}: {value:.7f}" for name, value in facts.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
