"""`encode.engine=openvino`: refused in a line where it cannot be, compared with torch on other sizes, and a space of its own.

What is about our side of it runs on a stand-in that computes what was traced by torch; parity needs the package itself.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from picdesk.assembly.needed import of_engine
from picdesk.embedding.converted import Converted, check_engine, runtime
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import working
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from tests.embedding.fakes import Pictures, Tiny
from tests.embedding.worker import blob, decode

TEXTS = ["a", "a long line of letters", "bb", "ccc", "dd ee"]


def stand_in(bf16: bool = True) -> ModuleType:
    """A module with what is used of OpenVINO, over torch. Without `bf16`, a processor that has no units for it."""

    class Compiled:
        def __init__(self, traced: Any, settings: dict[str, Any]) -> None:
            self.traced, self.hint = traced, settings["INFERENCE_PRECISION_HINT"]

        def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
            return [self.traced(*(torch.from_numpy(one) for one in arrays)).detach().numpy()]

        def get_property(self, name: str) -> Any:
            assert name == "INFERENCE_PRECISION_HINT"
            return SimpleNamespace(get_type_name=lambda: self.hint if bf16 else "f32")

    module: Any = ModuleType("openvino")
    module.convert_model = lambda traced: traced
    module.Core = lambda: SimpleNamespace(compile_model=lambda traced, device, settings: Compiled(traced, settings))
    return module  # type: ignore[no-any-return]


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the stand-in in the package's place."""

    def put(bf16: bool = True) -> None:
        monkeypatch.setitem(sys.modules, "openvino", stand_in(bf16))

    return put


def test_not_installed_is_one_line_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError) as caught:
        Encoder(Store(tmp_path), engine="openvino")
    assert str(caught.value) == (
        "encode.engine=openvino needs a package that is not installed: pip install 'picdesk[openvino]'"
    )


def test_the_doctor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    (need,) = of_engine("openvino")
    assert (need.key, need.there, need.remedy) == (
        "encode.engine=openvino",
        False,
        "pip install 'picdesk[openvino]'",
    )
    assert of_engine("torch") == []


def test_wrong_engines_are_named(tmp_path: Path, openvino: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match=r"^encode\.engine=onnx: choose one of torch, openvino$"):
        Encoder(Store(tmp_path), engine="onnx")
    openvino()
    with pytest.raises(ConfigError, match=r"^encode\.engine=openvino runs on CPUs, not on encode\.device=cuda; "):
        check_engine("openvino", "cuda")


def test_importing_it_reports_nothing_to_its_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openvino", "openvino_telemetry"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    seen: list[bool] = []

    def load(name: str) -> ModuleType:
        with pytest.raises(ImportError):
            importlib.__import__("openvino_telemetry")
        seen.append(True)
        return stand_in()

    monkeypatch.setattr("picdesk.embedding.converted.importlib.import_module", load)
    runtime()
    assert seen == [True]
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_are_torchs_in_a_space_of_their_own(
    tmp_path: Path, openvino: Callable[..., None], precision: str
) -> None:
    openvino()
    backbone, pictures = Tiny(), Pictures([blob(i) for i in range(7)])
    own = Encoder(Store(tmp_path), batch_size=3)
    other = Encoder(Store(tmp_path), batch_size=3, engine="openvino", precision=precision)
    np.testing.assert_allclose(
        other.pictures(backbone, pictures, decode), own.pictures(backbone, pictures, decode), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(other.texts(backbone, TEXTS), own.texts(backbone, TEXTS), rtol=1e-5, atol=1e-6)
    assert other.counts.encoded == own.counts.encoded
    kinds = [path.read_text() for path in tmp_path.glob("*/space.json")]
    assert sum(f'"openvino {precision}"' in text for text in kinds) == 2
    assert other.arithmetic(backbone) == f"openvino {precision}"


def test_a_server_gives_the_same_bytes(tmp_path: Path, openvino: Callable[..., None]) -> None:
    openvino()
    job = Encoder(Store(tmp_path / "job"), batch_size=1, engine="openvino")
    asked = Standing.from_encoder(Encoder(Store(tmp_path / "server"), engine="openvino")).texts(Tiny(), TEXTS)
    assert np.array_equal(job.texts(Tiny(), TEXTS), asked)


def test_the_callers_trunk_is_untouched(openvino: Callable[..., None]) -> None:
    openvino()
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    with working(trunk, "cpu", "bf16", engine="openvino") as (ready, layout):
        assert layout is torch.contiguous_format
        assert ready(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    assert trunk.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


class Frozen(nn.Module):
    """Turns how many tokens there are into a number, which a tracer writes down."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(int(input_ids.shape[1]))
        states = torch.nn.functional.one_hot(input_ids, 40).float()
        return states[:, places].sum(1)


class Loops(nn.Module):
    """Nothing that can be traced."""

    def forward(self, input_ids: torch.Tensor) -> Any:
        return {"a set": {1}}


def test_what_tracing_has_frozen_is_refused(openvino: Callable[..., None]) -> None:
    openvino()
    with pytest.raises(ConfigError, match=r"gives other features than torch \(cosine .* for inputs of \(2, 11\)\)"):
        Converted(Frozen(), "fp32")(input_ids=torch.arange(12).view(2, 6))


def test_what_cannot_be_converted_is_said_in_a_line(openvino: Callable[..., None]) -> None:
    openvino()
    with pytest.raises(
        ConfigError, match=r"^encode\.engine=openvino: this trunk cannot be converted \(.*engine=torch$"
    ):
        Converted(Loops(), "fp32")(input_ids=torch.arange(12).view(2, 6))


def test_trunks_that_read_by_themselves_are_refused(openvino: Callable[..., None]) -> None:
    openvino()
    trunk = Frozen()
    trunk.on_host = True  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="reads its inputs itself"):
        Converted(trunk, "fp32")


def test_a_processor_without_units_is_named(openvino: Callable[..., None]) -> None:
    openvino(bf16=False)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ConfigError, match=r"^encode\.precision=bf16 with encode\.engine=openvino: .* computes in f32"):
        Converted(trunk, "bf16")(torch.randn(2, 3, 2, 2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_package_itself_gives_torchs_features(precision: str) -> None:
    pytest.importorskip("openvino")
    from tests.backbones.test_clip_text import clip_text, words

    torch.manual_seed(0)
    picture = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels, ids = torch.randn(5, 3, 16, 16), words([4, 9, 6])
    for trunk, inputs, named in ((picture.eval(), (pixels,), {}), (clip_text(), (), {"text": ids})):
        try:
            found = Converted(trunk, precision)(*inputs, **named)
        except ConfigError as error:
            assert precision == "bf16" and "this CPU computes in" in str(error)  # noqa: PT017, PT018
            continue
        with torch.inference_mode():
            own = trunk(*inputs, **named)
        cosine = nn.functional.cosine_similarity(found, own)
        assert float(cosine.min()) > (0.99999 if precision == "fp32" else 0.999)
