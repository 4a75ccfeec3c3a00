"""Layers that work in place give the bits that they give beside, and are as before when the encoding is over."""

import copy
import importlib
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from picdesk.backbones.two_tower import normalise
from picdesk.embedding import in_place
from picdesk.embedding.forward import working


def made(name: str, **options: object) -> torch.nn.Module:
    """A model of timm's with batch norms that do something."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: torch.nn.Module = timm.create_model(name, num_classes=0, **options)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for value in (module.weight.data, module.running_var, module.bias.data, module.running_mean):
                    assert value is not None
                    value.uniform_(0.5, 1.5)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trunk() -> torch.nn.Module:
    """An EfficientNet of TensorFlow's padding."""
    return made("tf_efficientnet_lite0")


def batch(size: tuple[int, int], count: int = 3) -> torch.Tensor:
    return torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(1))


def ways(trunk: torch.nn.Module) -> list[object]:
    return [vars(module)["forward"] for module in trunk.modules() if "forward" in vars(module)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("size", [(64, 64), (65, 90), (37, 224)])
def test_features_are_those_of_the_plain_trunk_to_the_bit(
    trunk: torch.nn.Module, size: tuple[int, int], precision: str
) -> None:
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    plain = copy.deepcopy(trunk).to(kind, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = batch(size).to(kind, memory_format=torch.channels_last)
    with torch.inference_mode():
        expected, alone = plain(pictures), plain(pictures[:1])
    before = pictures.clone()
    with working(trunk, "cpu", precision) as (ready, layout):
        assert layout is torch.channels_last
        assert len(ways(ready)) > 40, "the layers work in place"
        assert torch.equal(ready(pictures), expected)
        assert torch.equal(ready(pictures[:1]), alone)
    assert torch.equal(pictures, before), "what is given stays as it is"
    assert not ways(trunk)


def test_pictures_of_one_plane_after_the_other_are_padded_too(trunk: torch.nn.Module) -> None:
    pictures = batch((65, 90))
    with torch.inference_mode():
        expected = trunk(pictures)
        in_place.work_in_place(trunk)
        try:
            assert torch.equal(trunk(pictures), expected)
        finally:
            in_place.as_before(trunk.modules())


def test_afterwards_there_are_gradients_again(trunk: torch.nn.Module) -> None:
    learning = copy.deepcopy(trunk).requires_grad_(True)
    with working(learning, "cpu", "fp32") as (ready, _):
        copied = copy.deepcopy(ready)
        assert all(isinstance(way, partial) and way.args[0] in {*copied.modules()} for way in ways(copied)), (
            "a copy's own layers"
        )
    learning(batch((64, 64))).sum().backward()
    assert all(weight.grad is not None for weight in learning.parameters())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tf_efficientnetv2_b0", True),
        ("tf_mobilenetv3_small_100", True),
        ("resnetv2_18", False),
        ("coatnet_nano_rw_224", False),
        ("mobilenetv4_hybrid_medium", True),
        ("densenet121", False),
    ],
)
def test_a_norm_whose_input_is_still_wanted_is_left_alone(name: str, changes: bool) -> None:
    """In blocks that normalise first the shortcut goes past the norm; in those of an EfficientNet nothing does."""
    model = made(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = (224, 224) if name.endswith("_224") else (64, 64)
    pictures = batch(size, 1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model(pictures)
        assert bool(in_place.work_in_place(model)) == changes
        assert torch.equal(model(pictures), expected)


def test_what_works_in_place_already_stays_so(trunk: torch.nn.Module) -> None:
    """A server's trunk does for good, while others encode by it and end."""
    standing = copy.deepcopy(trunk)
    first = in_place.work_in_place(standing)
    with working(standing, "cpu", "fp32"):
        pass
    assert len(ways(standing)) == len(first) > 40
    in_place.as_before(first)
    in_place.as_before(first)
    assert not ways(standing)


def test_a_norm_that_learns_from_its_batch_is_left_alone(trunk: torch.nn.Module) -> None:
    training = copy.deepcopy(trunk).train()
    in_place.work_in_place(training)
    assert len(ways(training)) == 5, "the padded convolutions alone"


def test_a_trunk_of_another_library_is_left_alone() -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    in_place.work_in_place(plain)
    assert not ways(plain)


@pytest.fixture
def slow_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, threading.Event]]:
    """A package of timm's name whose layers are half imported from `begun` until `go_on`."""
    events = {"begun": threading.Event(), "go_on": threading.Event()}
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").touch()
    wait = "import sys\nsys.slow_timm['begun'].set()\nsys.slow_timm['go_on'].wait(20)\n"
    (tmp_path / "timm" / "layers.py").write_text(wait + "Conv2dSame = BatchNormAct2d = None\n")
    monkeypatch.setattr(sys, "slow_timm", events, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    own = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "timm"}
    yield events
    for name in ("timm", "timm.layers"):
        sys.modules.pop(name, None)
    sys.modules.update(own)


def test_a_trunk_is_made_ready_while_another_thread_imports_timm(slow_timm: dict[str, threading.Event]) -> None:
    """A server loads the picture trunk in a thread, while another one makes a text trunk ready."""
    importing = threading.Thread(target=importlib.import_module, args=("timm.layers",))
    importing.start()
    assert slow_timm["begun"].wait(20)
    threading.Timer(0.1, slow_timm["go_on"].set).start()
    assert in_place.work_in_place(torch.nn.Linear(1, 1)) == []
    importing.join()


@pytest.mark.parametrize("count", [1, 3])
def test_pixels_are_normalised_to_the_same_bits_in_either_layout(count: int) -> None:
    mean, std = torch.tensor([0.48, 0.45, 0.40]), torch.tensor([0.26, 0.27, 0.28])
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 3, 17, 23), generator=generator, dtype=torch.uint8)
    expected = (pixels.float() / 255).sub_(mean[:, None, None]).div_(std[:, None, None])
    last = pixels.contiguous(memory_format=torch.channels_last)
    for one in (pixels, last, last.float()):
        before = one.clone()
        assert torch.equal(normalise(one, mean, std), expected)
        assert torch.equal(one, before)
    assert normalise(last, mean, std).is_contiguous(memory_format=torch.channels_last)
