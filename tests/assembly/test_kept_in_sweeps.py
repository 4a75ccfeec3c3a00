"""What the jobs of a sweep share is what each would have made for itself."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk import marks
from picdesk.assembly import saved_config, shelf
from picdesk.assembly.replaced import option_of
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_limits import raw_node
from picdesk.assembly.saved_text import yaml_of
from picdesk.assembly.schema import CONF, typed_settings
from picdesk.training.checkpoint import Checkpoint
from tests.doors import Ran, run


def composed(*overrides: str, door: str = "evaluate") -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(door, list(overrides))


def plain(cfg: DictConfig) -> dict[str, Any]:
    return {str(key): value for key, value in OmegaConf.to_container(cfg, resolve=False).items()}  # type: ignore[union-attr]


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "sweeping", lambda: True)
    monkeypatch.setattr(shelf, "_KEPT", {})


@pytest.mark.usefixtures("sweep")
def test_a_config_is_written_as_omegaconf_writes_it() -> None:
    odd = ["obtain='a: b # c, d'", "source='\"1e3\" ü  x'", "+protocol={a: '', b: null_}", "plugins=[]"]
    long = f"source='{' '.join(['a sentence that is folded'] * 9)}'"
    for overrides in (["reranker=several"], [*odd, "reranker=lexical"], [long], ["seed=7"]):
        cfg = composed(*overrides)
        assert yaml_of(plain(cfg)) == OmegaConf.to_yaml(cfg, resolve=False, sort_keys=False)
    cfg = composed(door="train")
    assert yaml_of(plain(cfg)) == OmegaConf.to_yaml(cfg, resolve=False, sort_keys=False)


@pytest.mark.usefixtures("sweep")
def test_a_checkpoints_config_is_held_against_the_command_once_for_jobs_that_search_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, kinds = [], saved_config.check_kinds
    monkeypatch.setattr(saved_config, "check_kinds", lambda *given: (held.append(given), kinds(*given))[1])

    def read_model(path: Path, here: DictConfig) -> DictConfig:
        return read_saved(path, here, otherwise_searched=True)

    path = tmp_path / "config.yaml"
    path.write_text(marks.sign(yaml_of(plain(composed("seed=3")))))
    first = read_model(path, composed("index=hnsw", "top_k=20"))
    assert read_model(path, composed("index=flat", "reranker=lexical", "reranker.weight=0.3")) is first
    assert len(held) == 1
    assert first.backbone == read_saved(path, composed("index=hnsw", "top_k=20")).backbone
    read_model(path, composed("data=parquet", "data.root=x"))
    assert len(held) == 3, "what may be taken from it depends on what the command says of the data"
    path.write_text(marks.sign(yaml_of(plain(composed("seed=4000")))))
    assert read_model(path, composed("index=hnsw", "top_k=20")).seed == 4000


def test_one_job_holds_it_against_each_of_its_configs_once(
    capfd: pytest.CaptureFixture[str],
    outputs: Path,
    trained: Ran,
    settings: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, kinds = [], saved_config.check_kinds
    monkeypatch.setattr(saved_config, "check_kinds", lambda *given: (held.append(plain(given[2])), kinds(*given))[1])
    ran = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", settings[0], settings[-1])
    assert ran.status == 0, ran.err
    assert len(held) == 2, "before and after the checkpoint's parts are in it"
    assert held[0] != held[1]


@pytest.mark.usefixtures("sweep")
def test_settings_are_each_jobs_own(tmp_path: Path) -> None:
    one, same, other = (typed_settings(composed(f"top_k={k}")) for k in (7, 7, 8))
    one.choices["data"] = "changed"
    assert (same.top_k, other.top_k, same.choices) == (7, 8, {})
    assert option_of([CONF], "index/hnsw.yaml") is option_of([CONF], "index/hnsw.yaml")


def test_the_raw_value_of_a_key_is_what_stands_there() -> None:
    cfg = OmegaConf.create({"a": {"b": "${c}", "d": {"e": "${c}", "f": "???"}, "g": "${a.d}", "n": None}, "c": 1})
    assert [raw_node(cfg, f"a.{key}") for key in "bgn"] == ["${c}", "${a.d}", None]
    assert raw_node(cfg, "a.d") == {"e": "${c}", "f": "???"}
    assert raw_node(cfg, "c") == 1
    with pytest.raises(KeyError):
        raw_node(cfg, "a.nothing")


def test_the_digest_of_weights_is_that_of_the_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    before = Checkpoint(file).digest
    file.write_bytes(b"two")
    assert Checkpoint(file).digest != before
    file.write_bytes(b"one")
    assert Checkpoint(file).digest == before
