"""A trunk is loaded when somebody looks into it, and not before."""

import copy
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from picdesk.backbones.deferred import Deferred, KnownFingerprints
from picdesk.backbones.two_tower import TwoTower
from picdesk.training.adaptation import Heads


class Loads:
    """A trunk to be loaded; how often it was."""

    def __init__(self, file: Path) -> None:
        self.count = 0
        self.deferred = Deferred(self.load, (file,), {"width": 3})

    def load(self) -> nn.Module:
        self.count += 1
        torch.manual_seed(5)
        return nn.Linear(4, 3).requires_grad_(False)


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    return Loads(file)


def tower(image: nn.Module | Deferred) -> TwoTower:
    return TwoTower(
        name="deferred",
        dim=2,
        image_trunk=image,
        image_head=nn.Linear(3, 2),
        text_trunk=nn.Identity(),
        text_head=nn.Linear(3, 2),
        trunk_dims=(3, 3),
        preprocessing={"image": lambda: {"size": 4}, "text": {}},
        logit_scale=1.0,
    )


def test_heads_modes_and_their_parameters_need_no_trunk(loads: Loads) -> None:
    backbone = tower(loads.deferred)
    backbone.eval()
    assert not backbone.image_head.training
    backbone.get_parameter("image_head.weight")
    backbone.embed("image", torch.ones(1, 3))
    assert loads.count == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda backbone: backbone.image_trunk,
        lambda backbone: backbone.trunk("image"),
        lambda backbone: list(backbone.named_parameters()),
        lambda backbone: list(backbone.modules()),
        lambda backbone: backbone.state_dict(),
        lambda backbone: backbone.to("cpu"),
        lambda backbone: backbone.train(),
        lambda backbone: backbone.requires_grad_(False),
        lambda backbone: copy.deepcopy(backbone),
        lambda backbone: backbone.get_parameter("image_trunk.weight"),
        lambda backbone: backbone.trunk_fingerprint("image"),
    ],
)
def test_whoever_looks_finds_it_loaded_once(loads: Loads, look) -> None:
    backbone = tower(loads.deferred)
    look(backbone)
    look(backbone)
    assert loads.count == 1
    assert isinstance(backbone.image_trunk, nn.Linear)


def test_at_rest_it_is_met_by_nobody_and_not_loaded(loads: Loads) -> None:
    backbone = tower(loads.deferred)
    with backbone.rest(["image"]):
        backbone.requires_grad_(True)
        backbone.to("cpu")
        names = [name for name, _ in backbone.named_parameters()]
        assert loads.count == 0
    assert "text_head.weight" in names
    assert not any(name.startswith("image_trunk") for name in names)
    assert "image_trunk.weight" in dict(backbone.named_parameters())
    assert not backbone.get_parameter("image_trunk.weight").requires_grad


def test_one_that_is_there_is_frozen_at_rest_and_still_works() -> None:
    backbone = tower(nn.Linear(4, 3))
    with backbone.rest(["image"]):
        backbone.requires_grad_(True)
        assert not backbone.image_trunk.weight.requires_grad
        assert backbone.trunk("image")(torch.ones(1, 4)).shape == (1, 3)
        assert backbone.get_parameter("image_head.weight").requires_grad


def test_a_copy_made_at_rest_is_whole(loads: Loads) -> None:
    backbone = tower(loads.deferred)
    with backbone.rest(["image"]):
        copied = copy.deepcopy(backbone)
    assert list(copied.state_dict()) == list(backbone.state_dict())


def test_an_adaptation_of_the_heads_loads_no_trunk(loads: Loads) -> None:
    trained = Heads().prepare(tower(loads.deferred))
    assert set(trained.plain_weights()) == {name for name, _ in trained}
    assert loads.count == 0


def test_it_comes_in_evaluation_mode_whatever_loads_it(loads: Loads) -> None:
    assert not tower(loads.deferred).eval().image_trunk.training


def test_it_is_what_it_would_be_had_it_been_there_from_the_start(loads: Loads) -> None:
    late, early = tower(loads.deferred), tower(loads.load())
    assert list(late.state_dict()) == list(early.state_dict())
    assert late.trunk_fingerprint("image") == early.trunk_fingerprint("image")


def test_loading_draws_no_numbers_and_can_be_trained_wherever_it_happens(loads: Loads) -> None:
    backbone = tower(loads.deferred)
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    with torch.inference_mode():
        trunk = backbone.image_trunk
    assert torch.equal(torch.rand(3), wanted)
    assert not trunk.weight.is_inference()


def test_a_known_fingerprint_needs_no_trunk_until_its_file_changes(loads: Loads, tmp_path: Path) -> None:
    known = KnownFingerprints(tmp_path / "store" / "trunks.json")
    first = tower(loads.deferred)
    first.known_fingerprints = known
    taken = first.trunk_fingerprint("image")
    assert loads.count == 1
    second = tower(Deferred(loads.load, loads.deferred.files, {"width": 3}))
    second.known_fingerprints = known
    assert second.trunk_fingerprint("image") == taken
    assert loads.count == 1
    loads.deferred.files[0].write_bytes(b"others!")
    third = tower(Deferred(loads.load, loads.deferred.files, {"width": 3}))
    third.known_fingerprints = known
    third.trunk_fingerprint("image")
    assert loads.count == 2


def test_changed_weights_have_a_fingerprint_of_their_own(loads: Loads, tmp_path: Path) -> None:
    backbone = tower(loads.deferred)
    backbone.known_fingerprints = KnownFingerprints(tmp_path / "trunks.json")
    before = backbone.trunk_fingerprint("image")
    with torch.no_grad():
        backbone.get_parameter("image_trunk.weight").add_(1)
    backbone.forget_fingerprints()
    assert backbone.trunk_fingerprint("image") != before


@pytest.mark.parametrize("harm", [b"", b"{}", b"\xff\xfe", b"[1]", b"null", b'{"fingerprints": 3}'])
def test_a_damaged_file_counts_as_empty_and_is_said(harm: bytes, tmp_path: Path, caplog) -> None:
    known = KnownFingerprints(tmp_path / "trunks.json")
    known.put("key", "f" * 64)
    assert known.get("key") == "f" * 64
    known.file.write_bytes(harm)
    with caplog.at_level(logging.WARNING):
        assert known.get("key") is None
    assert "trunks.json: damaged" in caplog.text
    known.put("key", "e" * 64)
    assert known.get("key") == "e" * 64


def test_one_changed_digit_is_seen(tmp_path: Path) -> None:
    known = KnownFingerprints(tmp_path / "trunks.json")
    known.put("key", "f" * 64)
    kept = json.loads(known.file.read_text())
    known.file.write_text(json.dumps(kept | {"fingerprints": {"key": "e" + "f" * 63}}))
    assert known.get("key") is None


def test_a_place_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = KnownFingerprints(tmp_path / "file" / "trunks.json")
    known.put("key", "f" * 64)
    assert known.get("key") is None
