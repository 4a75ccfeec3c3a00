"""A backbone knows which of its towers no longer have the weights that it was built with."""

import json
import pickle
import re
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from picdesk.assembly.checkpoints import find
from picdesk.assembly.saved_text import read_values
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.errors import DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.interfaces import Side
from picdesk.report.manifest import Manifest
from picdesk.report.provenance import Stopwatch
from picdesk.retrieval.tools import Tools
from picdesk.training.checkpoint import check_about, load, save
from tests.embedding.fakes import Tiny
from tests.mutations import mutations
from tests.training.test_fit import run_fit

HEADS = ("image_head.weight", "text_head.weight")


@pytest.mark.parametrize("changed", [(), HEADS[:1], HEADS[1:], HEADS, ("logit_scale",)])
def test_towers_are_tuned_where_a_checkpoint_changes_their_weights(changed: tuple[str, ...], tmp_path: Path) -> None:
    weights = {name: value.detach().clone() for name, value in Tiny().named_parameters() if "trunk" not in name}
    for name in changed:
        weights[name] = weights[name] + 1
    save(tmp_path, Tiny(), weights, OmegaConf.to_yaml(OmegaConf.create({"backbone": {}})))
    backbone = Tiny()
    backbone.untrained = True
    assert backbone.tuned == frozenset()
    load(find(str(tmp_path), tmp_path), backbone)
    wanted = {name.partition("_")[0] for name in changed} - {"logit"}
    assert backbone.tuned == wanted
    assert bool(backbone.by_chance()) == (not wanted), "a fit that kept its start leaves heads as they were drawn"
    tools = Tools(backbone, Encoder(Store(tmp_path / "store")))
    assert tools.context("t2i", Side(()), Side(())).tuned == wanted


def test_a_fit_that_is_kept_tunes_and_one_that_is_not_does_not() -> None:
    assert run_fit(epochs=4)[1].tuned == {"image", "text"}
    assert run_fit(lr=0.0, epochs=1)[1].tuned == frozenset()


def save_checkpoint(folder: Path) -> Path:
    """A checkpoint in its job's folder; the path of the weights."""
    weights = {name: value.detach().clone() for name, value in Tiny().named_parameters() if "trunk" not in name}
    return save(
        folder / "job" / "checkpoint", Tiny(), weights, OmegaConf.to_yaml(OmegaConf.create({"backbone": {"dim": 8}}))
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml"])
def test_no_damage_gets_into_a_backbone(name: str, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path).parent / name
    whole, tried = path.read_bytes(), 0
    for what, content in mutations(whole):
        path.write_bytes(content)
        with suppress(DataError, MissingFileError):
            found = read_values(find(str(path.parent), tmp_path).config_path)
            pytest.fail(f"{what} of {name} was not noticed: {found}")
        tried += 1
    assert tried > 100
    path.write_bytes(whole)
    load(find(str(path.parent), tmp_path), Tiny())


def test_the_same_weights_are_the_same_bytes_whatever_was_asked_besides(tmp_path: Path) -> None:
    one = save_checkpoint(tmp_path / "one").read_bytes()
    weights = {name: value.detach().clone() for name, value in Tiny().named_parameters() if "trunk" not in name}
    other = save(
        tmp_path / "other",
        Tiny(),
        weights,
        OmegaConf.to_yaml(OmegaConf.create({"backbone": {"dim": 8}, "resume": "x"})),
    )
    assert other.read_bytes() == one


def without_digests(path: Path) -> None:
    """As an earlier version wrote it."""
    config = path.parent / "config.yaml"
    config.write_text(config.read_text().partition("# weights=")[0])


def manifest_of(path: Path) -> None:
    """The manifest of the job of a checkpoint."""
    folder = path.parent.parent
    shutil.copyfile(path.parent / "config.yaml", folder / "config.yaml")
    named = {"checkpoint": file_digest(path)}
    job = Manifest.of_job(folder, Stopwatch(), task="train", seed=0, data={}, weights=named, config="", index="")
    job.write(folder / "manifest.json")


def test_one_of_an_earlier_version_is_compared_with_its_jobs_manifest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_checkpoint(tmp_path)
    without_digests(path)
    manifest_of(path)
    assert find(str(path.parent.parent), tmp_path).path == path
    assert not caplog.records
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + bytes(64))
    with pytest.raises(DataError, match=r"model\.safetensors: changed since the job: .*manifest\.json"):
        find(str(path.parent.parent), tmp_path)
    path.write_bytes(whole)
    with (path.parent / "config.yaml").open("a") as config:
        config.write("seed: 7\n")
    with pytest.raises(DataError, match=r"config\.yaml: changed since the job: .*manifest\.json"):
        find(str(path.parent.parent), tmp_path)


def test_where_nobody_can_tell_that_is_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_checkpoint(tmp_path)
    without_digests(path)
    find(str(path), tmp_path)
    assert "no manifest of its job: nobody can tell" in caplog.text
    (path.parent.parent / "manifest.json").write_text("{")
    find(str(path), tmp_path)
    assert re.search(r"no manifest of its job that can be read \(.*manifest\.json.*\): nobody can tell", caplog.text)


def test_digests_cannot_just_be_cut_off(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path)
    manifest_of(path)
    without_digests(path)
    with pytest.raises(DataError, match="changed since the job"):
        find(str(path), tmp_path)


def test_a_pickle_in_the_place_of_weights_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harm",))

    path = save_checkpoint(tmp_path)
    without_digests(path)
    for content in (pickle.dumps(Harm()), struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2) + b"[]"):
        path.write_bytes(content)
        with pytest.raises(DataError):
            load(find(str(path), tmp_path), Tiny())
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "trunks",
    [{}, {"audio": "x"}, {"image": "x"}, {"image": "x", "text": "y", "audio": "z"}, {"image": 1, "text": None}],
)
def test_a_note_without_a_fingerprint_of_each_trunk_is_refused(trunks: dict[str, Any], tmp_path: Path) -> None:
    note = json.dumps({"format": "picdesk-1", "backbone": "tiny", "trunks": trunks})
    with pytest.raises(DataError, match="what it says of itself is damaged: one fingerprint each of image, text"):
        check_about({"picdesk": note}, tmp_path / "model.safetensors")
