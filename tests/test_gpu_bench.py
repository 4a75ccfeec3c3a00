"""bench/gpu.py runs every part, at tiny shapes on the CPU, and says in one line that there is no card."""

import json
import sys
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(PROJECT / "bench"))
    import gpu

    monkeypatch.setattr(sys.modules["gpu_parts"], "RIVALS", {"open_clip --accum-freq": (0, False)})
    monkeypatch.setattr(sys.modules["train_steps"], "STEPS", 1)
    return gpu


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("encode", marks=pytest.mark.slow),
        "train",
        "score",
        "index",
        pytest.param("doors", marks=pytest.mark.slow),
    ],
)  # encoding imports and draws much
def test_every_part_runs_at_tiny_shapes(part: str, bench, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert part in bench.PARTS
    place = bench.Place("cpu", tiny=True)
    rows = bench.measure_parts([part], place)
    assert {row["part"] for row in rows.values()} == {part}
    for key, row in rows.items():
        assert len(row["seconds"]) >= 1, key
        assert min(row["seconds"]) > 0, key
        assert row["limit"] > 0, key
        assert row["torch"] == torch.__version__
    assert json.loads(json.dumps(rows)) == rows, "what is kept is what was measured"
    text = bench.page(rows)
    assert text.count("\n| ") == len(rows) + 1
    assert "CPU (tiny)" in text


def test_a_side_that_does_not_fit_has_its_row(bench) -> None:  # type: ignore[no-untyped-def]
    row = {"what": "w", "who": "o", "note": "does not fit", "card": "c", "count": 1, "flops": 1.0, "limit": 1.0}
    assert bench.cells(row) == "w | o | | | | | does not fit | c"


def test_shares_are_of_the_operations_over_the_peak(bench) -> None:  # type: ignore[no-untyped-def]
    row = {"what": "w", "who": "o", "note": "", "card": "c", "count": 10, "flops": 4.0, "limit": 100.0}
    assert "| 20.0% |" in bench.cells(row | {"seconds": [1.0, 2.0, 9.0], "peak": 0.0})


def test_without_a_card_it_says_so(bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "no CUDA card" in said.err
