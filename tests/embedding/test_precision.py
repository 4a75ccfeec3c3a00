"""`encode.precision=auto`: what it stands for on this machine is said, and is what the job is kept by."""

import logging
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from picdesk.assembly import schema
from picdesk.assembly.inherit import with_checkpoint, with_choices
from picdesk.data.images import open_picture
from picdesk.embedding import encoder, forward
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import DRIFT, choose_precision, quicker_way
from picdesk.embedding.store import Store
from tests.conftest import PROJECT
from tests.data.samples import encode_image
from tests.embedding.fakes import Pictures, Tiny


def units(monkeypatch: pytest.MonkeyPatch, amx: bool = False, avx: bool = False) -> None:
    monkeypatch.setattr(forward.torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(forward.torch.cpu, "_is_avx512_bf16_supported", lambda: avx)


@pytest.mark.parametrize(
    ("amx", "avx", "chosen"), [(True, True, "bf16"), (False, True, "bf16"), (False, False, "fp32")]
)
def test_the_config_of_the_job_has_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, amx: bool, avx: bool, chosen: str
) -> None:
    units(monkeypatch, amx, avx)
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", ["encode.precision=auto"])
    with caplog.at_level(logging.INFO):
        kept, _ = with_checkpoint(cfg)
    assert kept.encode.precision == chosen
    assert cfg.encode.precision == "auto"
    assert caplog.text.count(f"encode.precision=auto: {chosen}, as ") == 1
    assert (DRIFT in caplog.text) == (chosen == "bf16")


def test_what_is_named_is_left_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    units(monkeypatch, True, True)
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", [])
    with caplog.at_level(logging.INFO):
        assert with_choices(cfg).encode.precision == "fp32"
    assert "auto" not in caplog.text


def test_an_encoder_alone_chooses_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    units(monkeypatch)
    assert Encoder(Store(tmp_path), precision="auto").precision == "fp32"
    units(monkeypatch, avx=True)
    assert Encoder(Store(tmp_path), precision="auto").precision == "bf16"


@pytest.mark.parametrize(
    ("avx", "count", "how", "told"),
    [
        (True, 4, {}, True),
        (True, 3, {}, False),
        (False, 4, {}, False),
        (True, 4, {"precision": "bf16"}, False),
    ],
)
def test_many_pictures_in_float32_are_told_of_the_quicker_way(
    avx: bool, count: int, how: dict[str, str], told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    units(monkeypatch, avx=avx)
    monkeypatch.setattr(encoder, "MANY", 4)
    pictures = Pictures([encode_image(Image.new("RGB", (4, 4), (i, 0, 0)), "PNG") for i in range(count)])
    with caplog.at_level(logging.INFO):
        Encoder(Store(tmp_path), **how).pictures(Tiny(), pictures, open_picture)
    assert ("encode.precision=auto would take" in caplog.text) == told


def test_a_gpu_computes_in_bf16() -> None:
    assert choose_precision("cuda")[0] == "bf16"
    assert quicker_way("cuda", "torch", "fp32") == "", "decoding takes the time there"


def test_what_is_said_of_drift_was_measured() -> None:
    rows = {}
    for line in (PROJECT / "bench" / "results" / "drift.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[5::3]  # hits@1 of both directions
    pairs = zip(rows["bf16"], rows["float32, full decoding"], strict=True)
    worst = max(abs(float(one.split()[0]) - float(other)) for one, other in pairs)
    told = re.search(r"at most (\d\.\d+) ", DRIFT)
    assert told is not None
    assert told[1] == f"{worst:.3f}"
