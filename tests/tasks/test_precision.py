"""What `encode.precision=auto` chose goes from job to job: with a checkpoint, a saved index, and to be had again."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from picdesk.assembly import schema
from picdesk.assembly.again import going_on
from picdesk.assembly.named import use_overrides
from picdesk.assembly.saved_index import with_index
from picdesk.assembly.session import Session
from picdesk.embedding import precision
from picdesk.embedding.precision import DRIFT, MEASURED
from picdesk.report.manifest import Manifest
from tests.conftest import PROJECT
from tests.doors import Ran, run
from tests.tiny import Tiny, write_data

Capture = pytest.CaptureFixture[str]
FIT = ("trainer.max_epochs=1", "training.batch_size=16")


def has_units(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: answer)


def chosen(ran: Ran) -> str:
    assert ran.status == 0, ran.err
    return Manifest.read(ran.folder / "manifest.json").settings["encode.precision"].strip('"')


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where jobs write, beside the data."""
    return write_data(tmp_path_factory.mktemp("precision") / "data", 40).parent


@pytest.fixture
def tiny(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A data set and a backbone whose drift was measured, on a CPU with units for bf16."""
    has_units(monkeypatch, True)
    monkeypatch.setitem(DRIFT, Tiny().trunk_fingerprint("image"), "tiny by at most 0.004")
    table = ("data=parquet", f"data.root={outputs / 'data'}", "data.caption_column=caption")
    return (*table, "split=random_70_15_15", "backbone._target_=tests.tiny.Tiny", "bootstrap.resamples=50")


@pytest.fixture
def fit(capfd: Capture, outputs: Path, tiny: tuple[str, ...]) -> Ran:
    """A fit on that CPU; run by the first test that asks."""
    if outputs not in _FITS:
        _FITS[outputs] = run(capfd, outputs, "train", *tiny, *FIT)
    return _FITS[outputs]


_FITS: dict[Path, Ran] = {}


def test_jobs_on_machines_of_both_kinds(
    capfd: Capture, tmp_path: Path, outputs: Path, fit: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(fit) == MEASURED
    assert (
        fit.out.count("pictures in bf16, for which this CPU has units: it moved hits@1 of tiny by at most 0.004") == 1
    )
    assert "bf16 pictures, fp32 texts" in (fit.folder / "index.html").read_text()
    there = run(capfd, outputs, "evaluate", f"ckpt={fit.folder}")
    assert chosen(there) == MEASURED
    built = run(capfd, outputs, "retrieve", "task=index_build", f"ckpt={fit.folder}", f"index_dir={tmp_path / 'index'}")
    assert built.status == 0, built.err

    has_units(monkeypatch, False)
    here = run(capfd, outputs, "evaluate", f"ckpt={fit.folder}")
    assert chosen(here) == "fp32"
    assert "encode.precision=fp32, where this checkpoint was fitted by bf16_measured: this CPU has no units" in here.out
    named = run(capfd, outputs, "evaluate", f"ckpt={fit.folder}", f"encode.precision={MEASURED}")
    assert named.file("run.trec") == there.file("run.trec") != here.file("run.trec")
    again = run(capfd, outputs, "evaluate", f"reproduce={there.folder}")
    assert again.status == 0, again.err
    assert "as where this was made, though cpu here is no quicker in it" in again.out
    asked = run(capfd, outputs, "retrieve", f"index_dir={tmp_path / 'index'}", "query=a red picture")
    assert asked.status == 0, asked.err


def test_an_index_and_not_its_checkpoint_says_how_it_is_asked(
    capfd: Capture, tmp_path: Path, outputs: Path, fit: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built without units out of a checkpoint that was fitted with some; asked with units, under an experiment."""
    index = tmp_path / "index"
    has_units(monkeypatch, False)
    built = run(capfd, outputs, "retrieve", "task=index_build", f"ckpt={fit.folder}", f"index_dir={index}")
    assert built.status == 0, built.err
    has_units(monkeypatch, True)
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        session = Session(
            compose("retrieve", [f"task.index_dir={index}", f"paths.outputs={outputs}", "plugins=[tests]"])
        )
    for named in ([f"index_dir={index}"], [f"index_dir={index}", "experiment=some"]):
        with use_overrides(named):
            assert with_index(session, index).settings.encode.precision == "fp32"


def test_a_fit_through_trunks_is_compared_in_one_precision(
    capfd: Capture, outputs: Path, tiny: tuple[str, ...]
) -> None:
    fit = run(capfd, outputs, "train", *tiny, *FIT, "adaptation=full", "augmentation=none")
    assert chosen(fit) == "fp32"
    assert "pictures in bf16" not in fit.out


def test_a_stopped_fit_goes_on_in_a_precision_that_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_units(monkeypatch, True)
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        begun = compose("train", ["adaptation=lora", "encode.precision=fp32"])
        now = Session(compose("train", ["encode.precision=auto"]))
    Session(begun).write_config(tmp_path / "resume" / "config.yaml")
    with use_overrides([f"task.resume={tmp_path}", "encode.precision=auto"]):
        assert going_on(now, str(tmp_path)).settings.encode.precision == "fp32"
