"""The tables of docs/backbones.md on precisions, engines and decoders, from made-up results."""

import json
from pathlib import Path

import pytest
from scripts import engine_numbers, speed_numbers

from tests.test_number_blocks import bench_module

ABOUT = {"processor": "A (avx2), 2 cores", "engines": "torch 2"}


def rows_of(text: str) -> list[list[str]]:
    return [engine_numbers.cells_of(line) for line in text.splitlines() if line.startswith("| ")]


def test_each_way_is_a_column_and_what_was_not_measured_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {
        "lite, images, torch fp32, all of it": {"cpu ms": 17.28, **ABOUT},
        "lite, images, openvino bf16, all of it": {"none": "this CPU computes in f32", **ABOUT},
        "lite, images, torch fp32, AVX2": {"cpu ms": 25.0, **ABOUT},
        "MobileCLIP-S1, images, torch fp32, branches as they are, all of it": {"cpu ms": 200.0, **ABOUT},
    }
    found = {f"{name}, A": {"cell": name, **row} for name, row in cells.items()}
    older = {"cell": "lite, images, torch fp32, all of it", "cpu ms": 30.0, **ABOUT, "processor": "B, 4 cores"}
    (tmp_path / "engines.json").write_text(json.dumps(found | {"lite, images, torch fp32, all of it, B": older}))
    monkeypatch.setattr(speed_numbers, "RESULTS", tmp_path)
    own, others = engine_numbers.engines().split("\n\nOn ")[1:]
    assert rows_of(own)[1:] == [
        ["`lite`", "images", "all of it", "17.3", "none", ""],
        ["`lite`", "images", "AVX2", "25", "", ""],
        ["`MobileCLIP-S1`", "images", "all of it", "", "", "200"],
    ]
    assert own.startswith("A (avx2), 2 cores, torch 2:")
    assert others.startswith("B, 4 cores, torch 2:")
    assert rows_of(others)[1:] == [["`lite`", "images", "all of it", "30"]]


def test_drift_is_against_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        "| float32, full decoding | 1 | 1 | 1 | 1 | 0.3 | 0.6 | 0.8 | 0.4 | 0.6 | 0.7 |",
        "| bf16 | 0.9 | 0.9 | 0.9 | 0.9 | 0.31 (-0.0020 to +0.0210) | 0.6 | 0.8 | 0.38 | 0.6 | 0.7 |",
    )
    (tmp_path / "drift.md").write_text("\n".join(["| | picture cosine, mean | |", "|---|---|---|", *rows]) + "\n")
    monkeypatch.setattr(engine_numbers, "RESULTS", tmp_path)
    fp32, bf16 = rows_of(engine_numbers.drift())[1:]
    assert fp32 == ["fp32", "0.3000", "0.6000", "0.8000", "0.4000", "0.6000", "0.7000"]
    assert bf16 == ["bf16", "+0.0100 (-0.0020 to +0.0210)", "+0.0000", "+0.0000", "-0.0200", "+0.0000", "+0.0000"]


def test_what_has_no_time_is_no_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"photos: Pillow": {"ms": 0.271, "same": 9, "pictures": 10}, "import of a library": {"seconds": 3.0}}
    (tmp_path / "decode.json").write_text(json.dumps(found))
    monkeypatch.setattr(speed_numbers, "RESULTS", tmp_path)
    assert rows_of(engine_numbers.decoders())[1:] == [["photos", "Pillow", "0.27", "9 of 10"]]


@pytest.mark.parametrize(
    ("units", "limits"),
    [
        (["avx2", "avx512f", "avx512_bf16", "amx_bf16"], {"all of it", "no AMX", "AVX2"}),
        (["avx2", "avx512f", "avx512_bf16"], {"all of it", "AVX2"}),
        (["avx2"], {"all of it"}),
    ],
)
def test_cells_have_names_of_their_own_and_make_sense(
    monkeypatch: pytest.MonkeyPatch, units: list[str], limits: set[str]
) -> None:
    bench = bench_module("engines", monkeypatch)
    monkeypatch.setattr(bench, "units", lambda: units)
    cells = list(bench.cells())
    assert len({cell.name for cell in cells}) == len(cells) > 20
    assert {cell.name for cell in cells} < {*bench.ORDER}
    assert {cell.modality for cell in cells if cell.backbone == "MiniLM"} == {"text"}
    assert not [cell for cell in cells if "bf16" in cell.way and cell.limit == "AVX2"]
    assert bool([cell for cell in cells if "bf16" in cell.way]) == ("avx512_bf16" in units)
    assert {cell.backbone for cell in cells if "branches" in cell.way} == {"MobileCLIP-S1"}
    assert {cell.limit for cell in cells} == limits
