"""The blocks of the pages want every row that a bench measures, and say what is slower or was not measured."""

import ast
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scripts import index_numbers, publish, recipe_numbers, speed_numbers, vector_numbers

from tests.conftest import PROJECT


def literal_of(file: str, name: str) -> list[Any]:
    """What a bench lists at its margin, read without running it; of a dict the keys."""
    for node in ast.parse((PROJECT / "bench" / file).read_text(encoding="utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = node.value
            parts = value.keys if isinstance(value, ast.Dict) else value.elts
            parts = [one for part in parts for one in (part.value.elts if isinstance(part, ast.Starred) else [part])]
            return [ast.literal_eval(part) for part in parts]
    pytest.fail(f"bench/{file} has no {name}")


@pytest.mark.parametrize(
    ("ours", "file", "name"),
    [
        (vector_numbers.CORRECTED, "vectors.py", "FITS"),
        (vector_numbers.RULES, "vectors.py", "RULES"),
        (vector_numbers.HEADS, "vectors.py", "HEADS"),
        (index_numbers.KEPT, "refinement.py", "KEPT"),
        (index_numbers.REAL_KINDS, "index_growth.py", "REAL_KINDS"),
        (index_numbers.SIZES, "real_vectors.py", "SIZES"),
        (speed_numbers.RIVALS, "train_steps.py", "RIVALS"),
        (speed_numbers.OPTIONS, "pareto.py", "OPTIONS"),
    ],
)
def test_the_rows_wanted_are_those_that_a_bench_measures(ours: Any, file: str, name: str) -> None:
    assert list(ours) == literal_of(file, name)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (recipe_numbers.defaults, recipe_numbers.DEFAULTS),
        (recipe_numbers.recipes, recipe_numbers.RECIPES),
        (recipe_numbers.finetuning, recipe_numbers.FINETUNING),
        (recipe_numbers.splits, ("demo", "demo_ungrouped", "newsimages_lite", "newsimages_lite_ungrouped")),
    ],
)
def test_a_recipe_without_results_is_not_left_out(
    made: Callable[[], str], wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = recipe_numbers.read_results()
    for missing in wanted:
        rest = {name: found for name, found in every.items() if name != missing}
        monkeypatch.setattr(recipe_numbers, "read_results", lambda rest=rest: rest)
        with pytest.raises(KeyError, match=missing):
            made()


def test_corrections_without_results_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_numbers, "vectors", dict)
    assert vector_numbers.score_corrections().count(publish.UNKNOWN) == len(vector_numbers.CORRECTED)


def trained(seconds: float, peak: float) -> dict[str, object]:
    """A row of bench/train.py."""
    return {"bound": 20.0, "seconds": [seconds, seconds * 0.9, seconds * 1.1], "peak": peak}


def test_large_batches_say_what_is_slower_and_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, object] = {
        "towers-768-bf16 256 open_clip": {"bound": 20.0},
        "towers-768-bf16 256 open_clip --grad-checkpointing": trained(10, 4),
        "towers-768-bf16 256 open_clip --accum-freq": trained(30, 4),
        "towers-768-bf16 256 open_clip --accum-freq --grad-checkpointing": trained(20, 2),
        "towers-768-bf16 256 ours": trained(20, 2),
        "towers-96 128 theirs": {"bound": 8.0, "seconds": 2.8, "peak": 2.4},  # a row of an earlier form
    }
    (tmp_path / "train.json").write_text(json.dumps(rows))
    monkeypatch.setattr(speed_numbers, "RESULTS", tmp_path)
    lines = speed_numbers.large_batches().strip().split("\n")[2:]
    assert [line.split(" | ")[3] for line in lines] == [
        "more than 20 GB", "4.0 GB", "4.0 GB", "2.0 GB", "2.0 GB",
    ]  # fmt: skip
    assert "does not fit | ours fits |" in lines[0]
    assert "10 (9 to 11) | ours is slower: 2.00 times as long, 0.50 times the memory |" in lines[1]
    assert "ours is quicker: 0.67 times as long" in lines[2]
    assert "ours is as quick: 1.00 times as long, 1.00 times the memory" in lines[3]
    del rows["towers-768-bf16 256 open_clip --accum-freq"]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    with pytest.raises(KeyError, match="accum-freq"):
        speed_numbers.large_batches()


def bench_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A bench, without running it."""
    monkeypatch.syspath_prepend(str(PROJECT / "bench"))
    spec = importlib.util.spec_from_file_location(f"bench_{name}", PROJECT / "bench" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_of_an_earlier_form_are_dropped_before_training_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_module("train", monkeypatch)
    rows = {
        "towers-96 128 theirs": {"bound": 8.0},
        "heads 256 ours": {"bound": 8.0, "seconds": 0.02, "peak": 0.9},
        "heads 1024 ours": trained(0.1, 0.9),
        "towers-96 512 open_clip --accum-freq": {"bound": 8.0},
    }
    (tmp_path / "train.json").write_text(json.dumps(rows))
    monkeypatch.setitem(bench.keep_rows.__globals__, "RESULTS", tmp_path)
    kept = bench.keep_rows("train", bench.is_of_this_form)
    assert list(kept) == ["heads 1024 ours", "towers-96 512 open_clip --accum-freq"]
    assert json.loads((tmp_path / "train.json").read_text()) == kept
    assert bench.about_lite(kept) == ""
    assert bench.beside(kept) == []


def real_rows(kinds: tuple[str, ...]) -> dict[str, object]:
    """Rows of bench/index_growth.py that real queries asked."""
    found = {}
    for asked, count in index_numbers.GALLERIES:
        for kind in kinds:
            row = {"kind": kind, "settings": "nprobe=8", "probed": 0.125, "recall": 0.91234, "p50": 0.1234}
            found[f"real {asked} {count:06} {kind}"] = row | {"hits@10": "53.22 (-0.32 [-0.68, +0.04])"}
    return found


def test_the_tables_of_indexes_want_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        f"{asked} {count:06} {kept}": {"bytes": 512, "recall": 0.9}
        for asked, count in index_numbers.GALLERIES
        for kept in index_numbers.KEPT
    }
    files = {"index_growth": real_rows(index_numbers.REAL_KINDS), "refinement": kept}
    monkeypatch.setattr(index_numbers, "read_rows", files.__getitem__)
    table = index_numbers.growth()
    assert table.count("| 12.5% | 0.912 | 53.22 (-0.32 [-0.68, +0.04]) | 0.12 |") == 24
    assert "captions must probe: 12.5% among 1,000, 12.5% among 6,000, 12.5% among 9,958 pictures." in table
    assert index_numbers.refinement().count("| 512 | 0.900 | 0.900 |") == len(index_numbers.KEPT)
    files["index_growth"] = real_rows(index_numbers.REAL_KINDS[:-1])
    with pytest.raises(KeyError, match="ivf_pq_fastscan"):
        index_numbers.growth()


def test_what_a_card_does_is_told_by_the_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"card": "C", "cores": 2, "torch": "2", "what": "pictures", "who": "ours"}
    found = {
        "a": {**about, "count": 100, "seconds": [1.0, 2.0, 9.0], "peak": 1.25},
        "b": {**about, "count": 5_000_000_000, "seconds": [1.0], "peak": 0.0},
        "c": {**about, "count": 10, "note": "does not fit"},
        "d": {**about, "count": 0, "seconds": [1.0], "peak": 0.0},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(found))
    monkeypatch.setattr(speed_numbers, "RESULTS", tmp_path)
    lines = [line for line in speed_numbers.gpu().splitlines() if line]
    assert lines[2:] == [
        "| pictures | ours | 50 | 1.2 GB |",
        "| pictures | ours | 5 billion |  |",
        "On C, 2 cores, torch 2.",
    ]
