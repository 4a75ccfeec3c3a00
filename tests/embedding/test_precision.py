"""`encode.precision=auto`: what it stands for on this machine and with this model, and what is said of it."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from picdesk.assembly import schema
from picdesk.assembly.inherit import inherit, settle_precision, with_checkpoint
from picdesk.assembly.named import use_overrides
from picdesk.backbones.lite import Lite
from picdesk.data.images import open_picture
from picdesk.embedding import encoder, precision
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.precision import DRIFT, MEASURED, MIXED, Arithmetic, choose_precision
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from tests.conftest import PROJECT
from tests.data.samples import encode_image
from tests.embedding.fakes import Pictures, Tiny

SAID = "pictures in bf16, for which this CPU has units"


def units(monkeypatch: pytest.MonkeyPatch, amx: bool = False, avx: bool = False) -> None:
    monkeypatch.setattr(precision.torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(precision.torch.cpu, "_is_avx512_bf16_supported", lambda: avx)


def settled(cfg: DictConfig) -> str:
    settle_precision(cfg.encode, cfg.get("adaptation"))
    return str(cfg.encode.precision)


def config(*overrides: str) -> DictConfig:
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("evaluate", list(overrides))


def drawings(count: int) -> Pictures:
    rng = np.random.default_rng(0)
    return Pictures(
        [encode_image(Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)), "PNG") for _ in range(count)]
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A backbone whose drift was measured, on a CPU with units for bf16."""
    units(monkeypatch, avx=True)
    backbone = Tiny()
    monkeypatch.setitem(DRIFT, backbone.trunk_fingerprint("image"), "tiny by at most 0.004")
    return backbone


@pytest.mark.parametrize(
    ("amx", "avx", "chosen"), [(True, True, MEASURED), (False, True, MEASURED), (False, False, "fp32")]
)
@pytest.mark.parametrize("named", [(), ("encode.precision=auto",)])
def test_the_config_of_the_job_has_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, amx: bool, avx: bool, chosen: str,
    named: tuple[str, ...],
) -> None:  # fmt: skip
    units(monkeypatch, amx, avx)
    cfg = config(*named)
    with caplog.at_level(logging.INFO), use_overrides(named):
        kept, _ = with_checkpoint(cfg)
    assert kept.encode.precision == chosen
    assert cfg.encode.precision == "auto"
    assert caplog.text.count(f"encode.precision=auto: {chosen}, as ") == len(named), "said where it was asked for"


@pytest.mark.parametrize("given", ["fp32", "bf16", MEASURED])
def test_what_is_named_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    units(monkeypatch, True, True)
    with caplog.at_level(logging.INFO):
        assert settled(config(f"encode.precision={given}")) == given
    assert "auto" not in caplog.text


def test_recipes_with_published_numbers_compute_as_every_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    units(monkeypatch, True, True)
    folder = PROJECT / "conf" / "experiment"
    names = [path.stem for pattern in ("*_lite.yaml", "finetune_*.yaml") for path in folder.glob(pattern)]
    made = {name: config(f"experiment={name}") for name in names}
    own = {name: cfg for name, cfg in made.items() if cfg.backbone._target_.endswith(".Lite")}
    assert {"flickr8k_lite", "newsimages_lite", "finetune_flickr8k_best"} <= set(own)
    kept = {name: settled(cfg) for name, cfg in own.items()}
    assert set(kept.values()) == {"fp32"}, kept


def test_an_encoder_alone_chooses_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    units(monkeypatch)
    assert Encoder(Store(tmp_path), precision="auto").precision == "fp32"
    units(monkeypatch, avx=True)
    assert Encoder(Store(tmp_path), precision="auto").precision == MEASURED


def test_pictures_of_a_measured_trunk_are_in_bf16_and_texts_in_fp32(
    measured: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ways = {way: Encoder(Store(tmp_path / way), precision=way) for way in ("fp32", "bf16", MEASURED)}
    pictures, texts = drawings(5), ["a storm", "waves over the pier", "a dog"]
    with caplog.at_level(logging.INFO):
        seen = {way: one.pictures(measured, pictures, open_picture) for way, one in ways.items()}
        read = {way: one.texts(measured, texts) for way, one in ways.items()}
        ways[MEASURED].pictures(measured, pictures, open_picture)
    assert np.array_equal(seen[MEASURED], seen["bf16"])
    assert not np.array_equal(seen[MEASURED], seen["fp32"])
    assert np.array_equal(read[MEASURED], read["fp32"])
    assert not np.array_equal(read[MEASURED], read["bf16"])
    said = [line for line in caplog.messages if line.startswith(SAID)]
    assert len(said) == 1, "once a job, by the job that nobody told"
    assert "it moved hits@1 of tiny by at most 0.004" in said[0]
    assert "encode.precision=fp32" in said[0]


def test_a_trunk_that_was_not_measured_stays_in_fp32(
    measured: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, pictures = Tiny(seed=1), drawings(5)
    with caplog.at_level(logging.INFO):
        found = Encoder(Store(tmp_path / "a"), precision=MEASURED).pictures(other, pictures, open_picture)
    assert np.array_equal(found, Encoder(Store(tmp_path / "b")).pictures(other, pictures, open_picture))
    assert SAID not in caplog.text


def test_names_of_what_is_computed_say_each_side(measured: Tiny, tmp_path: Path) -> None:
    one = Encoder(Store(tmp_path), precision=MEASURED)
    assert [one.arithmetic(measured, side) for side in ("image", "text")] == ["bf16", "fp32"]
    assert one.arithmetic(measured) == MIXED
    assert one.arithmetic(Tiny(seed=1)) == "fp32", "the same vectors, so the same name"


def test_a_server_computes_as_the_encoder_does(measured: Tiny, tmp_path: Path) -> None:
    one = Encoder(Store(tmp_path / "a"), precision=MEASURED)
    first = Encoder(Store(tmp_path / "b"), precision=MEASURED)
    other = Standing.from_encoder(first)
    assert other.computing is first.computing, "what was said at the start is not said again"
    pictures, texts = drawings(3), ["a storm"]
    found = other.pictures(measured, pictures, open_picture)
    assert np.array_equal(one.pictures(measured, pictures, open_picture), found)
    assert np.array_equal(one.texts(measured, texts), other.texts(measured, texts))


@pytest.mark.parametrize(
    ("avx", "count", "how", "name"),
    [
        (True, 4, {}, "bf16"),
        (True, 4, {"precision": MEASURED}, "bf16"),
        (True, 3, {}, None),
        (False, 4, {}, None),
        (True, 4, {"precision": "bf16"}, None),
    ],
)
def test_many_pictures_in_float32_are_told_of_the_quicker_way(
    avx: bool, count: int, how: dict[str, str], name: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    units(monkeypatch, avx=avx)
    monkeypatch.setattr(encoder, "MANY", 4)
    with caplog.at_level(logging.INFO):
        Encoder(Store(tmp_path), **how).pictures(Tiny(), drawings(count), open_picture)
    told = "encode.precision=bf16 would take about half the time here; what that moves with this model was not measured"
    assert (told in caplog.text) == (name is not None)


def test_a_measured_trunk_in_float32_is_told_of_auto(
    measured: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder, "MANY", 4)
    with caplog.at_level(logging.INFO):
        Encoder(Store(tmp_path)).pictures(measured, drawings(4), open_picture)
    assert "encode.precision=auto would take about half the time here; it moved hits@1 of tiny" in caplog.text


def test_nobody_is_given_bf16_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    units(monkeypatch, True, True)
    assert choose_precision("cuda")[0] == "fp32"


@pytest.mark.parametrize("how", [{"fast_decode": True}, {"engine": "openvino"}])
def test_what_was_measured_with_torch_and_whole_pictures_is_used_so_alone(measured: Tiny, how: dict[str, Any]) -> None:
    one = Arithmetic(MEASURED, **{"engine": "torch", **how})
    assert one.of(measured, "image") == "fp32"
    assert one.of_both(measured) == "fp32"


def test_a_machine_without_units_does_not_say_that_it_has_some(
    measured: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint or an index from another machine brings its precision."""
    units(monkeypatch)
    with caplog.at_level(logging.INFO):
        Arithmetic(MEASURED, "torch").tell(measured)
        Arithmetic(MEASURED, "torch", "cuda").tell(measured)
    assert SAID not in caplog.text
    assert [line for line in caplog.messages if "as where this was made, though cpu here is no quicker in it" in line]
    assert [line for line in caplog.messages if "as where this was made, though cuda here is no quicker in it" in line]


@pytest.mark.parametrize("brought", ["auto", MEASURED])
@pytest.mark.parametrize(("adaptation", "chosen"), [("heads", MEASURED), ("lora", "fp32"), ("lock_text", "fp32")])
def test_a_fit_through_trunks_begins_and_ends_in_fp32(
    monkeypatch: pytest.MonkeyPatch, adaptation: str, chosen: str, brought: str
) -> None:
    units(monkeypatch, avx=True)
    cfg = config(f"adaptation={adaptation}")
    cfg.encode.precision = brought
    assert settled(cfg) == chosen
    cfg.encode.precision = MEASURED
    with use_overrides(["encode.precision=bf16_measured"]):
        assert settled(cfg) == MEASURED, "named"


@pytest.mark.parametrize("named", [("experiment=newsimages26/submit",), ()])
@pytest.mark.parametrize("saved", ["fp32", MEASURED])
def test_a_checkpoint_brings_its_precision_under_an_experiment_that_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, saved: str, named: tuple[str, ...]
) -> None:
    units(monkeypatch, avx=saved == "fp32")
    cfg, theirs = config(), config(f"encode.precision={saved}")
    inherit(cfg, theirs, "encode.precision", [one.partition("=")[0] for one in named])
    assert settled(cfg) == saved


def test_an_experiment_that_names_a_precision_keeps_it() -> None:
    cfg = config("experiment=flickr8k_lite")
    inherit(cfg, config("encode.precision=bf16"), "encode.precision", ["experiment"])
    assert cfg.encode.precision == "fp32"


@pytest.mark.parametrize(("trunk", "page"), [("efficientnet_lite0", "drift"), ("efficientnet_lite2", "drift_lite2")])
def test_what_is_said_of_drift_was_measured_with_this_trunk(trunk: str, page: str) -> None:
    text = (PROJECT / "bench" / "results" / f"{page}.md").read_text()
    said = DRIFT[Lite(image_trunk=trunk).trunk_fingerprint("image")]
    name, told = re.fullmatch(r"(\S+) by at most (\d\.\d+)", said).groups()  # type: ignore[union-attr]
    assert f"`{name}` with heads" in text
    halves = [float(half) for half in re.search(r"t2i (0\.\d+) at .* i2t (0\.\d+) at", text).groups()]  # type: ignore[union-attr]
    moved = moved_by(text, "bf16 pictures, float32 texts")
    assert round(max(moved), 4) <= float(told) < round(max(moved), 4) + 0.001
    for way in ("bf16", "bf16 pictures, float32 texts"):
        within = zip(moved_by(text, way), halves, strict=True)
        assert all(one < half for one, half in within), "below what the intervals can see"


def rows_of(page: str) -> dict[str, list[str]]:
    """hits@1 of both directions, by what was done."""
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines())
    return {row[0]: row[5::3] for row in cells}


def moved_by(page: str, way: str) -> list[float]:
    """What a way moved hits@1 of both directions."""
    rows = rows_of(page)
    pairs = zip(rows[way], rows["float32, full decoding"], strict=True)
    return [abs(float(one.split()[0]) - float(other)) for one, other in pairs]
