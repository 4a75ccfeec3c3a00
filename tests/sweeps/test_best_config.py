"""The best job of a board as an experiment file: what Hydra composes of it is what the job was asked."""

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly import schema
from picdesk.jobs.found import overrides_of
from picdesk.sweeps.best_config import best_config
from tests.conftest import PROJECT


def pasted(folder: Path, *typed: str, as_text: bool = False) -> Any:
    """The best config of a job with these overrides."""
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(typed)))
    (folder / "config.yaml").write_text("backbone: {}\nchoices: {index: hnsw, data: demo}\n")
    manifest = SimpleNamespace(task="evaluate", settings={}, weights={})
    text = best_config(SimpleNamespace(folder=folder, overrides=overrides_of(folder), manifest=manifest))  # type: ignore[arg-type]
    return text if as_text else OmegaConf.load(io.StringIO(text))


def test_the_best_config_keeps_groups_and_scalars_apart(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("backbone: {}\nchoices: {index: hnsw, prompt: title}\n")
    overrides = {"ckpt": "outputs/a/", "index": "hnsw", "prompt": "title", "optimizer.lr": "0.1", "seed": "3"}
    manifest = SimpleNamespace(task="evaluate", settings={}, weights={})
    job = SimpleNamespace(folder=tmp_path, overrides=overrides, manifest=manifest)
    told = yaml.safe_load(best_config(job))  # type: ignore[arg-type]
    assert told["defaults"] == [{"override /index": "hnsw"}, {"override /prompt": "title"}]
    assert (told["ckpt"], told["optimizer"], told["seed"]) == ("outputs/a/", {"lr": 0.1}, 3)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        (("data.title_column=yes",), "data.title_column"),
        (("data.title_column='1e5'", "data.tags_column=2024-01-02"), "data.tags_column"),
        (("data.more_columns={no:on,time:'1:30'}", "data.more_columns.day=off"), "data.more_columns"),
        (("metrics.ks=[1,20]", "metrics.slices=[no]", "bootstrap.level=9e-1"), "metrics"),
        (("backbone.text_hidden=null", "data.name=''"), "data"),
    ],
)
def test_the_best_config_is_what_hydra_read(typed: tuple[str, ...], key: str, tmp_path: Path) -> None:
    """A column `yes` was `true` there, and `{no:on}` a column without a name."""
    schema.register()
    made = pasted(tmp_path, *typed)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        asked = compose("evaluate", [f"++{one}" for one in typed])
    assert OmegaConf.select(OmegaConf.create(made), key) is not None
    found = OmegaConf.to_container(OmegaConf.merge(asked, made), resolve=False)
    assert found == OmegaConf.to_container(asked, resolve=False)


def test_the_best_config_names_an_experiment_as_hydra_finds_it(tmp_path: Path) -> None:
    """It named `experiment/experiment/flickr8k_lite`, and could not be composed."""
    schema.register()
    shutil.copytree(PROJECT / "conf" / "experiment", tmp_path / "own" / "experiment")
    typed = ("experiment=[flickr8k_lite,newsimages_lite]", "index=hnsw", "seed=3")
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(pasted(tmp_path, *typed, as_text=True))
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        asked = compose("evaluate", list(typed))
        own = f"hydra.searchpath=[file://{tmp_path / 'own'}]"
        found = compose("evaluate", ["experiment=mine", own])
    assert found == asked


def test_a_key_that_was_taken_away_is_left_to_the_command_line(tmp_path: Path) -> None:
    assert "# left to the command line: ~callbacks.early_stopping\nseed: 3" in pasted(
        tmp_path, "~callbacks.early_stopping", "seed=3", as_text=True
    )
