"""Every measured number of README.md and docs/*.md comes from here: `python scripts/publish.py` writes, `--check` compares.

A number stands between `<!-- numbers: NAME -->` and `<!-- /numbers -->`; NAME is one of `BLOCKS`, and what stands there is made
from the committed files of bench/results/. `tests/test_published.py` fails where a page and the files differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts import bench_numbers, engine_numbers, index_numbers, recipe_numbers, speed_numbers, vector_numbers

PROJECT = Path(__file__).resolve().parents[1]
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
MARKED = re.compile(r"(<!-- numbers: ([\w-]+) -->)(.*?)(<!-- /numbers -->)", re.DOTALL)
UNKNOWN = recipe_numbers.NOT_YET
WORDS = (
    "demo-seeds",
    "demo-machines",
    "newsimages-more",
    "second-tower",
    "captions",
    "growth-built",
    "sweep-job",
)  # blocks that stand within a sentence

BLOCKS: dict[str, Callable[[], str]] = {
    "demo": recipe_numbers.demo_tables,
    "demo-seeds": recipe_numbers.demo_seeds,
    "demo-machines": recipe_numbers.demo_machines,
    "defaults": recipe_numbers.defaults,
    "recipes": recipe_numbers.recipes,
    "finetuning": recipe_numbers.finetuning,
    "newsimages-more": recipe_numbers.newsimages_more,
    "splits": recipe_numbers.splits,
    "large-batches": speed_numbers.large_batches,
    "reranking": bench_numbers.reranking,
    "second-tower": bench_numbers.second_tower,
    "captions": bench_numbers.captions,
    "given-heads": vector_numbers.given_heads,
    "sentence-encoders": vector_numbers.sentence_encoders,
    "kept-projections": vector_numbers.kept_projections,
    "score-corrections": vector_numbers.score_corrections,
    "lexical": bench_numbers.lexical,
    "pareto": speed_numbers.pareto,
    "backbones": speed_numbers.backbones,
    "engines": engine_numbers.engines,
    "drift": engine_numbers.drift,
    "decoders": engine_numbers.decoders,
    "sweep-job": speed_numbers.sweep_job,
    "memory": speed_numbers.memory,
    "gpu": speed_numbers.gpu,
    "refinement": index_numbers.refinement,
    "growth": index_numbers.growth,
    "growth-built": index_numbers.growth_built,
    "auto-cost": index_numbers.auto_cost,
}


def block(name: str) -> str:
    """What stands between the marks of this name; where its results are not there yet, that it was not measured."""
    made = BLOCKS[name]
    try:
        return made()
    except (KeyError, FileNotFoundError):
        return UNKNOWN if name in WORDS else f"\n\n{UNKNOWN}\n\n"


def fill_marks(text: str) -> str:
    """A page with every marked number made anew. Raises `KeyError` for a name that is none of `BLOCKS`."""
    return MARKED.sub(lambda found: found[1] + block(found[2]) + found[4], text)


def main() -> None:
    """Write the pages, or with `--check` say which differ."""
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = fill_marks(text)
        if fresh != text:
            stale.append(page.relative_to(PROJECT).as_posix())
            if "--check" not in sys.argv:
                page.write_text(fresh, encoding="utf-8")
    print(f"{'differ from' if '--check' in sys.argv else 'written from'} bench/results: {', '.join(stale) or 'none'}")
    if stale and "--check" in sys.argv:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
