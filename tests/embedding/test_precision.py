"""`encode.precision=auto`: what it stands for on this machine, and what is said of it."""

import logging
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from picdesk.assembly import schema
from picdesk.backbones.lite import DRIFT, Lite
from picdesk.data.images import open_picture
from picdesk.embedding import encoder, forward
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import MANY, REPORTED, choose_precision, quicker_way
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from tests.conftest import PROJECT
from tests.data.samples import encode_image
from tests.embedding.fakes import Pictures, Tiny


def units(monkeypatch: pytest.MonkeyPatch, amx: bool = False, avx: bool = False) -> None:
    monkeypatch.setattr(forward.torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(forward.torch.cpu, "_is_avx512_bf16_supported", lambda: avx)


@pytest.mark.parametrize(
    ("amx", "avx", "pictures", "reported", "drift", "device", "engine", "chosen"),
    [
        (True, True, MANY, REPORTED, "little", "cpu", "torch", "bf16"),
        (False, True, MANY, REPORTED, "little", "cpu", "torch", "bf16"),
        (False, False, MANY, REPORTED, "little", "cpu", "torch", "fp32"),
        (True, True, MANY - 1, REPORTED, "little", "cpu", "torch", "fp32"),
        (True, True, MANY, REPORTED + 1, "little", "cpu", "torch", "fp32"),
        (True, True, MANY, REPORTED, "", "cpu", "torch", "fp32"),
        (True, True, MANY, REPORTED, "little", "cuda", "torch", "fp32"),
        (True, True, MANY, REPORTED, "little", "cpu", "openvino", "fp32"),
    ],
)
def test_bf16_is_taken_where_it_pays_and_was_measured_and_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, amx: bool, avx: bool, pictures: int, reported: int,
    drift: str, device: str, engine: str, chosen: str,
) -> None:  # fmt: skip
    units(monkeypatch, amx, avx)
    with caplog.at_level(logging.INFO):
        assert choose_precision(device, engine, lambda: drift, lambda: (pictures, reported)) == chosen
    assert caplog.text.count(f"encode.precision=auto: bf16, as {pictures:,} pictures") == (chosen == "bf16")
    assert ("little" in caplog.text) == (chosen == "bf16")


def test_an_encoder_alone_has_no_data_set_to_choose_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"precision=auto: choose one of fp32, bf16; a job may also have auto"):
        Encoder(Store(tmp_path), precision="auto")


def published() -> list[str]:
    """Experiments with numbers that others hold against theirs, and those of a backbone that `auto` may encode in bf16."""
    folder = PROJECT / "conf" / "experiment"
    names = [str(path.relative_to(folder).with_suffix("")) for path in sorted(folder.rglob("*.yaml"))]
    hers = ("reproduce", "flickr8k", "newsimages")
    return [name for name in names if any(one in name for one in hers) and not name.endswith("submit")]


def test_published_numbers_are_had_in_one_arithmetic_on_every_machine() -> None:
    schema.register()
    seen = []
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        for name in published():
            cfg = compose("evaluate", [f"experiment={name}"])
            if cfg.expected or cfg.backbone.get("_target_") == "picdesk.backbones.lite.Lite":
                assert cfg.encode.precision == "fp32", name
                seen.append(name)
    assert len(seen) > 40


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
    assert ("encode.precision=bf16 would take" in caplog.text) == told
    assert (forward.UNKNOWN in caplog.text) == told


def test_what_was_measured_is_told_of_the_quicker_way(monkeypatch: pytest.MonkeyPatch) -> None:
    units(monkeypatch, avx=True)
    (moved,) = set(DRIFT.values())
    assert moved in quicker_way("cpu", "torch", "fp32", moved)
    assert quicker_way("cuda", "torch", "fp32", moved) == "", "decoding takes the time there"


class Own(Lite):
    """A user's class, of whose trunks nobody knows anything."""


def test_what_is_said_of_drift_was_measured() -> None:
    """For each backbone that says it there is a page, and no hits@1 there moved further, nor further than error bars show."""
    pages = {"lite": Lite(), "lite2": Lite(image_trunk="efficientnet_lite2")}
    assert {backbone.name for backbone in pages.values()} >= set(DRIFT)
    for name, backbone in pages.items():
        page = PROJECT / "bench" / "results" / ("drift.md" if name == "lite" else f"drift_{name}.md")
        assert page.exists() == bool(backbone.drift) == (backbone.name in DRIFT), name
        if backbone.drift:
            told = re.search(r"at most (\d\.\d+)$", backbone.drift)
            assert told is not None
            assert moved_most(page.read_text()) <= float(told[1]) < 1.96 * (0.2 * 0.8 / REPORTED) ** 0.5
    assert Lite(mirrored=True).drift == Own().drift == ""


def moved_most(page: str) -> float:
    """The most that bf16 moved hits@1 in one direction, as printed."""
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[5::3]  # hits@1 of both directions
    pairs = zip(rows["bf16"], rows["float32, full decoding"], strict=True)
    return round(max(abs(float(one.split()[0]) - float(other)) for one, other in pairs), 4)
